"""From a measurement to a verdict: each expectation passed, failed or inconclusive; the worst one wins.

At most within the limit passes; at least beyond it fails; astride is inconclusive ("look more often"). Nothing passes
because nothing was seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from veloz_chaos import errors
from veloz_chaos.core.duration import nanoseconds, show_ns
from veloz_chaos.core.history import History, Value
from veloz_chaos.core.interval import SECOND, Interval, Nanoseconds
from veloz_chaos.core.matrix import ResponseMatrix
from veloz_chaos.core.measure import Measurement, measure
from veloz_chaos.core.plan import Plan
from veloz_chaos.core.trace import SHOWN, UNKNOWN, Trace
from veloz_chaos.core.window import GAP_PERIODS, Verdict, clauses, interior, rule


@dataclass(frozen=True)
class Finding:
    """One expectation: what was measured, the limit, and the journal entries it comes from. Lengths in ns."""

    expectation: str
    verdict: Verdict
    reason: str
    measured: Interval | None = None
    limit: Nanoseconds | None = None
    entries: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "expectation": self.expectation,
            "verdict": self.verdict,
            "reason": self.reason,
            "measured_seconds": self.measured and self.measured.as_json(),
            "limit_seconds": None if self.limit is None else self.limit / SECOND,
            "entries": list(self.entries),
        }


@dataclass(frozen=True)
class Judgement:
    run: str
    #: passed, failed, inconclusive; or refused, aborted, left-behind, broken where there is nothing to judge
    verdict: str
    exit_code: int
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...]
    measurement: Measurement


_CODES: dict[str, int] = {
    "passed": errors.PASSED,
    "failed": errors.FAILED,
    "inconclusive": errors.INCONCLUSIVE,
    "refused": errors.REFUSED,
    "aborted": errors.ABORTED,
    "left-behind": errors.LEFT_BEHIND,
    "broken": errors.BUG,
}


def judge(history: History, matrix: ResponseMatrix | None = None) -> Judgement:
    """By the limits in the journal, or by today's `matrix`. Raises ValueError for a journal without a plan."""
    if history.plan is None:
        raise ValueError("the journal holds no plan; it was cut before its first event was whole")
    if matrix is not None:
        history.plan = history.plan.model_copy(update={"limits": matrix.limits(history.plan.limits.row)})
    m = measure(history)
    stop, reasons = _no_verdict(history)
    findings = () if stop == "refused" else tuple(_findings(history.plan, history, m))
    verdict = stop or worst(findings)
    return Judgement(history.run, verdict, _CODES[verdict], findings, tuple(reasons), m)


def worst(findings: tuple[Finding, ...]) -> Verdict:
    """failed > inconclusive > passed; no finding at all is inconclusive."""
    verdicts = {finding.verdict for finding in findings}
    order: tuple[Verdict, ...] = ("failed", "inconclusive", "passed")
    return next((verdict for verdict in order if verdict in verdicts), "inconclusive")


def _no_verdict(history: History) -> tuple[str, list[str]]:
    """What stands in the way of a verdict, the gravest first; empty if nothing does."""
    left = [
        _left(name, record.revert_error, record.by_hand)
        for name, record in history.faults.items()
        if record.prepared and record.inject_began and not record.cleared and _held(history, name)
    ]
    down = [f"{service} is still down" for service in (history.ended.down if history.ended else [])]
    if history.ended is not None and (left or down):
        return "left-behind", left + down
    if history.refused:
        return "refused", history.refused
    if history.runner_failed:
        return "broken", [history.runner_failed]
    if history.aborted:
        return "aborted", [history.aborted]
    if history.ended is not None and history.ended.cause == "interrupted":
        return "aborted", ["the runner died; what it had injected was taken out"]
    return "", []


def _held(history: History, name: str) -> bool:
    return history.plan is not None and any(f.id == name and f.held for f in history.plan.faults)


def _left(name: str, error: str, by_hand: str) -> str:
    what = f"{name} may still be in place" + (f" ({error})" if error else "")
    return what + (f"; undo it with: {by_hand}" if by_hand else "")


def _findings(plan: Plan, history: History, m: Measurement) -> Iterator[Finding]:
    if plan.placebo:
        yield from _placebo(m)
        return
    missing = _not_in_place(history, m)
    if missing is not None:
        yield missing
    doubt = missing.reason if missing else _clock(history)
    for finding in _expectations(plan, history, m):
        doubtful = doubt and finding.verdict != "inconclusive"
        yield (
            Finding(finding.expectation, "inconclusive", doubt, finding.measured, finding.limit)
            if doubtful
            else finding
        )
    yield from _reverted(plan, history)


def _placebo(m: Measurement) -> Iterator[Finding]:
    noticed = [s.name for s in m.signals if s.shown]
    entries = tuple(s.shown.entry for s in m.signals if s.shown)
    yield Finding(
        "placebo: no detection",
        "failed" if noticed else "passed",
        f"{', '.join(noticed)} was shown though nothing was done" if noticed else "nothing was noticed",
        entries=entries,
    )
    hurt = m.impact is not None
    yield Finding(
        "placebo: no impact",
        "failed" if hurt else "passed",
        "the steady state broke though nothing was done" if hurt else "the steady state held",
        entries=tuple(m.entries.get("impact", ())),
    )


def _not_in_place(history: History, m: Measurement) -> Finding | None:
    if not m.in_place:
        evidence = next((r.failed or r.evidence for r in history.faults.values() if r.failed or r.evidence), "")
        why = "the fault's effect was never found at its target" + (f": {evidence}" if evidence else "")
        return Finding("in place", "inconclusive", why)
    return None


def _clock(history: History) -> str:
    start = history.baseline_ended or 0
    if any(jump >= start for jump in history.jumps):
        return "the clock jumped during the run (the machine slept?): no length can be trusted"
    return ""


def _expectations(plan: Plan, history: History, m: Measurement) -> Iterator[Finding]:
    if m.in_place:
        yield Finding("in place", "passed", _evidence(history), entries=_in_place_entries(history))
    if plan.detection is not None:
        yield _detection(plan, m)
    yield _impact(plan, m)
    yield _recovery(plan, history, m)
    yield from _whiles(plan, history, m)
    yield from (_kept(name, history, m) for name in plan.keeps)


def _evidence(history: History) -> str:
    return "; ".join(record.evidence for record in history.faults.values() if record.evidence)


def _in_place_entries(history: History) -> tuple[int, ...]:
    return tuple(look.entry for r in history.faults.values() for look in r.presence if look.outcome == SHOWN)[:3]


def against(name: str, length: Interval, limit: Nanoseconds, entries: tuple[int, ...]) -> Finding:
    """A measured length against its limit."""
    if length.at_most <= limit:
        return Finding(name, "passed", "within the limit", length, limit, entries)
    if length.at_least > limit:
        return Finding(
            name,
            "failed",
            f"took at least {show_ns(length.at_least)}, the limit is {show_ns(limit)}",
            length,
            limit,
            entries,
        )
    return Finding(
        name,
        "inconclusive",
        f"the limit {show_ns(limit)} lies inside the measured interval; look more often",
        length,
        limit,
        entries,
    )


def _limit(value: Any) -> int | None:
    return None if value is None else nanoseconds(value)


def _detection(plan: Plan, m: Measurement) -> Finding:
    length = m.time_to_detect
    assert plan.detection is not None
    limit = _limit(plan.limits.detection)
    entries = tuple(m.entries.get("detection", ()))
    if length is None:
        return Finding("detection", "inconclusive", "the fault was never in place")
    if not m.detected:
        return _unnoticed(plan, m, length, limit)
    lost = next((s for s in m.signals if s.lost and s.at.at_most == m.detection.at_most), None) if m.detection else None
    if lost is not None and lost.lost is not None:
        return Finding(
            "detection",
            "failed",
            f"flapped: `{lost.name}` was shown and lost again while the system was still broken",
            length,
            limit,
            (*entries, lost.lost.entry),
        )
    if limit is None:
        return Finding("detection", "passed", "measured; the document gives no limit", length, None, entries)
    return against("detection", length, limit, entries)


def _unnoticed(plan: Plan, m: Measurement, length: Interval, limit: int | None) -> Finding:
    names = " or ".join(plan.detection.signals) if plan.detection else ""
    if plan.detection and plan.detection.optional:
        return Finding("detection", "passed", "not noticed; masking is allowed", length, limit)
    if limit is not None and length.at_least > limit:
        return Finding("detection", "failed", f"{names} was not shown within {show_ns(limit)}", length, limit)
    if m.early:
        return Finding("detection", "inconclusive", f"the fault ended early: {m.early}", length, limit)
    if m.recovery is not None and not math.isinf(m.recovery.at_most):
        return Finding("detection", "failed", f"healed unseen: {names} was never shown", length, limit)
    return Finding("detection", "inconclusive", f"{names} was not shown by the end of the watch", length, limit)


def _impact(plan: Plan, m: Measurement) -> Finding:
    entries = tuple(m.entries.get("impact", ()))
    if plan.impact == "none":
        if m.impact is None:
            return Finding("impact", "passed", "none, as expected")
        return Finding(
            "impact", "failed", "the steady state broke, but no impact is expected", m.time_to_impact, None, entries
        )
    if m.impact is not None:
        return Finding("impact", "passed", "the steady state broke", m.time_to_impact, None, entries)
    if m.early:
        return Finding("impact", "inconclusive", f"the fault ended early: {m.early}")
    return Finding("impact", "failed", "masked: the fault was in place, yet no steady-state probe broke")


def _recovery(plan: Plan, history: History, m: Measurement) -> Finding:
    length, start = m.time_to_recover, m.recovery_counts_from
    limits = plan.limits
    limit = nanoseconds(limits.recovery_or_give_up)
    entries = tuple(m.entries.get("recovery", ()))
    if m.recovery is None or length is None or start is None:
        verdict: Verdict = "passed" if plan.impact == "none" else "inconclusive"
        return Finding("recovery", verdict, "nothing broke, so there is nothing to recover from", None, limit)
    finding = against("recovery", length, limit, entries)
    if math.isinf(length.at_most) and finding.verdict == "inconclusive":
        return Finding("recovery", "inconclusive", "not recovered by the end of the watch", length, limit, entries)
    gap = _hold_gap(plan, history, m.recovery, m.end)
    if finding.verdict == "passed" and gap:
        return Finding("recovery", "inconclusive", gap, length, limit, entries)
    relapsed = f"; relapsed {m.relapses} time{'s' if m.relapses > 1 else ''} before" if m.relapses else ""
    variable = "; the document's limit is variable" if limits.recovery is None else ""
    return Finding("recovery", finding.verdict, finding.reason + relapsed + variable, length, limit, entries)


def _hold_gap(plan: Plan, history: History, recovery: Interval, end: int) -> str:
    """Why the hold after the recovery is not proven; empty if it is."""
    until = recovery.at_most + nanoseconds(plan.hold)
    if end < until:
        return "the watch ended before the steady state had held for long enough"
    for name in plan.steady_state:
        widest = widest_gap(history.trace(name), recovery.at_most, until)
        allowed = GAP_PERIODS * nanoseconds(plan.probes[name].every) + nanoseconds(plan.probes[name].timeout)
        if widest > GAP_PERIODS * nanoseconds(plan.probes[name].every) and widest > 0:
            return f"{show_ns(widest)} without a look of {name} while the recovery had to hold" + _over(widest, allowed)
    return ""


def _over(widest: Nanoseconds, allowed: Nanoseconds) -> str:
    return "; the runner or the machine was starved" if widest > allowed else "; look more often or give it more room"


def widest_gap(trace: Trace, start: Nanoseconds, end: Nanoseconds) -> Nanoseconds:
    """The longest stretch of [start, end] in which no look was asked, in ns."""
    asked = [look.asked for look in trace.inside(start, math.inf) if look.outcome != UNKNOWN and look.asked <= end]
    edges = [start, *asked, end]
    return max(b - a for a, b in pairwise(edges))


def _whiles(plan: Plan, history: History, m: Measurement) -> Iterator[Finding]:
    for name, window in plan.while_.items():
        inside = interior(name, history, m)
        for quantifier, clause in clauses(window):
            text = clause if isinstance(clause, str) else "any of " + ", ".join(clause.any_of)
            title = f"while {name}: {quantifier} {text}"
            if inside is None:
                yield Finding(title, "inconclusive", f"there was no certain time in which it was `{name}`")
                continue
            ruling = rule(clause, quantifier, inside, history, plan)
            yield Finding(title, ruling.verdict, ruling.reason, None, None, ruling.entries)


def _kept(name: str, history: History, m: Measurement) -> Finding:
    """Last value in the baseline == value after recovery."""
    title = f"keeps {name}"
    values = history.values.get(name, [])
    begun = min((r.inject_began for r in history.faults.values() if r.inject_began), default=0)
    before = next((v for v in reversed(values) if v.answered <= begun), None)
    after = _value_after(name, values, history, m)
    if before is None or after is None:
        return Finding(
            title, "inconclusive", "not read in the baseline" if before is None else "not read after recovery"
        )
    entries = (before.entry, after.entry)
    if before.value == after.value:
        return Finding(title, "passed", "the same before and after", entries=entries)
    return Finding(title, "failed", f"was {_short(before.value)}, is {_short(after.value)}", entries=entries)


def _value_after(name: str, values: list[Value], history: History, m: Measurement) -> Value | None:
    """The probe's last value, if its last look was a good one taken after the recovery (or after a fault that hurt
    nothing)."""
    since = m.recovery.at_most if m.recovery else (m.began.at_most if m.began else math.inf)
    last = next(iter(history.trace(name).back_from(math.inf)), None)
    if last is None or last.outcome != SHOWN or last.asked < since:
        return None
    return values[-1] if values else None


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _reverted(plan: Plan, history: History) -> Iterator[Finding]:
    """A fault that could not be taken out is a failure of its own."""
    for fault in plan.faults:
        record = history.fault(fault.id)
        if fault.held and record.inject_began and not record.cleared and history.ended is not None:
            yield Finding(
                "reverted", "failed", _left(f"{fault.kind} on {fault.on}", record.revert_error, record.by_hand)
            )
        elif fault.held and record.cleared:
            yield Finding(
                "reverted", "passed", "looked for and not found any more", entries=(record.entries["cleared"],)
            )
