"""Everything about an experiment and its environment that can be found wrong without looking at the world.

Each check yields problems at their place; `plan` collects them all, then refuses at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from veloz_chaos.core import condition, sequence, session, window, workload
from veloz_chaos.core.document import Document, problems_of
from veloz_chaos.core.environment import Environment, ProbeSpec
from veloz_chaos.core.experiment import AlertExpectation, Experiment, FaultCall, UntilDecided
from veloz_chaos.core.matrix import Limits, ResponseMatrix
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.core.vocabulary import Vocabulary
from veloz_chaos.core.workload import per_second
from veloz_chaos.errors import Problem

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Written:
    """What people wrote, and where; `homes` says which document a part of the environment comes from."""

    experiment: Experiment
    experiment_file: Document
    environment: Environment
    environment_file: Document
    matrix: ResponseMatrix
    homes: dict[Path, Document]

    def here(self, path: Path, message: str, remedy: str = "") -> Problem:
        return self.experiment_file.problem(path, message, remedy)

    def there(self, path: Path, message: str, remedy: str = "") -> Problem:
        return self.homes.get(path[:2], self.environment_file).problem(path, message, remedy)


def call_path(experiment: Experiment) -> Path:
    assert experiment.fault is not None
    return ("fault", experiment.fault.kind)


def experiment_alone(
    experiment: Experiment, file: Document, matrix: ResponseMatrix, known: Vocabulary
) -> Iterator[Problem]:
    """What `validate` can say of an experiment without an environment."""
    if experiment.failure not in matrix.rows:
        yield file.problem(
            ("failure",),
            f"the response matrix has no row `{experiment.failure}`",
            did_you_mean(experiment.failure, matrix.rows),
        )
    for path, call in calls(experiment):
        yield from fault_arguments(path, call, file, known)
    if experiment.fault is not None and sequence.is_irreversible(experiment.fault.kind, known):
        kind = experiment.fault.kind
        yield file.problem(("fault", kind), f"`{kind}` can't be undone", "only an experiment of `steps` may use it")
    yield from sequence.problems(experiment, file, matrix, known)
    for name in experiment.expect.while_:
        if name not in window.WINDOWS and name not in {step.name for step in experiment.steps or ()}:
            yield file.problem(
                ("expect", "while", name),
                f"`{name}` is neither a window nor a step",
                did_you_mean(name, window.WINDOWS),
            )
    yield from _flow(experiment, file)


def _flow(e: Experiment, file: Document) -> Iterator[Problem]:
    if e.expect.orders is not None or isinstance(e.expect.impact, list):
        from veloz_chaos.core import impact  # whoever says nothing of the order flow does not wait for it

        yield from impact.problems(e, file)


def calls(experiment: Experiment) -> list[tuple[Path, FaultCall]]:
    """Every fault an experiment calls, with its place."""
    if experiment.fault is not None:
        return [(("fault", experiment.fault.kind), experiment.fault)]
    found: list[tuple[Path, FaultCall]] = []
    for n, step in enumerate(experiment.steps or ()):
        found += [(("steps", n, "inject", k, call.kind), call) for k, call in enumerate(step.inject or ())]
    return found


def fault_arguments(path: Path, call: FaultCall, file: Document, known: Vocabulary) -> Iterator[Problem]:
    try:
        fault = known.fault(call.kind)
    except KeyError:
        if not known.later("faults", call.kind):
            yield file.problem(path, f"there is no fault `{call.kind}`", did_you_mean(call.kind, known.faults()))
        return
    if (fault.on == "service" and call.link) or (fault.on == "link" and call.service):
        yield file.problem(path, f"`{call.kind}` acts on a {fault.on}", f"write {fault.on}: …")
    if not fault.held and call.for_ is not None:
        yield file.problem((*path, "for"), f"`{call.kind}` strikes once and can't be held", "leave `for` out")
    if fault.held and call.for_ is None:
        yield file.problem(
            path, f"`{call.kind}` must say how long", "write for: 30s, or for: {until: decided, at-most: 40s}"
        )
    yield from arguments(fault, call.arguments, file, path)


def arguments(kind: type[Any], given: dict[str, Any], file: Document, path: Path) -> Iterator[Problem]:
    """Problems of the arguments of a fault, probe or selector (a pydantic dataclass)."""
    try:
        kind.__pydantic_validator__.validate_python(given)
    except ValidationError as error:
        fields = [field.alias or name for name, field in kind.__pydantic_fields__.items()]
        yield from problems_of(file, error, lambda _: fields, path=path)


def all_together(written: Written, known: Vocabulary) -> Iterator[Problem]:
    """What needs the experiment, the environment and the matrix side by side."""
    experiment = written.experiment
    yield from experiment_alone(experiment, written.experiment_file, written.matrix, known)
    yield from _not_yet(written, known)
    yield from _names(written)
    yield from _volumes(written, known)
    yield from _probes(written, known)
    yield from _workload(written)
    yield from _sessions(written)
    yield from _alert(written)
    yield from _hold(written)
    if experiment.failure in written.matrix.rows:
        yield from _resolution(written, written.matrix.limits(experiment.failure))
        yield from _longest_hold(written, written.matrix.limits(experiment.failure))
    yield from _budget(written)


def _not_yet(written: Written, known: Vocabulary) -> Iterator[Problem]:
    """Grammar that is read, but cannot run yet."""
    for path, call in calls(written.experiment):
        if known.later("faults", call.kind):
            yield written.here(
                path, f"`{call.kind}` can't be injected by this version", did_you_mean("", known.faults())
            )
        if call.pick == "leader":
            yield written.here(
                (*path, "pick"), "`leader` can't be picked by this version", "write one, all, a number or a share"
            )


def used_probes(e: Experiment) -> list[tuple[Path, str]]:
    """Every probe an experiment names, with its place."""
    named: list[tuple[Path, str]] = [(("steady-state", n), name) for n, name in enumerate(e.steady_state)]
    if e.expect.detection:
        named += [(("expect", "detection", n), name) for n, name in enumerate(e.expect.detection.signals)]
    for name, said in e.expect.while_.items():
        for quantifier, clause in window.clauses(said):
            named += [(("expect", "while", name, quantifier), probe) for probe in window.probe_names(clause)]
    named += [(("expect", "keeps", n), name) for n, name in enumerate(e.expect.keeps)]
    named += sequence.probes(e)
    named += [(("abort-when", n), name) for n, name in enumerate(e.abort_when)]
    return named


def _names(written: Written) -> Iterator[Problem]:
    environment, where = written.environment, f"environment `{written.environment.name}`"
    for path, name in used_probes(written.experiment):
        if name not in environment.probes:
            yield written.here(path, f"{where} has no probe `{name}`", did_you_mean(name, environment.probes))
    for n, name in enumerate(written.experiment.expect.keeps):
        if name in environment.probes and environment.probes[name].value is None:
            yield written.here(("expect", "keeps", n), f"probe `{name}` has no `value` to compare", "give it value: …")
    for path, call in calls(written.experiment):
        known: Iterable[str] = environment.services if call.service else environment.links
        kind = "service" if call.service else "link"
        if call.on not in known:
            yield written.here((*path, kind), f"{where} has no {kind} `{call.on}`", did_you_mean(call.on, known))
    yield from sequence.unknown(written.experiment, environment, written.here)
    for name, service in environment.services.items():
        if service.restore and service.restore not in environment.procedures:
            yield written.there(
                ("services", name, "restore"),
                f"there is no procedure `{service.restore}`",
                did_you_mean(service.restore, environment.procedures),
            )


def _volumes(written: Written, known: Vocabulary) -> Iterator[Problem]:
    """Where a service names none that will do its backend says what to write."""
    for path, call in calls(written.experiment):
        service, volume = written.environment.services.get(call.service or ""), call.arguments.get("volume")
        named = service.arguments.get("volumes") if service else None
        volumes = named if isinstance(named, Mapping) else {}
        if sequence.is_irreversible(call.kind, known):
            volumes = {name: said for name, said in volumes.items() if isinstance(said, Mapping) and said.get("wipe")}
        if volume and volumes and volume not in volumes:
            message = f"environment `{written.environment.name}` names no such volume of {call.on}: `{volume}`"
            yield written.here((*path, "volume"), message, did_you_mean(volume, volumes))


def _probes(written: Written, known: Vocabulary) -> Iterator[Problem]:
    """The probes that this experiment uses; the others are not its business."""
    for name in dict.fromkeys(name for _, name in used_probes(written.experiment)):
        spec = written.environment.probes.get(name)
        if spec is not None:
            yield from probe_problems(name, spec, written, known)


def probe_problems(name: str, spec: ProbeSpec, written: Written, known: Vocabulary) -> Iterator[Problem]:
    path: Path = ("probes", name)
    try:
        kind = known.probe(spec.type)
    except KeyError:
        later = known.later("probes", spec.type)
        message = (
            f"probe type `{spec.type}` can't be run by this version"
            if later
            else f"there is no probe type `{spec.type}`"
        )
        yield written.there((*path, spec.type), message, did_you_mean(spec.type, known.probes()))
        return
    file = written.homes.get(path, written.environment_file)
    yield from arguments(kind, spec.arguments, file, (*path, spec.type))
    for key, text in (("ok", spec.ok), ("value", spec.value)):
        if text is not None:
            yield from _condition(written, (*path, key), text)
    for key, length in (("every", spec.every), ("timeout", spec.timeout)):
        if not length:
            yield written.there((*path, key), f"`{key}` of {name} must be longer than 0s", "write 500ms, say")
    if spec.each is not None:
        yield written.there((*path, "each"), "`each` can't be run by this version", "leave it out")
    if spec.as_ is not None and "headers" not in kind.__dataclass_fields__:  # type: ignore[attr-defined]
        yield written.there((*path, "as"), f"a probe of type {spec.type} shows no token", "leave it out")
    yield from _nobody(written, path, spec.arguments, spec.as_)


def _nobody(written: Written, path: Path, texts: Any, as_: str | None = None) -> Iterator[Problem]:
    """Sessions that are named below a place, and are not there."""
    known = written.environment.sessions
    for name in sorted((session.named_in(texts) | ({as_} if as_ else set())) - set(known)):
        at = (*path, "as") if name == as_ else path
        yield written.there(at, f"there is no session `{name}`", did_you_mean(name, known))


def _sessions(written: Written) -> Iterator[Problem]:
    """Those that this experiment's probes and workload use; the others are not its business."""
    e, environment = written.experiment, written.environment
    specs = [environment.probes[name] for _, name in used_probes(e) if name in environment.probes]
    workload = environment.workloads.get(e.workload) if e.workload else None
    used = session.named_in([spec.arguments for spec in specs] + ([workload.model_dump()] if workload else []))
    for name in sorted(used | {spec.as_ for spec in specs if spec.as_}):
        if name in environment.sessions:
            yield from session.problems(environment.sessions[name], ("sessions", name), written.there)


def _workload(written: Written) -> Iterator[Problem]:
    """The workload that this experiment names, also whether the baseline is long enough to see an order of it."""
    e, known = written.experiment, written.environment.workloads
    if "${" in str(written.experiment_file.data.get("workload", "")):
        yield written.here(("workload",), "a parameter can't set the workload", "write its name")
    if e.workload is None:
        return
    if e.workload not in known:
        where = f"environment `{written.environment.name}`"
        yield written.here(("workload",), f"{where} has no workload `{e.workload}`", did_you_mean(e.workload, known))
        return
    place: Path = ("workloads", e.workload)
    found = list(workload.problems(known[e.workload], place, written.there))
    found += _nobody(written, place, known[e.workload].model_dump())
    yield from found
    if not found and e.baseline.total_seconds() * per_second(known[e.workload].rate) < 1:
        yield written.here(
            ("baseline",),
            f"in a baseline of {_s(e.baseline)} no order of {e.workload} is due ({known[e.workload].rate})",
            "make it longer, or the rate higher",
        )


def _alert(written: Written) -> Iterator[Problem]:
    """The alert that this experiment expects: the document must name one, and its time may only be made shorter."""
    e = written.experiment
    row, place = written.matrix.rows.get(e.failure), ("expect", "alert")
    if not e.expect.alert or row is None:
        return
    if row.alert is None:
        yield written.here(place, f"the document names no alert for {e.failure}", "leave it out")
        return
    limit, own, hold = row.alert.within, alert_within(e), longest(e)
    within = own or limit
    if within is None:
        yield written.here(place, f"the matrix gives the alert of {e.failure} no time", "write within: 60s")
    elif limit is not None and within > limit:
        yield written.here(place, f"the limit of {e.failure}'s alert is {_s(limit)}", f"write within: {_s(limit)}")
    elif hold is not None and hold <= within and written.environment.alerts is not None:
        message = f"held for at most {_s(hold)}, but its alert may take {_s(within)}"
        yield written.here(place, message, "hold it longer, or give its alert a shorter within")


def longest(e: Experiment) -> timedelta | None:
    """How long its fault is held; None if it strikes once."""
    held = e.fault.for_ if e.fault is not None else None
    return held.at_most if isinstance(held, UntilDecided) else held


def alert_within(e: Experiment) -> timedelta | None:
    return e.expect.alert.within if isinstance(e.expect.alert, AlertExpectation) else None


def _condition(written: Written, path: Path, text: str) -> Iterator[Problem]:
    try:
        condition.compile(text, condition.LOOK_VARIABLES)
    except ValueError as error:
        yield written.there(path, f"not a condition: {error}")


def _hold(written: Written) -> Iterator[Problem]:
    """A hold in which a probe need not have been looked at twice proves nothing."""
    hold = written.experiment.expect.recovery.hold
    probes = written.environment.probes
    for name in written.experiment.steady_state:
        if name in probes and hold < probes[name].every:
            yield written.here(
                ("expect", "recovery", "hold"),
                f"a hold of {_s(hold)} is shorter than the period of {name} ({_s(probes[name].every)})",
                f"hold for at least {_s(probes[name].every)}",
            )


def _resolution(written: Written, limits: Limits) -> Iterator[Problem]:
    """Period + time-out above a quarter of the limit cannot judge it."""
    e = written.experiment
    signals = e.expect.detection.signals if e.expect.detection else []
    for names, limit, what in ((signals, limits.detection, "detection"), (e.steady_state, limits.recovery, "recovery")):
        for name in names:
            spec = written.environment.probes.get(name)
            if spec is not None and limit is not None and spec.every + spec.timeout > limit / 4:
                yield written.there(
                    ("probes", name),
                    f"period + time-out of {name} ({_s(spec.every + spec.timeout)}) is above a quarter of the "
                    f"{what} limit of {limits.row} ({_s(limit)})",
                    f"look more often: together at most {_s(limit / 4)}",
                )


def _longest_hold(written: Written, limits: Limits) -> Iterator[Problem]:
    """A fault lifted before the detection's limit has passed proves nothing of it."""
    e, probes = written.experiment, written.environment.probes
    hold = longest(e)
    if hold is None or e.expect.detection is None or limits.detection is None:
        return
    looks = [probes[n].every + probes[n].timeout for n in e.expect.detection.signals if n in probes]
    needed = limits.detection + max(looks, default=timedelta(0))
    if hold <= needed:
        yield written.here(
            (*call_path(e), "for"),
            f"held for at most {_s(hold)}, but the detection limit of {limits.row} with one look takes {_s(needed)}",
            f"hold it longer than {_s(needed)}",
        )


def _budget(written: Written) -> Iterator[Problem]:
    """Probes and workload together may not ask a service more often than the environment allows."""
    environment = written.environment
    flow = environment.workloads.get(written.experiment.workload or "")
    names = {name for _, name in used_probes(written.experiment)}
    for key, rate in environment.budget.items():
        base = str(environment.values.get(key, key))
        asked = sum(
            1 / spec.every.total_seconds()
            for name, spec in environment.probes.items()
            if name in names and spec.every and base in str(spec.arguments)
        )
        placed = workload.asked_of(flow, base) if flow is not None else 0.0
        if asked + placed > per_second(rate) + 1e-9:
            who = "the probes and the workload ask" if placed else "the probes ask"
            yield written.there(
                ("budget", key),
                f"{who} {key} {asked + placed:g} times a second, its budget is {rate}",
                "look less often, or raise the budget",
            )


def _s(value: timedelta) -> str:
    return f"{value.total_seconds():g}s"
