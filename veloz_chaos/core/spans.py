"""A run's phases as spans of a trace, read from its journal: run > baseline, inject, hold, revert, recovery."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from veloz_chaos.core.history import FaultRecord, History
from veloz_chaos.core.interval import SECOND, Interval
from veloz_chaos.core.judge import Judgement

Value = str | bool | int | float | list[str]


@dataclass(frozen=True)
class Span:
    """Instants in boot-time nanoseconds. `failed` says why; `events` are what happened within it."""

    name: str
    start: int
    end: int
    attributes: Mapping[str, Value] = field(default_factory=dict)
    events: tuple[tuple[str, int], ...] = ()
    failed: str = ""


def spans(history: History, judgement: Judgement, began: int) -> list[Span]:
    """The run's own first; the others are its children. Of a phase that never came there is none."""
    run = Span("run", began, history.last_at, _about(history, judgement), tuple(_events(judgement)), _failed(judgement))
    return [run, *_baseline(history), *_faults(history), *_recovery(judgement)]


def _about(history: History, judgement: Judgement) -> dict[str, Value]:
    plan, m = history.plan, judgement.measurement
    assert plan is not None
    lengths = {"time_to_detect": m.time_to_detect, "time_to_recover": m.time_to_recover}
    return _named(
        {
            "run": history.run,
            "experiment": plan.experiment,
            "environment": plan.environment,
            "tier": plan.tier,
            "placebo": plan.placebo,
            "verdict": judgement.verdict,
            "exit_code": judgement.exit_code,
            **{name: value for of, length in lengths.items() for name, value in _ends(of, length)},
        }
    )


def _ends(name: str, length: Interval | None) -> Iterator[tuple[str, Value]]:
    """Seconds; an end that was not seen is left out."""
    for end in ("at_least", "at_most") if length else ():
        value = getattr(length, end)
        if not math.isinf(value):
            yield f"{name}.{end}", value / SECOND


def _events(judgement: Judgement) -> Iterator[tuple[str, int]]:
    """What was seen of the system, each when it was surely so."""
    m = judgement.measurement
    seen = {"impact": m.impact, "detected": m.detection, "recovered": m.recovery if m.outages else None}
    yield from ((name, int(at.at_most)) for name, at in seen.items() if at and not math.isinf(at.at_most))


def _failed(judgement: Judgement) -> str:
    if judgement.verdict == "passed":
        return ""
    wrong = [f"{f.expectation}: {f.reason}" for f in judgement.findings if f.verdict == judgement.verdict]
    return "; ".join([judgement.verdict, *judgement.reasons, *wrong])


def _baseline(history: History) -> Iterator[Span]:
    if history.baseline_began is not None:
        end = history.baseline_ended
        why = "" if end is not None else "; ".join(history.refused) or history.aborted or "it did not end"
        yield _span("baseline", history.baseline_began, history.last_at if end is None else end, failed=why)


def _faults(history: History) -> Iterator[Span]:
    """All faults strike at once, and are taken out together."""
    struck = {name: record for name, record in history.faults.items() if record.inject_began is not None}
    if not struck or history.plan is None:
        return
    began = min(record.inject_began for record in struck.values() if record.inject_began is not None)
    injected = max(_injected(record) for record in struck.values())
    why = "; ".join(record.failed for record in struck.values() if record.failed)
    of = [fault for fault in history.plan.faults if fault.id in struck]
    what: dict[str, Value] = {"faults": [f"{fault.kind} on {fault.on}" for fault in of]}
    yield _span("inject", began, injected, what, why)
    held = {fault.id: struck[fault.id] for fault in of if fault.held}
    if not held:
        return
    reverted = min((r.revert_began for r in held.values() if r.revert_began is not None), default=None)
    lost = "; ".join(record.lost for record in held.values() if record.lost)
    yield _span("hold", injected, history.last_at if reverted is None else reverted, failed=lost)
    if reverted is not None:
        left = [r.revert_error or "it may still be in place" for r in held.values() if r.cleared is None]
        gone = [history.last_at if r.cleared is None else r.cleared for r in held.values()]
        yield _span("revert", reverted, max(gone), failed="; ".join(left))


def _injected(record: FaultRecord) -> int:
    """When the strike was done; where that was never told, when it began."""
    assert record.inject_began is not None
    return record.inject_began if record.inject_returned is None else record.inject_returned


def _recovery(judgement: Judgement) -> Iterator[Span]:
    """The system's own, as it is counted: from the fault's end, or from the strike."""
    m = judgement.measurement
    start = m.recovery_counts_from
    if not m.outages or m.recovery is None or start is None:
        return
    back = m.end if math.isinf(m.recovery.at_most) else int(m.recovery.at_most)
    relapses: dict[str, Value] = {"relapses": m.relapses}
    why = "it did not recover" if math.isinf(m.recovery.at_most) else ""
    yield _span("recovery", int(start.at_least), back, relapses, why)


def _span(name: str, start: int, end: int, attributes: Mapping[str, Value] | None = None, failed: str = "") -> Span:
    return Span(name, start, max(start, end), _named(attributes or {}), failed=failed)


def _named(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {f"veloz_chaos.{name}": value for name, value in attributes.items()}
