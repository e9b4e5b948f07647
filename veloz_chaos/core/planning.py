"""An experiment, an environment and what the world holds become a plan; or every reason why not, at once.

`wanted` says what a survey has to look for; `plan` then binds names to incarnations, picks the mechanism that each
target offers, and looks the limits up. Both are pure: "one of three" is chosen by a hash of the seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from veloz_chaos.core import alerts, sequence, session
from veloz_chaos.core.alerts import PlannedAlert
from veloz_chaos.core.capability import capability_of
from veloz_chaos.core.checking import (
    Path,
    Written,
    alert_within,
    all_together,
    arguments,
    calls,
    fault_arguments,
    used_probes,
)
from veloz_chaos.core.environment import Environment, ProbeSpec, Service, ways
from veloz_chaos.core.experiment import AlertExpectation, FaultCall, Step, UntilDecided
from veloz_chaos.core.guard import blast, guard, warnings
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.core.plan import (
    Occasion,
    Plan,
    PlannedFault,
    PlannedHold,
    PlannedMeasure,
    PlannedProbe,
    PlannedRestore,
    PlannedStep,
)
from veloz_chaos.core.presence import DEADLY
from veloz_chaos.core.survey import Found, Inventory, Wanted
from veloz_chaos.core.vocabulary import Vocabulary
from veloz_chaos.core.workload import PlannedWorkload
from veloz_chaos.errors import InvalidFile, Problem, Refused


@dataclass(frozen=True)
class Choices:
    """What the caller adds to the files."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    placebo: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)
    occasion: Occasion | None = None
    #: approvals are asked for elsewhere
    drill: bool = False
    #: when it is to start
    at: datetime | None = None


@dataclass(frozen=True)
class _Bound:
    """A fault call after stand-ins have been followed."""

    path: Path
    call: FaultCall
    models: str


def wanted(written: Written, known: Vocabulary) -> list[Wanted]:
    """What to survey. Raises InvalidFile with every problem that needs no look at the world."""
    problems = list(all_together(written, known))
    bound = [] if problems else _bound(written, known, problems)
    found = {(one.name, one.backend): one for item in bound for one in _wanted(written, item, known, problems)}
    if problems:
        raise InvalidFile(problems)
    return list(found.values())


def struck(written: Written, known: Vocabulary) -> list[tuple[str, str]]:
    """What each fault is to hit, and the capability that it needs there."""
    return [(one.call.on, capability_of(known.fault(one.call.kind).needs)) for one in _bound(written, known, [])]


def _bound(written: Written, known: Vocabulary, problems: list[Problem]) -> list[_Bound]:
    found = []
    for path, call in calls(written.experiment):
        link = written.environment.links.get(call.link or "")
        if link is None or link.stand_in is None:
            found.append(_Bound(path, call, ""))
            continue
        stand_in = _stand_in(written, known, path, call, problems)
        if stand_in is not None:
            found.append(_Bound(path, stand_in, link.models or f"a stand-in for {call.kind}"))
    return found


def _stand_in(
    written: Written, known: Vocabulary, path: Path, call: FaultCall, problems: list[Problem]
) -> FaultCall | None:
    """Where no wire can be cut, a partition becomes another fault on a service."""
    link = written.environment.links[call.link or ""]
    if call.kind != "partition":
        problems.append(
            written.here(
                path,
                f"link `{call.link}` has only a stand-in, which models a partition",
                f"{call.kind} needs a link that can be reached, such as toxiproxy",
            )
        )
        return None
    place: Path = ("links", call.on, "stand-in")
    try:
        stand_in = FaultCall.model_validate(link.stand_in).model_copy(update={"for_": call.for_})
    except ValueError as error:
        problems.append(written.there(place, f"not a fault: {error}"))
        return None
    home = written.homes.get(place[:2], written.environment_file)
    wrong = list(fault_arguments((*place, stand_in.kind), stand_in, home, known))
    if sequence.is_irreversible(stand_in.kind, known):
        wrong.append(written.there(place, f"a stand-in can't be `{stand_in.kind}`, which can't be undone"))
    if known.later("faults", stand_in.kind):
        wrong.append(written.there(place, f"`{stand_in.kind}` can't be injected by this version"))
    problems.extend(wrong)
    return None if wrong else stand_in


def _wanted(written: Written, item: _Bound, known: Vocabulary, problems: list[Problem]) -> Iterator[Wanted]:
    """Every way to what a fault is to hit."""
    environment, call = written.environment, item.call
    room = "services" if call.service else "links"
    binding: Any = (environment.services if call.service else environment.links).get(call.on)
    if binding is None:
        problems.append(
            written.there(
                item.path, f"there is no {room[:-1]} `{call.on}`", did_you_mean(call.on, getattr(environment, room))
            )
        )
        return
    for way in ways(binding):
        place: Path = (room, call.on, way.type)
        try:
            selector = known.selector(way.type)
        except KeyError:
            problems.append(
                written.there(place, _no_backend(way.type, known), did_you_mean(way.type, known.backends()))
            )
            continue
        home = written.homes.get(place[:2], written.environment_file)
        problems.extend(arguments(selector, way.arguments, home, place))
        yield Wanted(call.on, "service" if call.service else "link", way.type, way.arguments)


def _no_backend(name: str, known: Vocabulary) -> str:
    if known.later("targets", name):
        return f"`{name}` targets can't be reached by this version"
    return f"there is no target backend `{name}`"


def plan(written: Written, inventory: Inventory, known: Vocabulary, choices: Choices) -> Plan:
    """Raises InvalidFile (files), or Refused (the world, or the guard) with every reason at once."""
    problems: list[Problem] = []
    bound = _bound(written, known, problems)
    reasons = [
        f"{item.call.on}: {inventory.missing[item.call.on]}" for item in bound if item.call.on not in inventory.found
    ]
    unseen = tuple(f"can't be told: {why}" for name, why in inventory.missing.items() if f"{name}: {why}" in reasons)
    if choices.placebo and written.experiment.steps:
        reasons.append("steps have no placebo: what they wait for would never come; run a single fault's instead")
    faults: list[PlannedFault] = []
    of_step: dict[int, list[str]] = {}
    for item in bound if not reasons else ():
        made = _planned(written, item, inventory, known, choices, problems, reasons, len(faults))
        faults += made
        if item.path[0] == "steps":
            of_step.setdefault(int(item.path[1]), []).extend(fault.id for fault in made)
    if problems:
        raise InvalidFile(problems)
    result = _assemble(written, faults, of_step, choices)
    objections = guard(written, result, inventory, at=choices.at, drill=choices.drill)
    reasons += [text for text in objections if not text.endswith(unseen)]
    if reasons:
        raise Refused("\n".join(dict.fromkeys(reasons)))
    return result


def _planned(
    written: Written,
    item: _Bound,
    inventory: Inventory,
    known: Vocabulary,
    choices: Choices,
    problems: list[Problem],
    reasons: list[str],
    number: int,
) -> list[PlannedFault]:
    call, kind = item.call, known.fault(item.call.kind)
    needs = capability_of(kind.needs)
    candidates = inventory.found.get(call.on, ())
    able = by_one_way([found for found in candidates if needs in found.offers])
    if not able and call.on in inventory.missing:
        reasons.append(f"{call.on}: {inventory.missing[call.on]}")
        return []
    if not able:
        offered = sorted({name for found in candidates for name in found.offers}) or ["nothing"]
        lacks = next((found.lacks[needs] for found in candidates if needs in found.lacks), "")
        problems.append(
            written.here(
                item.path,
                f"`{call.kind}` needs a target that is {needs}; {call.on} offers {', '.join(offered)}",
                lacks or "bind it to a backend that offers it",
            )
        )
        return []
    picked = pick(call, able, choices.seed)
    if isinstance(call.pick, int) and len(picked) < call.pick:
        reasons.append(f"{call.kind} is to hit {call.pick} targets of {call.on}; there are only {len(picked)}")
    of = sum(found.reference.backend == able[0].reference.backend for found in candidates)
    deadly = needs in DEADLY and not kind.held
    reasons += blast(written.experiment.blast_radius, call, len(picked), of)
    return [
        PlannedFault(
            id=f"f{number + n + 1}",
            kind=call.kind,
            arguments=call.arguments,
            on=call.on,
            of=of,
            models=item.models,
            reference=found.reference,
            selector=_selector(written.environment, call, found.reference.backend) if deadly else {},
            offer=found.offers[needs],
            held=kind.held,
            hold=_hold(call),
            irreversible=kind.irreversible,
        )
        for n, found in enumerate(picked)
    ]


def _selector(environment: Environment, call: FaultCall, backend: str) -> dict[str, Any]:
    binding = environment.services[call.on] if call.service else environment.links[call.on]
    return next(dict(way.arguments) for way in ways(binding) if way.type == backend)


def by_one_way(able: Sequence[Found]) -> list[Found]:
    """Of a thing that can be reached in several ways, those found by the first that the environment names."""
    return [found for found in able if found.reference.backend == able[0].reference.backend]


def _hold(call: FaultCall) -> PlannedHold | None:
    if call.for_ is None:
        return None
    if isinstance(call.for_, UntilDecided):
        return PlannedHold(at_most=call.for_.at_most, until_decided=True)
    return PlannedHold(at_most=call.for_, until_decided=False)


def pick(call: FaultCall, found: Sequence[Found], seed: int) -> list[Found]:
    """one | all | 2 | 50%, in an order that the seed decides and nothing else."""
    shuffled = sorted(found, key=lambda f: sha256(f"{seed}:{f.reference}".encode()).hexdigest())
    match call.pick:
        case "all":
            count = len(found)
        case "one" | "leader":
            count = 1
        case int(number):
            count = number
        case share:
            count = max(1, len(found) * int(str(share).rstrip("%")) // 100)
    return shuffled[:count]


def _assemble(written: Written, faults: list[PlannedFault], of_step: Mapping[int, list[str]], choices: Choices) -> Plan:
    e, environment = written.experiment, written.environment
    hold, alert = e.expect.recovery.hold, _alert(written)
    probes = {name: _probe(environment.probes[name], environment) for _, name in used_probes(e)}
    workload = _workload(environment, e.workload)
    unread = [f"{alerts.UNREAD}: environment `{environment.name}` does not say where they are read"]
    return Plan(
        experiment=e.name,
        title=e.title,
        environment=environment.name,
        tier=environment.tier,
        sources=dict(choices.sources),
        limits=written.matrix.limits(e.failure),
        parameters=dict(choices.parameters),
        seed=choices.seed,
        placebo=choices.placebo,
        occasion=choices.occasion,
        baseline=e.baseline,
        hold=hold,
        settle=e.expect.recovery.settle or 2 * hold,
        faults=faults,
        probes=probes | _alert_probes(alert, environment),
        steady_state=e.steady_state,
        workload=workload,
        sessions=session.planned(environment.sessions, [probe.arguments for probe in probes.values()], workload),
        detection=e.expect.detection,
        while_=e.expect.while_,
        keeps=e.expect.keeps,
        impact=e.expect.impact,
        orders=e.expect.orders,
        alert=alert,
        may=e.expect.may,
        abort_when=e.abort_when,
        restores=_restores(environment, faults),
        steps=_steps(written, faults, of_step, choices),
        on_abort=_procedure(environment, e.on_abort) if e.on_abort else None,
        measures={
            name: PlannedMeasure(**dict(said), objective=e.objectives.get(name)) for name, said in e.measure.items()
        },
        lock=lock_key(environment),
        cluster=environment.kubernetes,
        warnings=[
            *warnings(faults),
            *(unread if e.expect.alert and alert is None else []),
            *sequence.left_out(e, drill=choices.drill),
        ],
    )


def _alert(written: Written) -> PlannedAlert | None:
    e, said = written.experiment, written.environment.alerts
    row = written.matrix.rows[e.failure].alert
    if not e.expect.alert or said is None or row is None or not (said.prometheus or said.alertmanager):
        return None
    also = e.expect.alert.also if isinstance(e.expect.alert, AlertExpectation) else []
    within = alert_within(e) or row.within
    assert within is not None
    return alerts.planned(e.failure, row, said, within, also)


def _alert_probes(alert: PlannedAlert | None, environment: Environment) -> dict[str, PlannedProbe]:
    said = environment.alerts
    if alert is None or said is None:
        return {}
    return {
        name: PlannedProbe(
            type=kind,
            arguments=place.model_dump(exclude_defaults=True) | alert.wanted(name),
            ok="error == '' && status == 200",
            value="value",
            every=alerts.SELDOM if name == alerts.RULES else said.every,
            timeout=said.timeout,
            title="what is raised",
        )
        for name, kind, place in alerts.probes(said)
    }


def _probe(spec: ProbeSpec, environment: Environment) -> PlannedProbe:
    shown = environment.sessions[spec.as_].shown(spec.as_) if spec.as_ else {}
    return PlannedProbe(
        type=spec.type,
        arguments=spec.arguments | ({"headers": shown | spec.arguments.get("headers", {})} if shown else {}),
        ok=spec.ok or "",
        value=spec.value,
        every=spec.every,
        timeout=spec.timeout,
        title=spec.title,
        writes=spec.writes,
    )


def _workload(environment: Environment, name: str | None) -> PlannedWorkload | None:
    if name is None:
        return None
    return PlannedWorkload(name=name, **dict(environment.workloads[name]))


def _restores(environment: Environment, faults: Sequence[PlannedFault]) -> dict[str, PlannedRestore]:
    found = {}
    for name in {fault.on for fault in faults}:
        service = environment.services.get(name, Service(type="none"))
        if service.restore:
            found[name] = _procedure(environment, service.restore)
    return found


def _procedure(environment: Environment, name: str) -> PlannedRestore:
    found = environment.procedures[name]
    return PlannedRestore(procedure=name, command=found.command, timeout=found.timeout, cwd=found.cwd)


def _steps(
    written: Written, faults: Sequence[PlannedFault], of_step: Mapping[int, list[str]], choices: Choices
) -> list[PlannedStep]:
    steps = sequence.taken(written.experiment, drill=choices.drill)
    held = {fault.id for fault in faults if fault.held}
    of_name = {step.name: [f for f in of_step.get(n, ()) if f in held] for n, step in steps}
    return [
        PlannedStep(
            name=step.name,
            check=step.check or [],
            inject=of_step.get(n, []),
            revert=[fault for name in step.revert or () for fault in of_name[name]],
            until=step.until,
            procedure=_procedure(written.environment, step.procedure) if step.procedure else None,
            manual=step.manual,
            wait=step.wait,
            within=_within(written, step),
        )
        for n, step in steps
    ]


def _within(written: Written, step: Step) -> timedelta | None:
    """As it says; a condition is waited for until the matrix gives up, a procedure as long as it may take anyway."""
    if step.manual is not None:
        return step.manual.within
    if step.procedure is not None:
        allowed = written.environment.procedures[step.procedure].timeout
        return min(step.within, allowed) if step.within is not None else allowed
    if step.within is None and (step.check or step.until):
        return written.matrix.give_up
    return step.within


def lock_key(environment: Environment) -> str:
    """Two environments that reach the same things exclude each other; two sandboxes side by side do not."""
    reached = [
        environment.name,
        *sorted(f"{s.type}{s.arguments}" for s in environment.services.values()),
        *sorted(f"{way.type}{way.arguments}" for link in environment.links.values() for way in link.ways),
    ]
    return f"{environment.name}-{sha256('|'.join(reached).encode()).hexdigest()[:12]}"
