"""The gateway process: puts its parts together, and says in log, truth log and event stream whatever changes."""

from __future__ import annotations

import asyncio
import functools
import logging
import os

from veloz_chaos.sandbox import gateway_log, limits, memory_watch, order_flaws, process, service_metrics
from veloz_chaos.sandbox.credentials import Credentials
from veloz_chaos.sandbox.engine_client import EngineClient
from veloz_chaos.sandbox.event_stream import EventStream
from veloz_chaos.sandbox.exchange_client import ExchangeClient
from veloz_chaos.sandbox.gateway_api import GatewayApi
from veloz_chaos.sandbox.gateway_log import DiskWatch
from veloz_chaos.sandbox.gateway_news import News
from veloz_chaos.sandbox.http_server import served
from veloz_chaos.sandbox.load_watch import LoadWatch
from veloz_chaos.sandbox.memory_watch import MemoryWatch
from veloz_chaos.sandbox.metrics import Metrics
from veloz_chaos.sandbox.order_log import OrderLog
from veloz_chaos.sandbox.order_store import Order, OrderStore, shown
from veloz_chaos.sandbox.persistence import Persistence
from veloz_chaos.sandbox.rate_limit import RateLimit
from veloz_chaos.sandbox.resolver import Resolver
from veloz_chaos.sandbox.settings import Settings, in_pod
from veloz_chaos.sandbox.truth import TruthLog
from veloz_chaos.sandbox.vault_client import VaultClient
from veloz_chaos.sandbox.vault_store import TOKEN
from veloz_chaos.sandbox.volume import Volume

log = logging.getLogger("gateway")


class Announcer:
    """Writes each change down at the moment it happens."""

    def __init__(self, settings: Settings, events: EventStream) -> None:
        self.truth, self._events = TruthLog(settings.directory, "gateway"), events
        self._settings = settings

    def engine(self, connected: bool, why: str) -> None:
        self.truth.write("engine-connected" if connected else "engine-lost", why=why)
        log.log(logging.INFO if connected else logging.ERROR, "engine %s: %s", _word(connected), why)
        self._events.publish("engine", {"connected": connected})

    def exchange(self, status: str) -> None:
        self.truth.write("exchange-status", status=status)
        log.log(logging.INFO if status == "ok" else logging.WARNING, "exchange is %s", status)
        self._events.publish("exchange", {"status": status})

    def memory(self, status: str) -> None:
        self.truth.write("memory-status", status=status)
        if status == "ok":
            log.info("memory usage is normal again")

    def disk(self, status: str, free: int) -> None:
        self.truth.write("disk-status", status=status, free=free)
        log.log(logging.INFO if status == "ok" else logging.ERROR, "log volume is %s: %d bytes free", status, free)

    def log_removed(self, file: str) -> None:
        """Not logged there and then: the line that needs the room is still to be written."""
        self.truth.write("log-removed", file=file)
        asyncio.get_running_loop().call_soon(log.warning, "log volume was full: %s removed", file)

    def dns(self, status: str, why: str) -> None:
        self.truth.write("dns-status", status=status, why=why)
        log.log(logging.INFO if status == "ok" else logging.WARNING, "DNS is %s: %s", status, why)
        self._events.publish("dns", {"status": status})

    def acknowledged(self, order: str) -> None:
        """Where disks can be lost, and orders with them: its answer is given now."""
        if self._settings.backups:
            self.truth.write("acknowledged", order=order)

    def serving(self, orders: int) -> None:
        self.truth.write("serving", pid=os.getpid())
        log.info("serving, %d orders restored", orders)


def _word(connected: bool) -> str:
    return "connected" if connected else "lost"


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    (settings.directory / "gateway").mkdir(exist_ok=True)
    history = OrderLog(settings.directory / "gateway" / "orders.jsonl")
    events, metrics = EventStream(history, not settings.has("sse-never-resumes")), Metrics()
    announcer = Announcer(settings, events)
    volume = Volume(settings.directory)
    gateway_log.start(settings, volume, announcer.log_removed)
    stale_ok, obeyed = not settings.has("dns-not-cached"), not settings.has("ignores-retry-after")
    name_server = (settings.ports["dns-link"], announcer.dns, log.error, stale_ok, settings.host("dns-link"))
    resolver = Resolver("exchange.sandbox", *name_server)
    engine = EngineClient(settings.ports["engine-link"], announcer.engine, settings.host("engine-link"))
    exchange = ExchangeClient(
        lambda: resolver.address,
        settings.ports["exchange-link"],
        RateLimit(obeyed),
        announcer.exchange,
        metrics.observe_latency,
    )
    news = News(announcer.truth, events)
    persistence = Persistence(settings.database, settings.ports["database-link"], news, settings.host("database-link"))
    vault = VaultClient(settings.ports["vault-link"], settings.directory / "vault" / TOKEN, settings.host("vault-link"))
    credentials = Credentials(vault, os.environ, news, forgets=settings.has("vault-not-cached"))
    exchange.headers = credentials.headers

    def saved(number: int, order: Order) -> None:
        events.publish("order", shown(vars(order)), number)
        persistence.order_saved(number, order)

    store = OrderStore(
        history,
        saved,
        forget=settings.has("gateway-state-not-restored"),
    )
    disk = DiskWatch(volume, announcer.disk)
    unwatched = settings.has("memory-not-watched")
    memory = MemoryWatch((lambda: None) if unwatched else memory_watch.use_of(settings), announcer.memory)
    load = LoadWatch()
    parts = {"disk": disk.part, "memory": memory.part}
    hangs = settings.has("gateway-hangs-without-engine")
    refuses = functools.partial(reason_to_refuse, settings, persistence, credentials, load)
    trading = order_flaws.trading(settings)(engine, exchange, store, metrics.count_order, hangs, refuses)
    parts |= {"database": persistence.part, "vault": credentials.part, "dns": resolver.part}
    told = functools.partial(of_limits, settings, volume)
    api = GatewayApi(settings, engine, exchange, store, trading, events, metrics, parts, announcer.acknowledged, told)
    app = api.application()
    app.router.add_post("/api/admin/rotate", credentials.handle_rotate)
    beat = gateway_log.beat(lambda: f"{len(store.all())} orders, {disk.told()}, {memory.told()}")
    reconciliation = order_flaws.reconciliation(settings)(trading)
    trades = (resolver.run(), engine.run(), exchange.run(), reconciliation.run(), persistence.run(), credentials.run())
    work = [asyncio.create_task(part) for part in (*trades, disk.run(), memory.run(), load.run(), beat)]
    async with served(app, settings.ports["gateway"], settings.listen):
        announcer.serving(len(store.all()))
        process.ready()
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, *work], return_when=asyncio.FIRST_COMPLETED)
    for task in work:
        if task.done():
            task.result()
        task.cancel()


def of_limits(settings: Settings, volume: Volume) -> str:
    """Metrics of its limits, where nobody tells of them from outside: the supervisor, or the watcher of a container's
    CPU."""
    if not settings.contained:
        return ""
    tell = service_metrics.of_limits if in_pod(os.environ) else service_metrics.of_space
    return tell(limits.used_inside(volume))


def reason_to_refuse(
    settings: Settings, persistence: Persistence, credentials: Credentials, load: LoadWatch
) -> str | None:
    """The error that every new order is refused with at the moment."""
    if settings.has("refuses-when-slow") and load.sheds():
        return "overloaded"
    if settings.has("database-loss-stops-orders") and persistence.status != "ok":
        return "database_unavailable"
    return None if credentials.there else "no_credentials"


if __name__ == "__main__":
    process.run(serve)
