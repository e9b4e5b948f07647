"""An experiment in words, before any environment gives its names a meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from veloz_chaos.core.experiment import Experiment, FaultCall, Step, UntilDecided
from veloz_chaos.core.length import length
from veloz_chaos.core.matrix import Limits
from veloz_chaos.core.window import clauses
from veloz_chaos.reports.planned import limits_in_words
from veloz_chaos.reports.verdict import wrapped


def describe(experiment: Experiment, limits: Limits, parameters: Mapping[str, Any], width: int = 80) -> list[str]:
    lines = [f"{experiment.name}: {experiment.title}", f"failure {limits.row}: {limits.title}"]
    lines += wrapped(f"allowed on {', '.join(experiment.allowed_on)}", width)
    lines += [f"parameter {name} = {value}" for name, value in parameters.items()]
    for text in _sentences(experiment, limits):
        lines += wrapped(f"- {text}", width)
    return lines


def _sentences(e: Experiment, limits: Limits) -> Iterator[str]:
    yield f"before, for {length(e.baseline)}, these hold: {', '.join(e.steady_state)}"
    yield from (f"then: {fault_in_words(call)}" for call in ([e.fault] if e.fault else ()))
    yield from (f"step {step.name}: {_step(step)}" for step in e.steps or ())
    if e.expect.detection is not None:
        word = " (or not at all: masking is allowed)" if e.expect.detection.optional else ""
        yield f"it must be noticed by {' or '.join(e.expect.detection.signals)}{word}"
    for name, window in e.expect.while_.items():
        for quantifier, clause in clauses(window):
            text = clause if isinstance(clause, str) else "any of " + ", ".join(clause.any_of)
            yield f"while {name}: {quantifier} {text}"
    if e.fault:
        yield f"it must recover, and the steady state hold for {length(e.expect.recovery.hold)}"
    if e.on_abort:
        yield f"if the steps do not all end well: {e.on_abort} mends the system"
    for name, measure in e.measure.items():
        what = f"what {measure.at} cost in orders" if measure.at else f"from {measure.from_} to {measure.to}"
        tighter = f", at most {length(e.objectives[name])}" if name in e.objectives else ""
        yield f"{name}: {what}{tighter}"
    if e.expect.keeps:
        yield f"the same before and after: {', '.join(e.expect.keeps)}"
    yield from (f"{label}: {text}" for label, text in limits_in_words(limits))


def _step(step: Step) -> str:
    within = f", within {length(step.within)}" if step.within is not None else ""
    if step.inject:
        return f"at once {'; '.join(map(fault_in_words, step.inject))}{within}"
    if step.manual:
        only = "in drills only: " if step.drills_only else ""
        return f"{only}{step.manual.by}, within {length(step.manual.within)}: {step.manual.do}"
    if step.wait is not None:
        return f"wait for {length(step.wait)}"
    if step.procedure:
        return f"run {step.procedure}{within}"
    if step.revert:
        return f"take out what {', '.join(step.revert)} holds"
    if step.until == "steady-state":
        return f"wait until the steady state is back{within}"
    if step.until:
        names = (text if isinstance(text, str) else "any of " + ", ".join(text.any_of) for text in step.until)
        return f"wait until {' and '.join(names)}{within}"
    return f"check {', '.join(step.check or ())}{within}"


def fault_in_words(call: FaultCall) -> str:
    arguments = ", ".join(f"{name} {value}" for name, value in call.arguments.items())
    return f"{call.kind} on {call.on}{f' ({arguments})' if arguments else ''}{_for(call.for_)}"


def _for(hold: timedelta | UntilDecided | None) -> str:
    if hold is None:
        return ""
    if isinstance(hold, UntilDecided):
        return f", until all is decided, for at most {length(hold.at_most)}"
    return f", for {length(hold)}"
