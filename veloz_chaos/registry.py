"""faults/kill.py *is* the fault "kill": what exists is found by name, and only what is named is imported.

Faults, targets and probes of others come in by the entry points `veloz_chaos.faults`, `.targets` and `.probes`; each
names a module of the same shape as ours (`FAULT`, `find`/`reopen`/`Selector`, `PROBE`).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

from veloz_chaos.core.capability import Reference, Target
from veloz_chaos.core.fault import Fault
from veloz_chaos.core.probe import Probe

_HERE = Path(__file__).parent

#: Named by the design, to be built; `plan` refuses them by name.
LATER: Mapping[str, frozenset[str]] = {
    "faults": frozenset(),
    "targets": frozenset(),
    "probes": frozenset(),
}


class Backend(Protocol):
    """A module in targets/."""

    Selector: type[Any]

    def find(self, name: str, selector: Any) -> list[Target]: ...
    def reopen(self, reference: Reference) -> Target: ...


@cache
def _built_in(room: str) -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules([str(_HERE / room)])))


@cache
def _foreign(room: str) -> Mapping[str, Any]:
    from importlib.metadata import entry_points  # slow to import, and only needed for what is not ours

    return {point.name: point for point in entry_points(group=f"veloz_chaos.{room}")}


@cache
def _module(room: str, name: str) -> ModuleType:
    python_name = name.replace("-", "_")
    if python_name in _built_in(room):
        return import_module(f"veloz_chaos.{room}.{python_name}")
    return cast(ModuleType, _foreign(room)[name].load())


def _names(room: str) -> list[str]:
    return sorted({name.replace("_", "-") for name in _built_in(room)} | set(_foreign(room)))


def _offers(backend: Any, capability: type[Target]) -> bool:
    kinds = (kind for kind in vars(backend).values() if isinstance(kind, type) and issubclass(kind, capability))
    return any(kind.__module__ == backend.__name__ for kind in kinds)


class Registry:
    """The vocabulary of core, and the backends for the engine. Look-ups raise KeyError for unknown names."""

    def fault(self, name: str) -> type[Fault[Any]]:
        return cast("type[Fault[Any]]", _module("faults", name).FAULT)

    def probe(self, name: str) -> type[Probe]:
        return cast("type[Probe]", _module("probes", name).PROBE)

    def backend(self, name: str) -> Backend:
        return cast(Backend, _module("targets", name))

    def selector(self, backend: str) -> type[Any]:
        return self.backend(backend).Selector

    def faults(self) -> list[str]:
        return _names("faults")

    def probes(self) -> list[str]:
        return _names("probes")

    def backends(self) -> list[str]:
        return _names("targets")

    def able(self, capability: type[Target]) -> list[str]:
        """The backends that have a target with this capability; the one for tests is none of them."""
        return [name for name in self.backends() if name != "fake" and _offers(self.backend(name), capability)]

    def later(self, kind: str, name: str) -> bool:
        """Named by the design, and neither built nor brought by a plug-in."""
        return name in LATER[kind] and name not in _names(kind)
