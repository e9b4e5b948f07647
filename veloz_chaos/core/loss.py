"""What a disaster cost: how long the business was away (RTO), and how much of its acknowledged past is gone (RPO).

An order survived if the gateway still knows it at the end; the exchange is not ours to lose. All since the newest
survivor may be gone, and so may all since the oldest that is lost: newer ones can have come back by another way, from
the exchange for instance. What was acknowledged at an unknown instant between its sending and its answer makes the RPO
an interval, as everything is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from veloz_chaos.core import steps
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.finding import Finding, against
from veloz_chaos.core.flow import Flow
from veloz_chaos.core.history import History
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.measure import Measurement
from veloz_chaos.core.orders import ACCEPTED, WORKLOAD, Orders
from veloz_chaos.core.plan import Plan, PlannedMeasure

#: Ids named in one finding.
_NAMED = 3


@dataclass(frozen=True)
class Loss:
    """Of the orders acknowledged before the strike. `newest`: when the newest survivor was acknowledged; `oldest`: when
    the oldest lost one was; None if there is none."""

    acknowledged: int
    lost: tuple[str, ...]
    newest: Interval | None
    oldest: Interval | None


def lost(orders: Orders, struck: Interval) -> Loss:
    """Pure; of the workload's orders. One that was under way when it struck, and acknowledged, counts."""
    placed, held = orders.placed, orders.sides.get("gateway")
    kept = set(held.order) if held is not None else set()
    rows = [
        row
        for row, outcome in enumerate(placed.outcome)
        if outcome == ACCEPTED and placed.origin[row] == WORKLOAD and placed.at[row] < struck.at_most
    ]
    survived, gone = [row for row in rows if row in kept], [row for row in rows if row not in kept]
    newest = _hull_of_last(orders, survived)
    oldest = Interval(min(placed.at[r] for r in gone), min(placed.done[r] for r in gone)) if gone else None
    return Loss(len(rows), tuple(orders.ids[row] for row in gone), newest, oldest)


def _hull_of_last(orders: Orders, rows: list[int]) -> Interval | None:
    """The latest of all acknowledgements lies between the latest sending and the latest answer."""
    if not rows:
        return None
    return Interval(max(orders.placed.at[row] for row in rows), max(orders.placed.done[row] for row in rows))


def findings(plan: Plan, history: History, m: Measurement, found: Flow) -> Iterator[Finding]:
    """One for each measure of the plan."""
    for name, measure in plan.measures.items():
        stricter = objective(name, measure, plan)
        limit = None if stricter is None else nanoseconds(stricter)
        if measure.at is not None:
            yield _of_loss(name, measure.at, plan, history, m, found, limit)
        else:
            yield _of_length(name, measure, plan, history, m, limit)


def objective(name: str, measure: PlannedMeasure, plan: Plan) -> timedelta | None:
    """The stricter of the two: the experiment's own objective, and the matrix's limit."""
    row = {"rto": plan.limits.rto, "rpo": plan.limits.rpo}.get(name)
    return min((one for one in (measure.objective, row) if one is not None), default=None)


def _instant(name: str, plan: Plan, history: History, m: Measurement) -> Interval | None:
    step = next(step for step in plan.steps if step.name == name)
    return steps.instant(step, plan, history, m)


def _of_length(
    name: str, measure: PlannedMeasure, plan: Plan, history: History, m: Measurement, limit: int | None
) -> Finding:
    assert measure.from_ is not None and measure.to is not None
    start, end = _instant(measure.from_, plan, history, m), _instant(measure.to, plan, history, m)
    if start is None:
        return Finding(name, "inconclusive", f"there was no {measure.from_} to count from", None, limit)
    if end is None or math.isinf(end.at_most):
        return Finding(name, "inconclusive", f"the run ended before {measure.to}", None, limit)
    return _judged(name, end.since(start), limit, f"from {measure.from_} to {measure.to}")


def _of_loss(
    name: str, at: str, plan: Plan, history: History, m: Measurement, found: Flow, limit: int | None
) -> Finding:
    struck = _instant(at, plan, history, m)
    if struck is None:
        return Finding(name, "inconclusive", f"there was no {at} to count from", None, limit)
    if found.audit is None or found.orders is None:
        return Finding(name, "inconclusive", found.audit.why if found.audit else "there is no order flow", None, limit)
    if found.audit.why:
        return Finding(name, "inconclusive", found.audit.why, None, limit)
    cost = lost(found.orders, struck)
    said = f"{len(cost.lost) or 'none'} of {cost.acknowledged} acknowledged orders lost{_named(cost.lost)}"
    if not cost.acknowledged:
        return Finding(name, "inconclusive", f"no order was acknowledged before {at}", None, limit)
    ages = [struck.since(instant) for instant in (cost.newest, cost.oldest) if instant is not None]
    length = Interval(max(age.at_least for age in ages), max(age.at_most for age in ages))
    if cost.newest is None:
        length = Interval(length.at_least, math.inf)
        word = "failed" if limit is not None and length.at_least > limit else "inconclusive"
        return Finding(name, word, f"none survived: {said}", length, limit)  # type: ignore[arg-type]
    return _judged(name, length, limit, said)


def _named(ids: tuple[str, ...]) -> str:
    if not ids:
        return ""
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f": {', '.join(ids[:_NAMED])}{more}"


def _judged(name: str, length: Interval, limit: int | None, said: str) -> Finding:
    if limit is None:
        return Finding(name, "passed", f"measured; there is no limit: {said}", length)
    judged = against(name, length, limit, ())
    reason = said if judged.verdict == "passed" else f"{judged.reason} ({said})"
    return Finding(name, judged.verdict, reason, length, limit)
