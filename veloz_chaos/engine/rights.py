"""May we do what a run will do? Asked of the clusters that its targets, its lease and its mirror are in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from veloz_chaos.core.environment import Environment
from veloz_chaos.core.plan import Plan
from veloz_chaos.core.survey import Wanted

if TYPE_CHECKING:
    from veloz_chaos.mechanisms.kube_api import Place
    from veloz_chaos.mechanisms.kube_rights import Right


_LACKING = (
    "this account may not do all that the run needs; whoever may grants it: `kubectl apply -f` (replaces a Role of "
    "that name; `veloz-chaos doctor` prints one for all faults of the environment):"
)


class Backends(Protocol):
    def backend(self, name: str) -> Any: ...


def of_plan(plan: Plan, wanted: Sequence[Wanted], environment: Environment, backends: Backends) -> list[Right]:
    """All that the run needs."""
    found = to_look(wanted, environment, backends)
    for one in wanted if not plan.placebo else ():
        for fault in plan.faults:
            if (fault.on, fault.reference.backend) == (one.name, one.backend):
                found += of_target(one, fault.offer.capability, backends)
    return found


def to_look(wanted: Sequence[Wanted], environment: Environment, backends: Backends) -> list[Right]:
    """What every run needs, whatever it injects."""
    looking = [right for one in wanted for right in of_target(one, "", backends)]
    return [*of_environment(environment), *looking]


def to_act(wanted: Sequence[Wanted], struck: Iterable[tuple[str, str]], backends: Backends) -> list[Right]:
    """What the faults need, as far as it is known before anything was found: which of several ways is taken is not.
    `struck`: names, and the capabilities needed there."""
    found: list[Right] = []
    for name, capability in struck:
        ways = [one for one in wanted if one.name == name]
        found += of_target(ways[0], capability, backends) if len(ways) == 1 else []
    return found


def places(wanted: Iterable[Wanted], backends: Backends) -> set[Place]:
    """The clusters that they are in."""
    return {right.place for one in wanted for right in of_target(one, "", backends)}


def of_target(one: Wanted, capability: str, backends: Backends) -> list[Right]:
    """What its backend needs for a capability, or, without one, to look. Only backends in a cluster need anything."""
    backend = backends.backend(one.backend)
    if not hasattr(backend, "rights"):
        return []
    selector = backend.Selector.__pydantic_validator__.validate_python(dict(one.selector))
    return list(backend.rights(selector, capability))


def of_environment(environment: Environment) -> Iterator[Right]:
    """For its lease and its mirror."""
    if environment.kubernetes is None:
        return
    from veloz_chaos.engine.cluster import place
    from veloz_chaos.mechanisms.kube_rights import rights

    cluster = environment.kubernetes
    yield from rights(place(cluster), cluster.lease.namespace, "lease")
    if cluster.mirror is not None:
        yield from rights(place(cluster), cluster.mirror.namespace, "mirror")


def refusal(needed: Iterable[Right], told: Collection[Place] = ()) -> list[str]:
    """Why a run would be refused, with the Roles that it lacks; nothing if it may do all of it. `told`: clusters of
    which it is told already why they can't be asked."""
    asked = list(needed)
    if not asked:
        return []
    from veloz_chaos.mechanisms import kube_rights

    lacking, unknown = kube_rights.told(asked)
    why = dict.fromkeys(reason for place, reason in unknown.items() if place not in told)
    untold = [f"whether this account may do what the run needs can't be told: {reason}" for reason in why]
    return [*untold, *([_LACKING, *kube_rights.granting(asked, lacking)] if lacking else [])]


def granting(needed: Mapping[str, Iterable[Right]], lacking: Mapping[str, Iterable[Right]]) -> list[str]:
    """Lines of YAML: the Roles that would."""
    if not lacking:
        return []
    from veloz_chaos.mechanisms import kube_rights

    return kube_rights.granting(*([one for many in each.values() for one in many] for each in (needed, lacking)))


def lacking(needed: Mapping[str, Iterable[Right]]) -> tuple[dict[str, list[Right]], str]:
    """The same for several needs, asked at once: which of them lacks what, and why that can't be told."""
    if not any(needed.values()):
        return {}, ""
    from veloz_chaos.mechanisms import kube_rights

    found, unknown = kube_rights.told(one for many in needed.values() for one in many)
    short = {name: few for name, many in needed.items() if (few := [one for one in many if one in found])}
    return short, "; ".join(dict.fromkeys(unknown.values()))
