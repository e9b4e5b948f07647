"""From a measurement to a verdict: each expectation passed, failed or inconclusive; the worst one wins.

At most within the limit passes; at least beyond it fails; astride is inconclusive ("look more often"). Nothing passes
because nothing was seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from veloz_chaos import errors
from veloz_chaos.core import alert_findings as alerts
from veloz_chaos.core.alert_chain import Chain, chain
from veloz_chaos.core.coverage import ANSWERED
from veloz_chaos.core.doubt import doubt
from veloz_chaos.core.expectation import expectations, unseen
from veloz_chaos.core.finding import Finding
from veloz_chaos.core.flow import Flow, clean, flow
from veloz_chaos.core.history import History
from veloz_chaos.core.matrix import ResponseMatrix
from veloz_chaos.core.measure import Measurement, measure
from veloz_chaos.core.orders import Orders
from veloz_chaos.core.plan import Plan, PlannedRestore, is_link
from veloz_chaos.core.trace import NOT_SHOWN
from veloz_chaos.core.window import Verdict

__all__ = ["Finding", "Judgement", "judge", "worst"]


@dataclass(frozen=True)
class Judgement:
    run: str
    #: passed, failed, inconclusive; or refused, aborted, left-behind, broken where there is nothing to judge
    verdict: str
    exit_code: int
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...]
    measurement: Measurement
    flow: Flow = field(default_factory=Flow)
    #: the way of the alert; None where none is expected, or nobody says where alerts are read
    chain: Chain | None = None


_CODES: dict[str, int] = {
    "passed": errors.PASSED,
    "failed": errors.FAILED,
    "inconclusive": errors.INCONCLUSIVE,
    "refused": errors.REFUSED,
    "aborted": errors.ABORTED,
    "left-behind": errors.LEFT_BEHIND,
    "broken": errors.BUG,
}


def judge(history: History, matrix: ResponseMatrix | None = None, orders: Orders | None = None) -> Judgement:
    """By the limits in the journal, or by today's `matrix`. Raises ValueError for a journal without a plan.

    `orders` is the order history beside the journal; None if there is none.
    """
    if history.plan is None:
        raise ValueError("the journal holds no plan; it was cut before its first event was whole")
    if matrix is not None:
        history.plan = limited(history.plan, matrix)
    m = measure(history)
    stop, reasons = _no_verdict(history)
    found = Flow() if stop == "refused" else flow(history.plan, history, m, orders)
    findings = () if stop == "refused" else tuple(_findings(history.plan, history, m, found))
    verdict = stop or worst(findings)
    told = chain(history.plan.alert, history, m) if history.plan.alert is not None else None
    return Judgement(history.run, verdict, _CODES[verdict], findings, tuple(reasons), m, found, told)


def limited(plan: Plan, matrix: ResponseMatrix) -> Plan:
    """By the limits of another matrix; an alert by the stricter time of both, for an experiment may have its own."""
    row = matrix.rows[plan.limits.row]
    changed: dict[str, Any] = {"limits": matrix.limits(plan.limits.row)}
    if plan.alert is not None and row.alert is not None and row.alert.within is not None:
        within = min(plan.alert.within, row.alert.within)
        changed["alert"] = plan.alert.model_copy(update={"within": within})
    return plan.model_copy(update=changed)


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
        if record.prepared and record.inject_began is not None and not record.cleared and _held(history, name)
    ]
    down = [_down(history, name) for name in (history.ended.down if history.ended else [])]
    left += [_owed(history.owed)] if history.owed else []
    if history.ended is not None and (left or down):
        return "left-behind", left + down
    if history.refused:
        return "refused", history.refused
    if history.runner_failed:
        return "broken", [history.runner_failed]
    if history.aborted:
        return "aborted", [history.aborted]
    if history.ended is not None and history.ended.cause == "interrupted":
        mended = f", and `{history.mended[-1].procedure}` was run" if history.mended else ""
        return "aborted", [f"the runner died; what it had injected was taken out{mended}"]
    return "", []


def _down(history: History, name: str) -> str:
    """And what would mend it. A link is not down: what it connects does not cope."""
    if is_link(name):
        return (
            f"the steady state does not hold again since {name} was struck; no procedure is known that mends it: "
            "look at what it connects"
        )
    planned = history.plan.restores.get(name) if history.plan else None
    if planned is None:
        return (
            f"{name} is still down; nothing is known that brings it back: do it by hand, and say how in the "
            f"environment for the next time: services: {{{name}: {{restore: PROCEDURE}}}}"
        )
    tried = next((event for event in reversed(history.restored) if event.service == name), None)
    why = f" though `{planned.procedure}` was run" if tried and tried.succeeded else ""
    why = f"; `{planned.procedure}` failed" if tried and not tried.succeeded else why
    return f"{name} is still down{why}; bring it back by: {planned.by_hand}"


def _owed(planned: PlannedRestore) -> str:
    """What an irreversible fault destroyed is not put right yet."""
    return (
        f"`{planned.procedure}` has not mended what the steps did; run it by: veloz-chaos revert, "
        f"or by hand: {planned.by_hand}"
    )


def _held(history: History, name: str) -> bool:
    return history.plan is not None and any(f.id == name and f.held for f in history.plan.faults)


def _left(name: str, error: str, by_hand: str) -> str:
    what = f"{name} may still be in place" + (f" ({error})" if error else "")
    return what + (f"; undo it with: {by_hand}" if by_hand else "")


def _findings(plan: Plan, history: History, m: Measurement, found: Flow) -> Iterator[Finding]:
    why = doubt(plan, history, m)
    for finding in _placebo(plan, history, m, found) if plan.placebo else expectations(plan, history, m, found):
        doubtful = why and finding.verdict != "inconclusive"
        yield (
            Finding(finding.expectation, "inconclusive", why, finding.measured, finding.limit) if doubtful else finding
        )
    yield from _reverted(plan, history)
    if history.ended is None:
        yield Finding("end of the run", "inconclusive", "the journal ends before the run did")


def _placebo(plan: Plan, history: History, m: Measurement, found: Flow) -> Iterator[Finding]:
    """Everything but the fault, watched for as long as the run would have been."""
    noticed = [s.name for s in m.signals if s.shown]
    signals = plan.detection.signals if plan.detection else []
    title = "placebo: no detection"
    if noticed:
        entries = tuple(s.shown.entry for s in m.signals if s.shown)
        yield Finding(title, "failed", f"{', '.join(noticed)} was shown though nothing was done", entries=entries)
    else:
        yield _quiet(title, "nothing was noticed", unseen(plan, history, m, signals, ANSWERED))
    title = "placebo: no impact"
    if m.impact is not None:
        entries = tuple(m.entries.get("impact", ()))
        yield Finding(title, "failed", "the steady state broke though nothing was done", entries=entries)
    else:
        yield _quiet(title, "the steady state held", unseen(plan, history, m, plan.steady_state))
    yield from clean(found)
    yield from alerts.quiet(plan, history, m)


def _quiet(title: str, reason: str, why: str) -> Finding:
    """Nothing happened; that counts only if we were looking."""
    return Finding(title, "inconclusive", why) if why else Finding(title, "passed", reason)


def _reverted(plan: Plan, history: History) -> Iterator[Finding]:
    """A fault that could not be taken out is a failure of its own, also if somebody did it after the run."""
    for fault in plan.faults:
        record = history.fault(fault.id)
        if fault.held and history.ended is not None and record.cleared and fault.id in history.ended.left:
            reason = f"{fault.kind} on {fault.on} was taken out only after the run had ended"
            yield Finding("reverted", "failed", reason)
        elif fault.held and record.inject_began is not None and not record.cleared and history.ended is not None:
            yield Finding(
                "reverted", "failed", _left(f"{fault.kind} on {fault.on}", record.revert_error, record.by_hand)
            )
        elif fault.held and record.cleared:
            last = record.presence.last()
            gone = last is not None and last.outcome == NOT_SHOWN
            reason = (
                "looked for and not found any more" if gone else "taken out; its effect can't be looked for any more"
            )
            yield Finding("reverted", "passed", reason, entries=(record.entries["cleared"],))
