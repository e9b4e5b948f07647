"""What an experiment expects of the system, each expectation against the measurement.

What was not seen proves something only if somebody was looking, and for as long as it could have come.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from veloz_chaos.core import alert_findings as alerts
from veloz_chaos.core import loss, steps
from veloz_chaos.core.coverage import ASKED, Counts, unwatched, watched_until
from veloz_chaos.core.doubt import completed, not_in_place
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.finding import Finding, against
from veloz_chaos.core.flow import Flow, fates
from veloz_chaos.core.history import History, Value
from veloz_chaos.core.interval import Interval, Nanoseconds
from veloz_chaos.core.length import length as long
from veloz_chaos.core.measure import Measurement, struck
from veloz_chaos.core.plan import Plan
from veloz_chaos.core.presence import unforeseen_end
from veloz_chaos.core.trace import SHOWN
from veloz_chaos.core.window import WINDOWS, Quantifier, Ruling, clauses, interior, rule


def expectations(plan: Plan, history: History, m: Measurement, found: Flow) -> Iterator[Finding]:
    if plan.steps:
        yield from _of_steps(plan, history, m, found)
        return
    yield _in_place(plan, history, m)
    if plan.detection is not None:
        yield _unless_cut_short(_detection(plan, history, m), m)
    yield _impact(plan, history, m, found)
    yield from found.impact
    yield _recovery(plan, history, m, found)
    yield from _whiles(plan, history, m)
    yield from (_kept(name, history, m) for name in plan.keeps)
    yield from fates(plan, found)
    yield from alerts.findings(plan, history, m)


def _of_steps(plan: Plan, history: History, m: Measurement, found: Flow) -> Iterator[Finding]:
    """The steps say what is expected and when, recovery too; what else is asked for is judged as ever."""
    yield from steps.findings(plan, history, m)
    if history.restored:
        yield _restored(history)
    if plan.detection is not None:
        yield _unless_cut_short(_detection(plan, history, m), m)
    yield from found.impact
    yield from loss.findings(plan, history, m, found)
    yield from _whiles(plan, history, m)
    yield from (_kept(name, history, m) for name in plan.keeps)
    yield from fates(plan, found)
    yield from alerts.findings(plan, history, m)


def _in_place(plan: Plan, history: History, m: Measurement) -> Finding:
    """Until it was taken out; a restart of its target may end it before if the experiment says `target-restarted`."""
    if not m.in_place:
        return Finding("in place", "inconclusive", not_in_place(history))
    records = history.faults.values()
    evidence = "; ".join(record.evidence for record in records if record.evidence)
    seen = [look.entry for record in records for look in record.presence if look.outcome == SHOWN]
    if why := unforeseen_end(plan, history, plan.faults):
        return Finding("in place", "inconclusive", f"it ended early: {why}", entries=tuple(seen[:3]))
    evidence += f"; it ended early: {m.early}" if m.early else ""
    return Finding("in place", "passed", evidence, entries=tuple(seen[:3]))


# --- detection -----------------------------------------------------------------------------------------------------


def _detection(plan: Plan, history: History, m: Measurement) -> Finding:
    length, limit = m.time_to_detect, _nanoseconds(plan.limits.detection)
    entries = tuple(m.entries.get("detection", ()))
    if length is None or m.detection is None:
        return Finding("detection", "inconclusive", "the fault was never in place")
    if not m.detected:
        return replace(_unnoticed(plan, history, m, length), measured=length, limit=limit)
    at_most = m.detection.at_most
    for signal in m.signals:
        if signal.lost and signal.at.at_most == at_most:
            reason = f"flapped: `{signal.name}` was shown and lost again while the system was still broken"
            return Finding("detection", "failed", reason, length, limit, (*entries, signal.lost.entry))
    if limit is None:
        return Finding("detection", "passed", "measured; the document gives no limit", length, None, entries)
    return against("detection", length, limit, entries)


def _nanoseconds(value: Any) -> int | None:
    return None if value is None else nanoseconds(value)


def _unnoticed(plan: Plan, history: History, m: Measurement, length: Interval) -> Finding:
    """Never shown: that is a failure if it could have come no more, in time or before the recovery."""
    assert plan.detection is not None
    names, limit = " or ".join(plan.detection.signals), _nanoseconds(plan.limits.detection)
    if plan.detection.optional:
        return Finding("detection", "passed", "not noticed; masking is allowed")
    healed = m.recovery is not None and not math.isinf(m.recovery.at_most)
    if limit is not None and length.at_least > limit:
        what = f"{names} was not shown within {long(limit)}"
        return Finding("detection", "failed", f"healed unseen: {what}" if healed else what)
    if limit is None and healed and completed(history) and _looked_until_healed(m):
        return Finding("detection", "failed", f"healed unseen: {names} was never shown")
    return Finding("detection", "inconclusive", f"{names} was not shown by the end of the watch")


def _looked_until_healed(m: Measurement) -> bool:
    return m.detection is not None and m.recovery is not None and m.detection.at_least >= m.recovery.at_most


def _unless_cut_short(finding: Finding, m: Measurement) -> Finding:
    """A fault that ended early, before the limit had passed, leaves open whether it would have been noticed."""
    if not (m.early and finding.verdict == "failed" and m.began and m.ended):
        return finding
    if finding.limit is not None and m.ended.at_least >= m.began.at_most + finding.limit:
        return finding
    return replace(finding, verdict="inconclusive", reason=f"the fault ended early: {m.early}")


def _restored(history: History) -> Finding:
    """Whatever the steps waited for: what our own procedure mends in the end did not recover."""
    procedure = history.restored[0].procedure
    return Finding("recovery", "failed", f"still broken after the last step; `{procedure}` was run")


# --- impact --------------------------------------------------------------------------------------------------------


def _impact(plan: Plan, history: History, m: Measurement, found: Flow) -> Finding:
    entries, hurt = tuple(m.entries.get("impact", ())), m.impact is not None
    if m.impact and plan.impact == "none":
        reason = "the steady state broke, but no impact is expected"
        if m.early and not (m.ended and m.impact.at_most <= m.ended.at_least):
            reason = f"{reason}; the fault ended early, and that may be why: {m.early}"
            return Finding("impact", "inconclusive", reason, m.time_to_impact, None, entries)
        return Finding("impact", "failed", reason, m.time_to_impact, None, entries)
    if hurt:
        return Finding("impact", "passed", "the steady state broke", m.time_to_impact, None, entries)
    if found.hurt:
        return Finding("impact", "passed", "the steady state held; the impact conditions show the impact")
    if m.early:
        return Finding("impact", "inconclusive", f"the fault ended early: {m.early}")
    if found.open:
        return Finding("impact", "inconclusive", f"the steady state held, and the order flow is open: {found.open}")
    if why := unseen(plan, history, m, plan.steady_state):
        return Finding("impact", "inconclusive", why)
    if plan.impact == "none":
        return Finding("impact", "passed", "none, as expected")
    if m.replaced and not math.isinf(m.replaced.at_most):
        return Finding("impact", "passed", "the steady state held, and what took its place was seen to serve")
    return Finding("impact", "failed", "masked: the fault was in place, yet no steady-state probe broke")


def unseen(plan: Plan, history: History, m: Measurement, probes: Sequence[str], counts: Counts = ASKED) -> str:
    """Why the looks do not prove that nothing happened to these probes from the fault to the end of the watch."""
    if m.began is None or not completed(history):
        return "the run ended before all had been seen"
    until = max(watched_until(plan, history, probes), (m.ended or m.began).at_most + nanoseconds(plan.hold))
    return unwatched(plan, history, probes, m.began.at_least, until, counts)


# --- recovery ------------------------------------------------------------------------------------------------------


def _recovery(plan: Plan, history: History, m: Measurement, found: Flow) -> Finding:
    length, limit = m.time_to_recover, nanoseconds(plan.limits.recovery_or_give_up)
    if history.restored and not m.outages:
        restored = history.restored[0]
        reason = f"the steady state held, but {restored.service} stayed dead; `{restored.procedure}` was run"
        return Finding("recovery", "failed", reason, None, limit)
    if m.recovery is None or length is None or not (m.outages or found.hurt or m.replaced):
        reason = "nothing broke, so there is nothing to recover from"
        return Finding("recovery", "passed" if plan.impact == "none" else "inconclusive", reason, None, limit)
    if m.replaced and math.isinf(m.replaced.at_most):
        reason = "nothing broke, and what was struck was not seen to be replaced"
        return Finding("recovery", "inconclusive", reason, None, limit)
    finding = against("recovery", length, limit, tuple(m.entries.get("recovery", ())))
    if history.restored:
        procedure = history.restored[0].procedure
        return replace(finding, verdict="failed", reason=f"still broken after the watch; `{procedure}` was run")
    if not m.outages and (why := unseen(plan, history, m, plan.steady_state)):
        return replace(finding, verdict="inconclusive", reason=why)
    if finding.verdict != "failed" and (open_ := _open_end(plan, history, m, m.recovery)):
        return replace(finding, verdict="inconclusive", reason=open_)
    relapsed = f"; relapsed {m.relapses} time{'s' if m.relapses > 1 else ''} before" if m.relapses else ""
    variable = "; the document's limit is variable" if plan.limits.recovery is None else ""
    serving = "; nothing broke: until what took its place was seen to serve" if m.replaced else ""
    return replace(finding, reason=finding.reason + serving + relapsed + variable)


def _open_end(plan: Plan, history: History, m: Measurement, recovery: Interval) -> str:
    """Why the recovery is not proven to have lasted, after the fault's end too; empty if it is. A gap in the settling
    time may hide a relapse as well as one in the hold."""
    if math.isinf(recovery.at_most):
        return "not recovered by the end of the watch"
    if plan.held and m.ended is None:
        return "the fault was not seen to end: nobody knows whether the recovery survives that"
    ended: Nanoseconds = m.ended.at_most if m.ended else 0
    since = max(recovery.at_most, ended)
    held = since + nanoseconds(plan.hold)
    if m.end < held:
        return "the watch ended before the steady state had held for long enough"
    settled = min(since + nanoseconds(plan.settle), watched_until(plan, history, plan.steady_state))
    return unwatched(plan, history, plan.steady_state, recovery.at_most, max(held, settled))


# --- windows, values -----------------------------------------------------------------------------------------------


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
            if m.early and _needs_the_fault(name, inside, m):
                ruling = _of_full_length(quantifier, ruling, m)
            yield Finding(title, ruling.verdict, ruling.reason, None, None, ruling.entries)


def _needs_the_fault(name: str, inside: Interval, m: Measurement) -> bool:
    """Of the steps those in whose time it was to be in place."""
    if name in WINDOWS:
        return name == "fault"
    ended = math.inf if m.ended is None else m.ended.at_most
    return m.began is not None and inside.at_least < ended and inside.at_most > m.began.at_least


def _of_full_length(quantifier: Quantifier, ruling: Ruling, m: Measurement) -> Ruling:
    """A fault that ended early shows neither what held all along, nor what would not have come later."""
    open_ = "failed" if quantifier == "eventually" else "passed"
    if ruling.verdict == open_:
        return replace(ruling, verdict="inconclusive", reason=f"the fault ended early: {m.early}")
    return ruling


def _kept(name: str, history: History, m: Measurement) -> Finding:
    """Last value in the baseline == value after recovery."""
    title = f"keeps {name}"
    values, start = history.values.get(name, []), struck(history)
    before = next((v for v in reversed(values) if start is not None and v.answered <= start), None)
    after = _value_after(name, values, history, m)
    if before is None or after is None:
        when = "in the baseline" if before is None else "after recovery"
        return Finding(title, "inconclusive", f"not read {when}")
    entries = (before.entry, after.entry)
    if before.value == after.value:
        return Finding(title, "passed", "the same before and after", entries=entries)
    return Finding(title, "failed", f"was {_short(before.value)}, is {_short(after.value)}", entries=entries)


def _value_after(name: str, values: list[Value], history: History, m: Measurement) -> Value | None:
    """The probe's last value, if its last look was a good one taken after the recovery and the fault's end (or after a
    fault that hurt nothing)."""
    since = max((i.at_most for i in (m.recovery or m.began, m.ended) if i is not None), default=math.inf)
    last = history.trace(name).last()
    if last is None or last.outcome != SHOWN or last.asked < since:
        return None
    return values[-1] if values else None


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"
