"""Both sides' books at the end: read back until they agree, and left without an open order of ours."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from veloz_chaos.core import condition, listing
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.workload import Order, PlannedWorkload, Reading
from veloz_chaos.engine.attempt import Request, read_variables
from veloz_chaos.engine.clock import now
from veloz_chaos.engine.order_file import OrderFile
from veloz_chaos.engine.order_flow import Flow
from veloz_chaos.engine.patience import CLEAN_UP, READ_TIMEOUT
from veloz_chaos.engine.secrets import Secrets

SideName = Literal["gateway", "exchange"]
#: From one reading to the next: while the sides disagree; after orders were cancelled. Seconds.
READ_EVERY, AFTER_CANCEL = 0.5, 0.05
#: So many cancels of what is still open go on side by side, each at most so often.
SIDE_BY_SIDE, TRIES = 16, 3
_NO_ORDER = Order("", "", "", "", "")


@dataclass(frozen=True)
class Found:
    id: str
    state: str
    qty: str
    filled: str


@dataclass(frozen=True)
class Read:
    """One reading of a side; `why` it can't be read where it is not ok. `at`: when it was asked, so that whatever was
    answered before that must be in it."""

    side: SideName
    at: int
    ok: bool
    why: str = ""
    found: list[Found] = field(default_factory=list)

    def states(self, prefix: str) -> dict[str, tuple[str, float]]:
        """Of this workload's own orders; a rejected one is as good as none."""
        own = [one for one in self.found if one.id.startswith(prefix) and one.state != "rejected"]
        return {one.id: (one.state, _number(one.filled)) for one in own}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


class Side:
    """How one side is read."""

    def __init__(self, name: SideName, reading: Reading, workload: PlannedWorkload, run: str, secrets: Secrets) -> None:
        self._name, self._workload, self._secrets = name, workload, secrets
        self._request = Request(reading.http, secrets)
        self._orders = listing.compile(reading.orders)
        self._each = "${symbol}" in reading.http.model_dump_json()
        self._prefix = f"vc-{run}-"

    async def read(self) -> Read:
        """All its orders that begin with `vc-`, without those of other runs."""
        symbols = self._workload.symbols if self._each else [""]
        at = now()
        found: list[Found] = []
        for symbol in symbols:
            part = await self._part(_NO_ORDER._replace(symbol=symbol))
            if isinstance(part, str):
                return Read(self._name, at, False, self._secrets.redact(part))
            found += part
        return Read(self._name, at, True, found=found)

    async def _part(self, about: Order) -> list[Found] | str:
        asked = now()
        answer = await self._request.ask(about, max(READ_TIMEOUT, self._workload.timeout.total_seconds()))
        if isinstance(answer, str):
            return answer
        variables = read_variables(answer, now() - asked, condition.LOOK_VARIABLES)
        if not 200 <= answer.status < 300:
            return f"{answer.status} {answer.body[:160].decode('utf-8', 'replace')}".strip()
        try:
            items = self._orders.items(variables)
            return [one for item in items if (one := self._found(item)) is not None]
        except (condition.ConditionMissing, condition.ConditionTypeError) as error:
            return f"{error}"[:300]

    def _found(self, item: Any) -> Found | None:
        if not isinstance(item, dict) or "id" not in item or "state" not in item:
            raise condition.ConditionMissing("an order has no id or state")
        name = str(item["id"])
        if not name.startswith("vc-") or (_of_a_run(name) and not name.startswith(self._prefix)):
            return None
        state = self._workload.states.get(str(item["state"]), "unknown")
        return Found(name, state, str(item.get("qty", "0")), str(item.get("filled", "0")))


def _of_a_run(name: str) -> bool:
    """`vc-1234abcd-000001`: a workload's; probes' ids have no second dash."""
    return name.count("-") == 2


class Books:
    """The end of a workload, after its flow has stopped."""

    def __init__(self, workload: PlannedWorkload, run: str, flow: Flow, file: OrderFile, secrets: Secrets) -> None:
        self._workload, self._flow, self._file = workload, flow, file
        self._sides = [
            Side("gateway", workload.read.gateway, workload, run, secrets),
            Side("exchange", workload.read.exchange, workload, run, secrets),
        ]
        self._prefix = f"vc-{run}-"
        self._tries: Counter[str] = Counter()
        self._reads: list[Read] = []

    async def settle(self) -> None:
        """Read, cancel what is open, read again until the sides agree, or one read was begun when `settle` had passed;
        the last is written."""
        deadline = now() + nanoseconds(self._workload.settle)
        calm, enough = 0, 2 if self._flow.doubtful else 1
        while calm < enough:
            self._reads = list(await asyncio.gather(*(side.read() for side in self._sides)))
            open_orders = self._to_cancel()
            await self.cancel(open_orders)
            calm = calm + 1 if not open_orders and self._agree() else 0
            if calm < enough and self._reads[0].at > deadline:
                break
            await asyncio.sleep(0 if calm >= enough else AFTER_CANCEL if open_orders else READ_EVERY)
        for read in self._reads:
            self._write(read)

    async def leave(self) -> None:
        """Cancel whatever may be open, by our own knowledge; read nothing."""
        known = self._flow.accepted | self._flow.doubtful
        await self.cancel([*self._flow.accepted.values(), *self._flow.doubtful.values()] if known else [])

    @property
    def left(self) -> int:
        """Orders that may still be open."""
        readable = bool(self._reads) and all(read.ok for read in self._reads)
        return len(self._found_open()) if readable else len(self._flow.accepted)

    async def cancel(self, orders: Iterable[Order]) -> None:
        """A few side by side, each once; gives up after a while."""
        waiting = deque(orders)
        if not waiting or not self._flow.can_cancel:
            return

        async def work() -> None:
            while waiting:
                await self._flow.cancel(waiting.popleft())

        try:
            async with asyncio.timeout(CLEAN_UP):
                await asyncio.gather(*(work() for _ in range(SIDE_BY_SIDE)))
        except TimeoutError:
            return

    def _to_cancel(self) -> list[Order]:
        """What is open on a side; where a side can't be read, also what was accepted and not cancelled."""
        ids = self._found_open()
        known: Mapping[str, Order] = self._flow.accepted | self._flow.doubtful
        if not all(read.ok for read in self._reads):
            ids |= self._flow.accepted.keys()
        chosen = [known.get(name, _NO_ORDER._replace(id=name)) for name in sorted(ids) if self._tries[name] < TRIES]
        self._tries.update(one.id for one in chosen)
        return chosen if self._flow.can_cancel else []

    def _found_open(self) -> set[str]:
        states = [read.states(self._prefix) for read in self._reads]
        return {name for side in states for name, (state, _) in side.items() if state == "open"}

    def _agree(self) -> bool:
        """Both sides are readable, hold the same orders in the same states, and know each."""
        if not all(read.ok for read in self._reads):
            return False
        gateway, exchange = (read.states(self._prefix) for read in self._reads)
        return gateway == exchange and all(state != "unknown" for state, _ in gateway.values())

    def _write(self, read: Read) -> None:
        self._file.add(op="read", side=read.side, at=read.at, ok=read.ok, why=read.why)
        for one in read.found:
            self._file.add(op="found", side=read.side, **vars(one))
