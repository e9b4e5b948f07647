"""When a run has seen enough: the same measurement, asked of a run under way."""

from __future__ import annotations

import math

from veloz_chaos.core import alert_findings as alerts
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.history import History
from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.measure import Measurement, measure
from veloz_chaos.core.plan import Plan
from veloz_chaos.core.window import clauses, interior, rule

#: Without a limit for the detection, an impact must show within this.
PATIENCE = 30 * SECOND
#: So long at least the order flow goes on in a fault whose impact is told by conditions over it.
SHOWING = 5 * SECOND


def hold_over(plan: Plan, history: History, now: int) -> bool:
    """May the held faults be lifted? The longest hold is the caller's to enforce."""
    if not all(fault.hold is None or fault.hold.until_decided for fault in plan.faults):
        return False
    m = measure(history)
    if m.began is None or not _noticed(plan, m, now) or not _hurt(plan, m, now):
        return False
    seen = max(i.at_most for i in (m.began, m.detection, m.impact) if i is not None and not math.isinf(i.at_most))
    held = now >= seen + nanoseconds(plan.hold) and _windows_decided(plan, history, m)
    return held and alerts.raised_decided(plan, history, m, now)


def _windows_decided(plan: Plan, history: History, m: Measurement) -> bool:
    """Every clause that needs the fault has been shown, or violated."""
    for name in ("fault", "detected"):
        for quantifier, clause in clauses(plan.while_[name]) if name in plan.while_ else ():
            inside = interior(name, history, m)
            if inside is None:
                return False
            ruling = rule(clause, quantifier, inside, history, plan)
            if ruling.verdict == "inconclusive" or (quantifier == "eventually" and ruling.verdict == "failed"):
                return False
    return True


def watch_over(plan: Plan, history: History, now: int) -> bool:
    """Has the run seen all that it can judge?"""
    m = measure(history)
    start = m.recovery_counts_from
    if start is None:
        return True
    if plan.placebo:
        return now >= start.at_most + nanoseconds(plan.limits.detection or plan.hold) + nanoseconds(plan.settle)
    if now > start.at_most + _patience(plan) and _passed(plan, m, now):
        return alerts.decided(plan, history, m, now)
    settled = _noticed(plan, m, now) and _hurt(plan, m, now) and _settled(plan, history, m, now)
    return settled and alerts.decided(plan, history, m, now)


def steps_over(plan: Plan, history: History, now: int) -> bool:
    """After the last step: has the steady state been good for as long as it must settle, or is nothing to be hoped?"""
    m = measure(history)
    if m.began is None:
        return True
    ended = max((step.ended or 0 for step in history.steps.values()), default=0)
    settled = _settled(plan, history, m, now) and now >= ended + nanoseconds(plan.settle)
    told = settled and alerts.decided(plan, history, m, now)
    return told or now > ended + nanoseconds(plan.limits.give_up)


def _noticed(plan: Plan, m: Measurement, now: int) -> bool:
    """The detection is decided: seen, not expected, or its limit has passed."""
    return plan.detection is None or m.detected or _passed(plan, m, now)


def _hurt(plan: Plan, m: Measurement, now: int) -> bool:
    """The impact is decided: seen, its limit has passed, or (where conditions over the order flow show it) the flow has
    gone on in it for long enough."""
    assert m.began is not None
    shown = isinstance(plan.impact, list) and now > m.began.at_most + max(nanoseconds(plan.hold), SHOWING)
    return m.impact is not None or shown or _passed(plan, m, now)


def _passed(plan: Plan, m: Measurement, now: int) -> bool:
    assert m.began is not None
    limit = PATIENCE if plan.limits.detection is None else nanoseconds(plan.limits.detection)
    return now > m.began.at_most + limit + _longest_look(plan)


def _longest_look(plan: Plan) -> int:
    names = [*plan.steady_state, *(plan.detection.signals if plan.detection else ())]
    return max(nanoseconds(plan.probes[n].every) + nanoseconds(plan.probes[n].timeout) for n in names)


def _settled(plan: Plan, history: History, m: Measurement, now: int) -> bool:
    """Recovered, the fault gone, and since then every steady-state probe good for as long as it must settle: to within
    its last period, which is what a look can tell."""
    since = max(i.at_most for i in (m.recovery or m.began, m.ended) if i is not None)
    if math.isinf(since) or (plan.held and m.ended is None):
        return False
    until = since + max(nanoseconds(plan.settle), nanoseconds(plan.hold))
    if now < until:
        return False
    return all(_answered_lately(plan, history, name, until) for name in plan.steady_state)


def _answered_lately(plan: Plan, history: History, name: str, until: float) -> bool:
    return (history.trace(name).last_answer() or 0) >= until - nanoseconds(plan.probes[name].every)


def _patience(plan: Plan) -> int:
    """How long an unrecovered system is watched: beyond twice its limit, and the time to prove a recovery just within
    it, nothing changes the verdict."""
    proof = max(nanoseconds(plan.settle), nanoseconds(plan.hold)) + _longest_look(plan)
    if plan.limits.recovery is None:
        return nanoseconds(plan.limits.give_up) + proof
    limit = nanoseconds(plan.limits.recovery)
    return max(2 * limit, limit + 10 * SECOND) + proof
