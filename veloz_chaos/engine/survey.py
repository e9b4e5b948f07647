"""A look at the world before anything is planned: which incarnations stand behind each name, what they offer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from veloz_chaos.core.capability import Target
from veloz_chaos.core.plan import PlannedFault
from veloz_chaos.core.survey import Found, Inventory, Wanted
from veloz_chaos.errors import TargetError


class Backends(Protocol):
    def backend(self, name: str) -> Any: ...


def survey(wanted: Iterable[Wanted], backends: Backends, *, identify: bool = False) -> Inventory:
    """Side by side: the slowest backend decides how long it takes. `identify`: each system is asked who it is, too."""
    asked = list(wanted)
    if not asked:
        return Inventory()
    with ThreadPoolExecutor(max_workers=min(8, len(asked))) as pool:
        looking = pool.map(lambda one: _look(one, backends), asked)
        naming = pool.map(lambda one: _name(one, backends), asked if identify else ())
        answers, names = list(looking), list(naming)
    found: dict[str, tuple[Found, ...]] = {}
    missing: dict[str, str] = {}
    for one, answer in zip(asked, answers, strict=True):
        if isinstance(answer, tuple):
            found[one.name] = found.get(one.name, ()) + answer
        else:
            missing[one.name] = "; ".join(filter(None, [missing.get(one.name), answer]))
    systems: dict[str, dict[str, str]] = {}
    unidentified: dict[str, str] = {}
    for one, named in zip(asked, names, strict=False):
        way = f"{one.name} ({one.backend})"
        if isinstance(named, str):
            unidentified[way] = named
        else:
            for key, value in named.items():
                systems.setdefault(key, {})[way] = value
    return Inventory(found, missing, systems, unidentified)


def _name(one: Wanted, backends: Backends) -> Mapping[str, str] | str:
    """What the system at its end says it is, or why that can't be told; only those that have an identity know."""
    backend = backends.backend(one.backend)
    try:
        return dict(backend.system(_selector(one, backend))) if hasattr(backend, "system") else {}
    except TargetError as error:
        return str(error)


def found_again(fault: PlannedFault, backends: Backends) -> list[Target]:
    """Whoever stands now where a fault struck. Raises TargetError."""
    backend = backends.backend(fault.reference.backend)
    found: list[Target] = backend.find(fault.on, _selector(fault, backend))
    return found


def _selector(one: Wanted | PlannedFault, backend: Any) -> Any:
    return backend.Selector.__pydantic_validator__.validate_python(dict(one.selector))


def _look(one: Wanted, backends: Backends) -> tuple[Found, ...] | str:
    """What stands behind a name, or why nothing does."""
    backend = backends.backend(one.backend)
    try:
        selector = _selector(one, backend)
        targets: list[Target] = backend.find(one.name, selector)
        few = backend.doubted(selector, targets) if hasattr(backend, "doubted") else targets
        doubted = set(map(id, few))
        found = tuple(_found(target, doubted=id(target) in doubted) for target in targets)
    except TargetError as error:
        return str(error)
    return found or "nothing matches its selector"


def _found(target: Target, *, doubted: bool) -> Found:
    """`doubted`: it may have leftovers."""
    return Found(
        target.reference,
        {offer.capability: offer for offer in target.offered()},
        tuple(target.leftovers()) if doubted else (),
        target.lacks,
    )
