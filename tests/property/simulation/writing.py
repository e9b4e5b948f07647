"""Journals written by hand, as a reader would draw them: one character a look.

    journal.looks("healthy", 0, "++++ ----  ++++")

is a look every period from 0 ms on: `+` shown, `-` not shown, `?` no answer in time, `!` the same while our own loop
stood still, a blank no look at all. Times are milliseconds; a look takes LATENCY, one without an answer its time-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.property.simulation.plans import FAULT, REFERENCE
from veloz_chaos.core import event as ev
from veloz_chaos.core.capability import What
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.history import History, of
from veloz_chaos.core.judge import Finding, Judgement, judge
from veloz_chaos.core.orders import Orders, read
from veloz_chaos.core.plan import Plan

MS = 1_000_000
LATENCY = 10
_MARKS: dict[str, ev.Outcome] = {"+": "shown", "-": "not-shown", "?": "unanswered", "!": "unanswered"}


def clock(ms: float) -> Any:
    return {"at": round(ms * MS), "wall": 1_700_000_000 + ms / 1000}


def started(plan: Plan, ms: float) -> ev.RunStarted:
    return ev.RunStarted(run="7f3a", version="0.1.0", boot_id="b", host="h", pid=1, pid_start=1, plan=plan, **clock(ms))


def look(probe: str, asked: float, answered: float, mark: str, **more: Any) -> ev.LookTaken:
    return ev.LookTaken(
        probe=probe, asked=round(asked * MS), answered=round(answered * MS), outcome=_MARKS[mark], stalled=mark == "!",
        **more, **clock(answered),
    )  # fmt: skip


def presence(asked: float, answered: float, mark: str, fault: str = FAULT) -> ev.PresenceLooked:
    return ev.PresenceLooked(
        fault=fault, asked=round(asked * MS), answered=round(answered * MS), outcome=_MARKS[mark],
        evidence="as measured at the target", **clock(answered),
    )  # fmt: skip


def reported(ms: float, what: What = "died", detail: str = "exit 137", fault: str = FAULT) -> ev.TargetReported:
    return ev.TargetReported(fault=fault, what=what, kind="container", detail=detail, **clock(ms))


def prepared(held: bool, ms: float, fault: str = FAULT) -> ev.FaultPrepared:
    return ev.FaultPrepared(
        fault=fault, kind="pause" if held else "kill", arguments={}, reference=REFERENCE, receipt={}, held=held,
        by_hand="kill -CONT 7", expires=10**18, **clock(ms),
    )  # fmt: skip


class Journal:
    """Events in any order; sorted by their instant when read."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.events: list[ev.Event] = [started(plan, -100)]
        self.orders: Orders | None = None

    def add(self, *events: ev.Event) -> Journal:
        self.events += events
        return self

    def looks(self, probe: str, start: int, drawing: str) -> Journal:
        period = nanoseconds(self.plan.probes[probe].every) // MS
        timeout = nanoseconds(self.plan.probes[probe].timeout) // MS
        for n, mark in enumerate(drawing):
            asked = start + n * period
            if mark in _MARKS:
                self.add(look(probe, asked, asked + (timeout if mark in "?!" else LATENCY), mark))
        return self

    def baseline(self, start: int = 0, end: int = 1000) -> Journal:
        return self.add(ev.BaselineBegan(**clock(start)), ev.BaselineEnded(**clock(end)))

    def strikes(self, called: int = 1000, returned: int = 1010, seen: str = "+", every: int = 20) -> Journal:
        """The fault's call, and looks at whether it is there, `every` ms from its return on."""
        held = self.plan.faults[0].held
        self.add(prepared(held, called - 1))
        self.add(ev.InjectionBegan(fault=FAULT, **clock(called)), ev.InjectionReturned(fault=FAULT, **clock(returned)))
        return self.add(
            *(presence(t, t + 5, mark) for t, mark in zip(range(returned, 10**6, every), seen, strict=False))
        )

    def is_lifted(self, called: int, returned: int, last_seen: int, gone: int) -> Journal:
        """Last seen at `last_seen`, taken out, not found any more from `gone` on, closed 100 ms later."""
        self.add(presence(last_seen, last_seen + 5, "+"), presence(gone, gone + 5, "-"))
        self.add(ev.RevertBegan(fault=FAULT, by="runner", **clock(called)))
        self.add(ev.RevertReturned(fault=FAULT, by="runner", **clock(returned)))
        return self.add(ev.FaultCleared(fault=FAULT, by="runner", **clock(gone + 100)))

    def ends(self, at: int) -> Journal:
        return self.add(ev.RunEnded(cause="completed", by="runner", **clock(at)))

    def drives(self, data: Sequence[bytes], error: str = "", sha256: str | None = None) -> Journal:
        """A workload from before the baseline to after the last look, with this order history."""
        self.orders = read(data)
        digest = self.orders.sha256 if sha256 is None else sha256
        told = {"operations": len(data), "accepted": 0, "refused": 0, "unknown": 0, "error": error}
        last = max(event.at for event in self.events) / MS
        return self.add(
            ev.WorkloadStarted(name="orders", pid=7, file="orders.jsonl", **clock(-50)),
            ev.WorkloadEnded(name="orders", file="orders.jsonl", sha256=digest, **told, **clock(last - 1)),
        )

    def history(self) -> History:
        return of(sorted(self.events, key=lambda event: event.at))

    def judge(self) -> Judgement:
        return judge(self.history(), orders=self.orders)

    def finding(self, expectation: str) -> Finding:
        return next(f for f in self.judge().findings if f.expectation == expectation)
