"""What casts doubt on a whole run, so that nothing in it can be said to have passed or failed."""

from __future__ import annotations

from collections.abc import Iterator

from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.history import History
from veloz_chaos.core.measure import Measurement, struck
from veloz_chaos.core.plan import Plan
from veloz_chaos.core.trace import SHOWN, Look


def doubt(plan: Plan, history: History, m: Measurement) -> str:
    """The gravest one, in words; empty if there is none."""
    if not plan.placebo and not m.in_place and (history.struck or not plan.steps):
        return not_in_place(history)
    return _clock(history) or next(_before(plan, history), "")


def not_in_place(history: History) -> str:
    records = history.faults.values()
    evidence = next((r.failed or r.evidence for r in records if r.failed or r.evidence), "")
    return "the fault's effect was never found at its target" + (f": {evidence}" if evidence else "")


def _clock(history: History) -> str:
    start = history.baseline_ended or 0
    if any(jump >= start for jump in history.jumps):
        return "the clock jumped during the run (the machine slept?): no length can be trusted"
    return ""


def _before(plan: Plan, history: History) -> Iterator[str]:
    """What was wrong already cannot have been caused by the fault, however well it fits."""
    for name in plan.steady_state:
        if any(look.bad for look in _looks_before(plan, history, name)):
            yield f"{name} was broken already, before the fault was injected"
    for name in plan.detection.signals if plan.detection else ():
        if any(look.outcome == SHOWN for look in _looks_before(plan, history, name)):
            yield f"{name} was shown already, before the fault was injected"


def _looks_before(plan: Plan, history: History, name: str) -> list[Look]:
    """From the baseline on, answered before anything was done; of steps, which may have gone on for long, the last
    moments."""
    start = struck(history)
    if history.baseline_began is None or start is None:
        return []
    since = max(history.baseline_began, start - nanoseconds(plan.baseline)) if plan.steps else history.baseline_began
    return history.trace(name).inside(since, start - 1)


def completed(history: History) -> bool:
    """Did the run see all it wanted to see? If not, what was not seen may still have come."""
    return history.ended is not None and history.ended.cause == "completed"
