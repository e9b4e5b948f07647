"""`veloz-chaos list`: what there is to run, where, and which fault can be done to what by which mechanism."""

from __future__ import annotations

import inspect
import json
from typing import Any

from veloz_chaos.cli import screen
from veloz_chaos.cli.options import Json
from veloz_chaos.core.capability import Target, capability_of
from veloz_chaos.core.document import Document
from veloz_chaos.engine import files
from veloz_chaos.errors import PASSED, InvalidFile
from veloz_chaos.registry import Registry
from veloz_chaos.reports.table import table

#: In-memory, for tests: nobody binds a service to it.
_HIDDEN = {"fake"}


def command(as_json: Json = False) -> int:
    """List experiments, environments, faults and probes."""
    experiments = [_experiment(name) for name in files.names("experiments")]
    environments = [_environment(name) for name in files.names("environments")]
    known = Registry()
    faults = {name: _mechanisms(name, known) for name in known.faults()}
    probes = {name: _keys(known.probe(name)) for name in known.probes()}
    if as_json:
        whole = {"experiments": experiments, "environments": environments, "faults": faults, "probes": probes}
        screen.out(json.dumps(whole, ensure_ascii=False))
        return PASSED
    width = screen.width()
    screen.out(*_table(experiments, width), "", *_table(environments, width), "")
    screen.out(*_fault_table(faults, known, width), "")
    screen.out(*table(["probe", "keys"], [[name, ", ".join(keys)] for name, keys in probes.items()], width))
    return PASSED


def _table(rows: list[dict[str, Any]], width: int) -> list[str]:
    return table(list(rows[0]), [list(map(str, row.values())) for row in rows], width) if rows else ["none"]


def _experiment(name: str) -> dict[str, Any]:
    data = _data("experiments", name)
    return {"experiment": name, "failure": data.get("failure", "—"), "title": data.get("title", "can't be read")}


def _environment(name: str) -> dict[str, Any]:
    data = _data("environments", name)
    shared = "used by others" if "name" not in data else str(data.get("tier", "—"))
    reached = [*(data.get("services") or {}), *(data.get("links") or {})]
    return {"environment": name, "tier": shared, "reaches": ", ".join(map(str, reached)) or "—"}


def _data(room: str, name: str) -> dict[str, Any]:
    try:
        read: Document = files.document(files.find(room, name))
    except InvalidFile:
        return {}
    return dict(read.data)


def _mechanisms(fault: str, known: Registry) -> dict[str, str]:
    """Backend -> the mechanism by which its targets offer what the fault needs."""
    needs = capability_of(known.fault(fault).needs)
    found = {}
    for backend in known.backends():
        offered = [offer for target in targets(known, backend) for offer in target.offers if offer.capability == needs]
        if offered and backend not in _HIDDEN:
            found[backend] = offered[0].mechanism
    return found


def targets(known: Registry, backend: str) -> list[type[Target]]:
    """The target classes of a backend that can be hurt."""
    module: Any = known.backend(backend)
    classes = [one for _, one in inspect.getmembers(module, inspect.isclass)]
    return [one for one in classes if issubclass(one, Target) and one.offers and one.__module__ == module.__name__]


def _fault_table(faults: dict[str, dict[str, str]], known: Registry, width: int) -> list[str]:
    backends = [backend for backend in known.backends() if backend not in _HIDDEN]
    rows = [[name, known.fault(name).on, *(ways.get(backend, "—") for backend in backends)]
            for name, ways in faults.items()]  # fmt: skip
    return table(["fault", "on", *backends], rows, width)


def _keys(kind: type[Any]) -> list[str]:
    return [field.alias or name for name, field in kind.__pydantic_fields__.items()]
