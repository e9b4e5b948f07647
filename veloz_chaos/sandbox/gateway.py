"""The gateway process: puts its parts together, and says in log, truth log and event stream whatever changes."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os

from veloz_chaos.sandbox import order_flaws, process
from veloz_chaos.sandbox.engine_client import EngineClient
from veloz_chaos.sandbox.event_stream import EventStream
from veloz_chaos.sandbox.exchange_client import ExchangeClient
from veloz_chaos.sandbox.gateway_api import GatewayApi
from veloz_chaos.sandbox.http_server import served
from veloz_chaos.sandbox.metrics import Metrics
from veloz_chaos.sandbox.order_log import OrderLog
from veloz_chaos.sandbox.order_store import OrderStore, shown
from veloz_chaos.sandbox.rate_limit import RateLimit
from veloz_chaos.sandbox.resolver import Resolver
from veloz_chaos.sandbox.settings import Settings
from veloz_chaos.sandbox.truth import TruthLog

log = logging.getLogger("gateway")
LOG_BYTES, LOG_FILES = 1 << 20, 3


class Announcer:
    """Writes each change down at the moment it happens."""

    def __init__(self, settings: Settings, events: EventStream) -> None:
        self.truth, self._events = TruthLog(settings.directory, "gateway"), events

    def engine(self, connected: bool, why: str) -> None:
        self.truth.write("engine-connected" if connected else "engine-lost", why=why)
        log.log(logging.INFO if connected else logging.ERROR, "engine %s: %s", _word(connected), why)
        self._events.publish("engine", {"connected": connected})

    def exchange(self, status: str) -> None:
        self.truth.write("exchange-status", status=status)
        log.log(logging.INFO if status == "ok" else logging.WARNING, "exchange is %s", status)
        self._events.publish("exchange", {"status": status})

    def dns(self, status: str, why: str) -> None:
        self.truth.write("dns-status", status=status, why=why)
        log.log(logging.INFO if status == "ok" else logging.WARNING, "DNS is %s: %s", status, why)
        self._events.publish("dns", {"status": status})

    def serving(self, orders: int) -> None:
        self.truth.write("serving", pid=os.getpid())
        log.info("serving, %d orders restored", orders)


def _word(connected: bool) -> str:
    return "connected" if connected else "lost"


def log_to_file(settings: Settings) -> None:
    path = settings.directory / "log" / "gateway.log"
    file = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(file)
    log.setLevel(logging.INFO)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    (settings.directory / "gateway").mkdir(exist_ok=True)
    log_to_file(settings)
    history = OrderLog(settings.directory / "gateway" / "orders.jsonl")
    events, metrics = EventStream(history, not settings.has("sse-never-resumes")), Metrics()
    announcer = Announcer(settings, events)
    stale_ok, obeyed = not settings.has("dns-not-cached"), not settings.has("ignores-retry-after")
    resolver = Resolver("exchange.sandbox", settings.ports["dns-link"], announcer.dns, log.error, stale_ok)
    engine = EngineClient(settings.ports["engine-link"], announcer.engine)
    exchange = ExchangeClient(
        lambda: resolver.address,
        settings.ports["exchange-link"],
        RateLimit(obeyed),
        announcer.exchange,
        metrics.observe_latency,
    )
    store = OrderStore(
        history,
        lambda number, order: events.publish("order", shown(vars(order)), number),
        forget=settings.has("gateway-state-not-restored"),
    )
    hangs = settings.has("gateway-hangs-without-engine")
    trading = order_flaws.trading(settings)(engine, exchange, store, metrics.count_order, hangs)
    parts = {"dns": resolver.part}
    api = GatewayApi(settings, engine, exchange, store, trading, events, metrics, parts)
    reconciliation = order_flaws.reconciliation(settings)(trading)
    working = (resolver.run(), engine.run(), exchange.run(), reconciliation.run())
    work = [asyncio.create_task(part) for part in working]
    async with served(api.application(), settings.ports["gateway"]):
        announcer.serving(len(store.all()))
        process.ready()
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, *work], return_when=asyncio.FIRST_COMPLETED)
    for task in work:
        if task.done():
            task.result()
        task.cancel()


if __name__ == "__main__":
    process.run(serve)
