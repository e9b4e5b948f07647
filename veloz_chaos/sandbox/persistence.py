"""Write-behind persistence: what becomes of an order is in the database a moment later, whatever becomes of that.

Every saved state of an order, and every other event worth an audit, is queued in memory and written in batches, in
order, over the database's link. While the database is away the gateway goes on, the queue grows, and a new connection
is tried at least every second; then all that was queued is written, each record once. A heartbeat in the audit every
0.4 s shows at once when auditing fails, and bounds the time in which a silent link is noticed. What a crash takes from
memory is queued again at the next start, from the order file.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections import deque
from typing import Any, NamedTuple, Protocol

from veloz_chaos.sandbox import database_client
from veloz_chaos.sandbox.database_client import Audit, Connection, DatabaseAway, OrderRow
from veloz_chaos.sandbox.order_store import Order
from veloz_chaos.sandbox.settings import LOOPBACK

#: Seconds.
HEARTBEAT = 0.4
BACKOFF, LONGEST_BACKOFF = 0.1, 1.0
#: Entries in one statement: fewer after a failure, lest a slow link never gets one through.
BATCH, SMALLEST = 500, 10
#: What the database had at the gateway's start is not written again, but for so many seconds before its newest.
OVERLAP = 10.0

#: Between two statements, so that a busy moment is one of them.
PAUSE = 0.05


class Listener(Protocol):
    """Is told of every change, and of every attempt to mend it."""

    def database_lost(self, why: str) -> None: ...

    def database_still_away(self, attempt: int, why: str) -> None: ...

    def database_back(self, pending: int) -> None: ...

    def database_synchronised(self) -> None: ...


class Entry(NamedTuple):
    audit: Audit
    order: OrderRow | None = None


class Persistence:
    def __init__(self, kind: str, port: int, listener: Listener, host: str = LOOPBACK) -> None:
        self._kind, self._host, self._port, self._listener = kind, host, port, listener
        self.status = "unavailable"
        self._queue: deque[Entry] = deque()
        self._news = asyncio.Event()
        self._numbers = itertools.count(1)
        self._first, self._failures, self._catching_up = True, 0, False

    def part(self) -> dict[str, Any]:
        """What /health tells. Under traffic something is pending most of the time; `synchronised`: nothing of what came
        while the database was away."""
        synchronised = self.status == "ok" and not self._catching_up
        return {
            "status": self.status, "pending": len(self._queue), "synchronised": synchronised, "kind": self._kind,
        }  # fmt: skip

    def order_saved(self, number: int, order: Order) -> None:
        """`number` is the line in the order file: with the time, the same again when it is read at the next start."""
        detail = f"{order.side} {order.qty} {order.symbol} at {order.price}: {order.status}"
        name = storable(order.client_order_id)
        self._put(Entry(Audit(f"{order.ts_ns}-{number}", order.ts_ns, "order", name, storable(detail)), _row(order)))

    def record(self, kind: str, detail: str) -> None:
        """An audit record of something that is not an order."""
        self._put(Entry(self._now(kind, detail)))

    def _put(self, entry: Entry) -> None:
        self._queue.append(entry)
        self._news.set()

    def _now(self, kind: str, detail: str) -> Audit:
        at = time.time_ns()
        return Audit(f"{at}-{os.getpid()}-{next(self._numbers)}", at, kind, "", storable(detail))

    async def run(self) -> None:
        while True:
            try:
                await self._session()
            except DatabaseAway as problem:
                self._failed(str(problem))
            await asyncio.sleep(min(BACKOFF * 2 ** min(self._failures, 10), LONGEST_BACKOFF))

    async def _session(self) -> None:
        """Write until it fails. Raises DatabaseAway."""
        connection = await database_client.connect(self._kind, self._port, self._host)
        try:
            if self._first:
                self._forget_before(await connection.newest() - OVERLAP)
            while True:
                await self._write(connection)
                await self._rest()
        finally:
            connection.close()

    def _forget_before(self, seconds: float) -> None:
        """What an earlier incarnation saved before then it also wrote: it writes in order."""
        self._queue = deque(entry for entry in self._queue if entry.audit.at >= seconds * 1e9)
        self._first = False

    async def _write(self, connection: Connection) -> None:
        """The heartbeat, and the oldest of what waits."""
        self._news.clear()
        waiting = len(self._queue)
        entries = list(itertools.islice(self._queue, max(BATCH >> self._failures, SMALLEST)))
        latest = {entry.order.client_order_id: entry.order for entry in entries if entry.order}
        audit = [self._now("heartbeat", ""), *(entry.audit for entry in entries)]
        await connection.write(audit, list(latest.values()))
        for _ in entries:
            self._queue.popleft()
        self._succeeded(waiting)

    async def _rest(self) -> None:
        """Until something is worth a statement again."""
        await asyncio.sleep(0 if self._catching_up else PAUSE)
        if not self._queue:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), HEARTBEAT - PAUSE)

    def _succeeded(self, waited: int) -> None:
        self._failures = 0
        if self.status != "ok":
            self.status, self._catching_up = "ok", True
            self._listener.database_back(waited)
        if self._catching_up and not self._queue:
            self._catching_up = False
            self._listener.database_synchronised()

    def _failed(self, why: str) -> None:
        self._failures += 1
        if self.status == "ok":
            self.status = "unavailable"
            self._listener.database_lost(why)
        else:
            self._listener.database_still_away(self._failures, why)


def _row(order: Order) -> OrderRow:
    name, symbol = storable(order.client_order_id), storable(order.symbol)
    terms = (symbol, order.side, order.type, order.qty, order.price)
    what = (order.status, order.order_id, order.executed_qty)
    return OrderRow(name, order.ts_ns, *terms, *what, storable(order.time_in_force), order.quote_qty)


def storable(text: str) -> str:
    """What PostgreSQL takes: no NUL, no half of a character; else a client's order could stop all auditing."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode()
