"""The open flow of orders: the n-th is due at start + n / rate, whatever became of those before it.

When the system stalls the schedule is kept: orders wait for their answers side by side, up to a bound beyond which an
order is recorded as not sent, with its due time. So no delay is hidden by a client that waited politely.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.workload import Order, PlannedWorkload, order
from veloz_chaos.engine.attempt import Attempt, Done
from veloz_chaos.engine.clock import now
from veloz_chaos.engine.order_file import OrderFile
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.engine.tally import Tally
from veloz_chaos.errors import Error

#: Orders and cancels under way at the same time, at most.
IN_FLIGHT = 4_000
#: A flow that is so late has stood still: what it would send now is not what was asked for. Nanoseconds.
STOOD_STILL = 60_000_000_000


class StoodStill(Error):
    """The machine slept, or this process was stopped."""


class Flow:
    """`accepted` and `doubtful` are the orders that may still be open."""

    def __init__(
        self, workload: PlannedWorkload, run: str, seed: int, file: OrderFile, tally: Tally, secrets: Secrets
    ) -> None:
        self._workload, self._run, self._seed = workload, run, seed
        self._file, self.tally = file, tally
        self._place = Attempt(workload.place, workload.timeout, secrets)
        self._cancel = Attempt(workload.cancel, workload.timeout, secrets) if workload.cancel else None
        self._period = workload.period
        self._start = self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self.accepted: dict[str, Order] = {}
        self.doubtful: dict[str, Order] = {}
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        self._start = now()
        self._tick()

    def stop(self) -> None:
        """No more orders, no more cancels of its own; what is under way goes on."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    async def drained(self) -> None:
        """Until everything sent has its outcome: no longer than the time-out."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def can_cancel(self) -> bool:
        return self._cancel is not None

    def _tick(self) -> None:
        while not self._stopped and (due := self._start + self._number * self._period) <= now():
            if now() - due > STOOD_STILL:
                self._break(StoodStill(f"the workload stood still for {(now() - due) / 1e9:.0f} s"))
                return
            self._number += 1
            self._send(due)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(loop.time() + (due - now()) / 1e9, self._tick) if not self._stopped else None

    def _send(self, due: int) -> None:
        placed, to_be_cancelled = order(self._workload, self._run, self._seed, self._number)
        at = now()
        self._file.add(op="place", due=due, at=at, **placed._asdict())
        self.tally.sent += 1
        self.tally.late(at - due)
        if len(self._tasks) >= IN_FLIGHT:
            self._placed(placed, Done("unknown", 0, "not sent", at))
        else:
            self._begin(self._follow(placed, to_be_cancelled))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        self.tally.in_flight = len(self._tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.tally.in_flight = len(self._tasks)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(error)

    def _break(self, error: BaseException) -> None:
        self.stop()
        if not self.broken.done():
            self.broken.set_exception(error)

    async def _follow(self, placed: Order, to_be_cancelled: bool) -> None:
        done = await self._place.attempt(placed)
        self._placed(placed, done)
        if to_be_cancelled and done.outcome == "accepted" and self._workload.cancel is not None and not self._stopped:
            after = self._workload.cancel.after
            due = done.at + nanoseconds(after)
            asyncio.get_running_loop().call_later(after.total_seconds(), self._cancel_later, placed, due)

    def _cancel_later(self, placed: Order, due: int) -> None:
        if not self._stopped and len(self._tasks) < IN_FLIGHT:
            self._begin(self.cancel(placed, due))

    def _placed(self, placed: Order, done: Done) -> None:
        self.tally.ended(done.outcome, done.status, done.why)
        self._record("place", placed, done)
        if done.outcome == "accepted":
            self.accepted[placed.id] = placed
        elif done.outcome == "unknown":
            self.doubtful[placed.id] = placed

    async def cancel(self, placed: Order, due: int = 0) -> None:
        """Due at once where nothing else is said. An accepted cancel closes the order."""
        assert self._cancel is not None
        at = now()
        self._file.add(op="cancel", id=placed.id, due=due or at, at=at)
        self.tally.cancels += 1
        done = await self._cancel.attempt(placed)
        self._record("cancel", placed, done)
        if done.outcome == "accepted":
            self.tally.cancels_accepted += 1
            self.accepted.pop(placed.id, None)
            self.doubtful.pop(placed.id, None)

    def _record(self, of: str, placed: Order, done: Done) -> None:
        said = {"outcome": done.outcome, "status": done.status, "why": done.why}
        self._file.add(op="done", of=of, id=placed.id, at=done.at, **said)
