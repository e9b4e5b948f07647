"""`while` expectations: what must be shown always, eventually or never within a window's certain interior.

Only looks that lie wholly inside count; a window with none, or with a gap of more than three periods, is inconclusive:
nothing passes by being empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from veloz_chaos.core.coverage import GAP_PERIODS
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.experiment import AnyOf, Clause, While, names_in
from veloz_chaos.core.history import History
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.length import length as long
from veloz_chaos.core.measure import Measurement, broken_until
from veloz_chaos.core.plan import Plan
from veloz_chaos.core.trace import NOT_SHOWN, SHOWN, UNANSWERED, UNKNOWN, Look

Verdict = Literal["passed", "failed", "inconclusive"]
WINDOWS = ("baseline", "fault", "detected", "reverted", "recovered")
Quantifier = Literal["always", "eventually", "never"]


@dataclass(frozen=True)
class Ruling:
    verdict: Verdict
    reason: str
    entries: tuple[int, ...] = ()


def interior(name: str, history: History, m: Measurement) -> Interval | None:
    """The part of a window that is certain, in boot-time instants; None if there is none."""
    start, end = _ends(name, history, m)
    if start is None or end is None or math.isinf(start) or end < start:
        return None
    return Interval(start, end)


def _ends(name: str, history: History, m: Measurement) -> tuple[float | None, float | None]:
    begun = min(
        (r.inject_began for r in history.faults.values() if r.inject_began is not None), default=history.last_at
    )
    broken = broken_until(m.outages)
    match name:
        case "baseline":
            return history.baseline_began, begun
        case "fault":
            until = m.surely_until if m.ended else _revert_asked(history) or broken
            return (m.began.at_most if m.began else None), until
        case "detected":
            return (m.detection.at_most if m.detection else None), broken
        case "reverted":
            return (m.ended.at_most if m.ended else None), m.end
        case "recovered":
            return (m.recovery.at_most if m.recovery else None), m.end
        case _:
            step = history.steps.get(name)
            return (step.began, step.ended) if step else (None, None)


def _revert_asked(history: History) -> int | None:
    """A held fault whose end is not measured yet was surely there until we began to take it out, or is still."""
    if history.plan is None or not history.plan.held:
        return None
    begun = [r.revert_began for r in history.faults.values() if r.revert_began is not None]
    return min(begun, default=history.last_at)


def rule(clause: Clause, quantifier: Quantifier, window: Interval, history: History, plan: Plan) -> Ruling:
    """One clause in one window; of any-of the best member counts, but `never` wants none of them."""
    if not isinstance(clause, AnyOf):
        return _rule_one(clause, quantifier, window, history, plan)
    rulings = [_rule_one(name, quantifier, window, history, plan) for name in clause.any_of]
    order: list[Verdict] = ["passed", "inconclusive", "failed"]
    choose = max if quantifier == "never" else min
    return choose(rulings, key=lambda ruling: order.index(ruling.verdict))


def _rule_one(clause: str, quantifier: Quantifier, window: Interval, history: History, plan: Plan) -> Ruling:
    negated, name = clause.startswith("not "), clause.removeprefix("not ")
    trace = history.trace(name)
    looks = trace.inside(window.at_least, window.at_most)
    known = [look for look in looks if look.outcome != UNKNOWN]
    period = nanoseconds(plan.probes[name].every)
    hits = [look for look in known if _says(look, negated, quantifier) is True]
    misses = [look for look in known if _says(look, negated, quantifier) is False]
    unsure = len(known) - len(hits) - len(misses)
    asked = [look for look in trace.asked_in(window.at_least, window.at_most) if look.answered <= window.at_most
             or _says(look, negated, quantifier) is (quantifier != "never")]  # fmt: skip
    gap = _gap(known, asked, window, period)
    return _decide(clause, quantifier, (hits, misses, unsure), gap, history.reasons.get(name, ""))


def _says(look: Look, negated: bool, quantifier: Quantifier) -> bool | None:
    """No answer in time is not what was promised to be shown, and no proof of the contrary either."""
    if look.outcome == UNANSWERED:
        return None if negated or quantifier == "never" else False
    return (look.outcome == SHOWN) != negated


def _gap(inside: Sequence[Look], asked: Sequence[Look], window: Interval, period: int) -> str:
    """Why these looks do not cover the window; empty if they do. One still under way at its end covers its stretch if
    it agrees, and otherwise says nothing: what it saw may have come after."""
    if not inside:
        return f"no look lies wholly inside the window of {long(window.width)}"
    edges = [window.at_least, *(look.asked for look in asked if look.outcome != UNKNOWN), window.at_most]
    widest = max(b - a for a, b in pairwise(edges))
    if widest > GAP_PERIODS * period:
        return f"{long(widest)} without a look; the period is {long(period)}"
    return ""


def _decide(clause: str, quantifier: str, looks: tuple[list[Look], list[Look], int], gap: str, why: str) -> Ruling:
    hits, misses, unsure = looks
    total = len(hits) + len(misses) + unsure
    match quantifier:
        case "always" if misses:
            what = "got no answer" if misses[0].outcome == UNANSWERED else "did not hold"
            tail = f": {why}" if why and misses[0].outcome in (NOT_SHOWN, UNANSWERED) else ""
            return Ruling("failed", f"`{clause}` {what} in {len(misses)} of {total} looks{tail}", _entries(misses))
        case "eventually" if hits:
            return Ruling("passed", f"shown in {len(hits)} of {total} looks", _entries(hits))
        case "never" if hits:
            return Ruling("failed", f"`{clause}` held in {len(hits)} of {total} looks", _entries(hits))
    if gap or unsure:
        return Ruling("inconclusive", gap or f"{unsure} of {total} looks got no answer", _entries(misses))
    if quantifier == "eventually":
        return Ruling(
            "failed", f"`{clause}` held in none of {total} looks" + (f": {why}" if why else ""), _entries(misses)
        )
    return Ruling("passed", f"in all of {total} looks", _entries((hits or misses)[:1]))


def _entries(looks: Sequence[Look]) -> tuple[int, ...]:
    return tuple(look.entry for look in looks[:3])


def clauses(window: While) -> list[tuple[Quantifier, Clause]]:
    """All that a window says, in the order of the grammar."""
    said: list[tuple[Quantifier, Clause]] = []
    for quantifier, listed in (("always", window.always), ("eventually", window.eventually), ("never", window.never)):
        said += [(quantifier, clause) for clause in listed or ()]  # type: ignore[misc]
    return said


probe_names = names_in
