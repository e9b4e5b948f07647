"""An experiment in words, before any environment gives its names a meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from veloz_chaos.core.experiment import Experiment, FaultCall, UntilDecided
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
    calls = [e.fault] if e.fault else [call for step in e.steps or () for call in step.inject or ()]
    yield from (f"then: {fault_in_words(call)}" for call in calls)
    if e.expect.detection is not None:
        word = " (or not at all: masking is allowed)" if e.expect.detection.optional else ""
        yield f"it must be noticed by {' or '.join(e.expect.detection.signals)}{word}"
    for name, window in e.expect.while_.items():
        for quantifier, clause in clauses(window):
            text = clause if isinstance(clause, str) else "any of " + ", ".join(clause.any_of)
            yield f"while {name}: {quantifier} {text}"
    yield f"it must recover, and the steady state hold for {length(e.expect.recovery.hold)}"
    if e.expect.keeps:
        yield f"the same before and after: {', '.join(e.expect.keeps)}"
    yield from (f"{label}: {text}" for label, text in limits_in_words(limits))


def fault_in_words(call: FaultCall) -> str:
    arguments = ", ".join(f"{name} {value}" for name, value in call.arguments.items())
    return f"{call.kind} on {call.on}{f' ({arguments})' if arguments else ''}{_for(call.for_)}"


def _for(hold: timedelta | UntilDecided | None) -> str:
    if hold is None:
        return ""
    if isinstance(hold, UntilDecided):
        return f", until all is decided, for at most {length(hold.at_most)}"
    return f", for {length(hold)}"
