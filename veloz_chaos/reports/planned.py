"""A plan in words: what would be done to what, how it is undone, by which limits it is judged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from veloz_chaos.core.alerts import ALERTS, PlannedAlert
from veloz_chaos.core.experiment import Clause
from veloz_chaos.core.length import length
from veloz_chaos.core.loss import objective
from veloz_chaos.core.matrix import Limits
from veloz_chaos.core.plan import Plan, PlannedFault, PlannedStep
from veloz_chaos.core.session import Session
from veloz_chaos.core.size import percent
from veloz_chaos.core.window import clauses
from veloz_chaos.core.workload import Action, PlannedWorkload, Reading
from veloz_chaos.reports.table import table
from veloz_chaos.reports.verdict import wrapped

_LABEL = 13


def describe(plan: Plan, width: int = 80) -> list[str]:
    lines = wrapped(f"{plan.experiment} on {plan.environment} ({plan.tier}): {plan.title}", width)
    for fault in plan.faults:
        lines += ["", *_fault(fault, width)]
    if plan.workload is not None:
        lines += ["", f"orders: workload {plan.workload.name}", *labelled(_orders(plan.workload), width)]
    for name, session in plan.sessions.items():
        lines += ["", f"session {name}", *labelled(_session(session), width)]
    lines += ["", *labelled(limits_in_words(plan.limits), width), "", *_steps(plan, width), "", *_probes(plan, width)]
    return lines + [line for text in plan.warnings for line in ["", *wrapped(f"note: {text}", width)]]


def _session(session: Session) -> Iterator[tuple[str, str]]:
    yield "login", f"{session.login.method.upper()} {session.login.url}, before the first look"
    yield "anew", f"every {length(session.refresh)}" if session.refresh else "never: its token must last the whole run"
    yield "shown as", session.header


def labelled(pairs: Iterable[tuple[str, str]], width: int) -> list[str]:
    """A word, and beside it a text that is wrapped within its own column."""
    lines = []
    for label, text in pairs:
        first, *rest = wrapped(text, width - _LABEL - 4) or [""]
        lines += [f"  {label:{_LABEL}}  {first}", *(" " * (_LABEL + 4) + line.strip() for line in rest)]
    return lines


def _fault(fault: PlannedFault, width: int) -> list[str]:
    given = f" {json.dumps(fault.arguments, ensure_ascii=False)}" if fault.arguments else ""
    return [*wrapped(f"{fault.id}: {fault.kind} on {fault.on}{given}", width), *labelled(_facts(fault), width)]


def _facts(fault: PlannedFault) -> Iterator[tuple[str, str]]:
    offer = fault.offer
    yield "target", spaced(str(fault.reference))
    why = f"{fault.kind} needs a target that is {offer.capability}; this is how {fault.reference.backend} does it"
    yield "mechanism", f"{offer.mechanism} ({why})"
    yield "touches", offer.touches
    yield "held", _held(fault)
    yield "undo", "none: the procedure of on-abort mends it" if fault.irreversible else offer.undo
    if fault.held:
        yield "expiry", offer.expiry or "no expiry"
    if offer.emulated:
        yield "emulated", "not the real thing on this machine"
    if fault.models:
        yield "stands in", f"for {fault.models}"


def spaced(reference: str) -> str:
    """A line may break between the parts of a reference."""
    return reference.replace(",", ", ")


def _held(fault: PlannedFault) -> str:
    if fault.hold is None:
        return "no: it strikes once"
    decided = "at most " if fault.hold.until_decided else ""
    early = ", lifted as soon as all that needs it is decided" if fault.hold.until_decided else ""
    return f"{decided}{length(fault.hold.at_most)}{early}"


def _orders(flow: PlannedWorkload) -> Iterator[tuple[str, str]]:
    yield (
        "flow",
        f"{flow.rate}, each on time whatever became of those before it; no answer after {length(flow.timeout)}",
    )
    what = ", ".join(f"{symbol} {'/'.join(sorted(sides))}" for symbol, sides in flow.prices.items())
    yield "places", f"{_asked(flow.place)}: {what}, {flow.qty} each"
    yield "accepted", f"when {flow.place.accepted}"
    yield "refused", f"when {flow.place.refused}; anything else is of unknown outcome"
    if flow.cancel is not None:
        yield (
            "cancels",
            f"{percent(flow.cancel.share)} of the accepted, {length(flow.cancel.after)} later: {_asked(flow.cancel)}",
        )
    sides = f"{_asked(flow.read.gateway)} (gateway) and {_asked(flow.read.exchange)} (exchange)"
    yield "audit", f"reads {sides} until they agree, for at most {length(flow.settle)}; leaves none of its orders open"


def _asked(said: Action | Reading) -> str:
    return f"{said.http.method.upper()} {said.http.url}"


def limits_in_words(limits: Limits) -> Iterator[tuple[str, str]]:
    yield "row", f"{limits.row}: {limits.title}"
    yield "detection", _limit(limits.detection, "the document gives no limit: measured, not judged")
    given_up = f"variable: measured, and failed beyond {length(limits.give_up)}"
    yield "recovery", _limit(limits.recovery, given_up)
    yield from (
        (name, length(limit)) for name, limit in (("RTO", limits.rto), ("RPO", limits.rpo)) if limit is not None
    )
    yield "manual action", limits.manual_action


def _limit(limit: timedelta | None, otherwise: str) -> str:
    return otherwise if limit is None else f"within {length(limit)}"


def _steps(plan: Plan, width: int) -> list[str]:
    return [line for number, text in enumerate(_what_happens(plan), start=1)
            for line in wrapped(f"{number}. {text}", width)]  # fmt: skip


def _what_happens(plan: Plan) -> Iterator[str]:
    yield f"the steady state holds for {length(plan.baseline)}: {', '.join(plan.steady_state)}"
    if plan.placebo:
        yield "placebo: nothing is injected; nothing may be noticed or break"
        return
    if plan.workload is not None:
        yield f"{plan.workload.name} places orders from before the baseline to the end of the watch"
    yield "the guardian starts; a receipt for each fault is on disk before it is injected"
    if plan.steps:
        yield from (f"step {step.name}: {step_in_words(step, plan)}" for step in plan.steps)
    else:
        yield f"inject {_names(plan.faults)}; confirm it at the target"
    if plan.held and not plan.steps:
        yield f"hold it, looking, for at most {length(plan.longest_hold)}"
        yield "take it out; look until it has been gone for 2 s"
    if plan.detection is not None:
        word = " (masking is allowed)" if plan.detection.optional else ""
        yield f"watch for the detection: {' or '.join(plan.detection.signals)}{word}"
    if plan.steps:
        yield from _after_steps(plan)
    else:
        yield _recovery(plan)
    yield from _besides(plan)


def _recovery(plan: Plan) -> str:
    impact = "no impact is expected" if plan.impact == "none" else "an impact is expected"
    if isinstance(plan.impact, list):
        impact = "an impact is expected, of the steady state or of the order flow"
    return f"watch the recovery: {impact}; it must hold for {length(plan.hold)}, and is watched {length(plan.settle)}"


def _after_steps(plan: Plan) -> Iterator[str]:
    if plan.held:
        yield "take out what is still held; look until it has been gone for 2 s"
    yield f"watch for a relapse until the steady state has held for {length(plan.settle)}"
    if plan.on_abort is not None:
        procedure = plan.on_abort
        yield f"if the steps do not all end well: {procedure.procedure} mends the system ({procedure.by_hand})"
    for name, measure in plan.measures.items():
        limit = objective(name, measure, plan)
        what = f"from {measure.from_} to {measure.to}" if measure.at is None else f"what {measure.at} cost in orders"
        yield f"{name}: {what}, {'no limit' if limit is None else f'at most {length(limit)}'}"


def _names(faults: Iterable[PlannedFault]) -> str:
    return ", ".join(f"{fault.kind} on {fault.on}" for fault in faults)


def step_in_words(step: PlannedStep, plan: Plan) -> str:
    within = f", within {length(step.within)}" if step.within is not None else ""
    if step.inject:
        return f"inject {_names(f for f in plan.faults if f.id in step.inject)} at once; confirm it{within}"
    if step.revert:
        return f"take out {_names(f for f in plan.faults if f.id in step.revert)}"
    if step.procedure is not None:
        return f"run {step.procedure.procedure} ({step.procedure.by_hand}){within}"
    if step.manual is not None:
        return f"{step.manual.by} confirms{within}: {step.manual.do}"
    if step.wait is not None:
        return f"wait for {length(step.wait)}"
    if step.until == "steady-state":
        return f"wait until the steady state is back and has held for {length(plan.hold)}{within}"
    if step.until:
        return f"wait until {' and '.join(map(_clause, step.until))}{within}"
    return f"check {', '.join(step.check)}{within}"


def _clause(clause: Clause) -> str:
    return clause if isinstance(clause, str) else "any of " + ", ".join(clause.any_of)


def _besides(plan: Plan) -> Iterator[str]:
    for name, window in plan.while_.items():
        for quantifier, clause in clauses(window):
            text = _clause(clause)
            yield f"while {name}: {quantifier} {text}"
    if isinstance(plan.impact, list):
        yield from (f"the order flow shows the impact: {text}" for text in plan.impact)
    if plan.orders is not None:
        limits = plan.orders.model_dump(by_alias=True)
        yield "the fate of every order: at most " + ", ".join(f"{most} {name}" for name, most in limits.items())
    if plan.keeps:
        yield f"the same before and after: {', '.join(plan.keeps)}"
    if plan.alert is not None:
        yield _alert(plan.alert)
    for service, restore in plan.restores.items():
        yield f"if {service} stays dead: restore it by {restore.procedure} (never counted as recovery)"


def _alert(alert: PlannedAlert) -> str:
    told = " and ".join(alert.channels)
    which = ", ".join(alert.names) or f"labelled failure: {alert.row}"
    read = " and ".join(name.removeprefix(ALERTS) for name in alert.probes)
    return (
        f"the alert {alert.as_} ({which}; {alert.severity}) reaches {told} within {length(alert.within)} and is over "
        f"{length(alert.resolved)} after the recovery; no other comes up; read of {read}"
    )


def _probes(plan: Plan, width: int) -> list[str]:
    rows = [[name, probe.type, length(probe.every), length(probe.timeout), probe.ok or "—"]
            for name, probe in plan.probes.items() if not name.startswith(ALERTS)]  # fmt: skip
    return table(["probe", "type", "every", "time-out", "ok when"], rows, width)


def as_json(plan: Plan) -> dict[str, Any]:
    dumped: dict[str, Any] = plan.model_dump(mode="json", by_alias=True)
    return dumped
