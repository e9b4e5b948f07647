"""Impact conditions: CEL over the phases of the order flow, in the words of `--json`.

    fault.orders.latency.p50 >= 1.5 * baseline.orders.latency.p50

A condition over too few orders, or over a phase that had no certain time, shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from veloz_chaos.core import condition, expression
from veloz_chaos.core.document import Document
from veloz_chaos.core.experiment import Experiment
from veloz_chaos.core.finding import Finding
from veloz_chaos.core.measure import Measurement
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.core.phases import NAMES, Name, Phase
from veloz_chaos.core.plan import Plan
from veloz_chaos.errors import Problem

#: A phase with fewer orders says nothing.
ENOUGH = 20
_SAMPLE = Phase(
    length=10.0, accepted=100, refused=1, unknown=1, errors={"503": 1, "timeout": 1}, longest_gap=0.5,
    latency=dict.fromkeys(("p50", "p90", "p99", "max"), 0.01),
).as_json()  # fmt: skip
_SAMPLES: Mapping[str, Any] = dict.fromkeys(NAMES, _SAMPLE)


def compiled(text: str) -> condition.Condition:
    """Raises ValueError in one line for what is no condition over the phases."""
    found = condition.compile(text, frozenset(NAMES))
    paths = used(text)
    if not paths:
        raise ValueError("it says nothing of the order flow; write fault.orders.rate < 1.0, say")
    for path in paths:
        _check(path)
    try:
        found.holds(_SAMPLES)
    except condition.ConditionTypeError as error:
        raise ValueError(str(error).removeprefix(f"`{text}`").removeprefix(": ").strip()) from None
    return found


def used(text: str) -> list[tuple[str, ...]]:
    """The paths that begin with a phase."""
    return [tuple(map(str, reach.path)) for reach in expression.reaches(text) if reach.path[0] in NAMES]


def problems(e: Experiment, file: Document) -> Iterator[Problem]:
    """What is said of the order flow needs one, and must be said in its words."""
    texts = e.expect.impact if isinstance(e.expect.impact, list) else []
    for key, said in (("orders", e.expect.orders is not None), ("impact", bool(texts))):
        if said and e.workload is None:
            yield file.problem(("expect", key), f"`{key}` needs an order flow to judge", "write workload: orders")
    wrong = [found for n, text in enumerate(texts) if (found := _problem(text, file, n)) is not None]
    yield from wrong
    if texts and not wrong and not any(path[0] == "fault" for text in texts for path in used(text)):
        remedy = "write fault.orders.rate < 1.0, say"
        yield file.problem(("expect", "impact"), "no condition says anything of `fault`", remedy)


def _problem(text: str, file: Document, n: int) -> Problem | None:
    try:
        compiled(text)
    except ValueError as error:
        return file.problem(("expect", "impact", n), f"not a condition: {error}")
    return None


def _check(path: tuple[str, ...]) -> None:
    """`fault.orders.latncy` is wrong whatever a run brings; the kinds of errors are not known beforehand."""
    here: Any = _SAMPLES
    for step in path:
        if not isinstance(here, Mapping) or step not in here:
            known = sorted(here) if isinstance(here, Mapping) else []
            raise ValueError(f"there is no `{'.'.join(path)}`; {did_you_mean(step, known)}")
        if step == "errors":
            return
        here = here[step]


def conditions(plan: Plan, m: Measurement, phases: Mapping[Name, Phase], why: str) -> Iterator[Finding]:
    """One finding each; `why` says that the order history cannot be trusted at all."""
    for text in plan.impact if isinstance(plan.impact, list) else ():
        finding = Finding(f"impact: {text}", "inconclusive", why) if why else _judged(text, phases)
        if m.early and finding.verdict == "failed":
            finding = replace(finding, verdict="inconclusive", reason=f"the fault ended early: {m.early}")
        yield finding


def _judged(text: str, phases: Mapping[Name, Phase]) -> Finding:
    title = f"impact: {text}"
    if why := next(_too_little(text, phases), ""):
        return Finding(title, "inconclusive", why)
    values: dict[str, Any] = {name: phases[name].as_json() if name in phases else None for name in NAMES}
    try:
        holds = condition.compile(text, frozenset(NAMES)).value(values)
    except condition.ConditionMissing as error:
        return Finding(title, "inconclusive", f"something it asks for is not there: {error}")
    except condition.ConditionTypeError as error:
        return Finding(title, "inconclusive", str(error))
    if not isinstance(holds, bool):
        return Finding(title, "inconclusive", f"it is neither true nor false, but {holds!r}")
    return Finding(title, "passed" if holds else "failed", _numbers(text, values))


def _too_little(text: str, phases: Mapping[Name, Phase]) -> Iterator[str]:
    for path in used(text):
        phase = next((phases[name] for name in NAMES if name == path[0] and name in phases), None)
        if phase is None:
            yield f"no order was due in a time that was certainly `{path[0]}`"
        elif phase.placed < ENOUGH:
            yield f"only {phase.placed} orders were due in `{path[0]}`; at least {ENOUGH} show something"
        elif "latency" in path and phase.timed < ENOUGH:
            yield f"only {phase.timed} orders of `{path[0]}` have a latency; at least {ENOUGH} show something"


def _numbers(text: str, values: Mapping[str, Any]) -> str:
    """`fault.orders.latency.p50 is 0.612, baseline.orders.latency.p50 is 0.0041`"""
    said = {".".join(path): _reached(path, values) for path in used(text)}
    return ", ".join(f"{name} is {_short(value)}" for name, value in said.items())


def _reached(path: tuple[str, ...], values: Any) -> Any:
    for step in path:
        values = values.get(step) if isinstance(values, Mapping) else None
    return values


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
