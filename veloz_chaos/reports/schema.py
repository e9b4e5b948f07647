"""JSON Schema (draft 2020-12) of the files as people write them.

Pydantic's own schema tells what the models hold after reading; where the writing differs (`kill: {service: …}`, a
probe's type as a key, `${parameters}` in place of any value) the parts are replaced by what the registry knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pydantic import BaseModel, TypeAdapter

from veloz_chaos.core.environment import EnvironmentPart
from veloz_chaos.core.experiment import Experiment
from veloz_chaos.core.matrix import ResponseMatrix
from veloz_chaos.core.schedule import Schedule
from veloz_chaos.core.vocabulary import Vocabulary

Schema = dict[str, Any]
KINDS: Mapping[str, type[BaseModel]] = {
    "experiment": Experiment,
    "environment": EnvironmentPart,
    "matrix": ResponseMatrix,
    "schedule": Schedule,
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Stands where any value may: it is filled in when the file is read.
_REFERENCE: Schema = {"type": "string", "pattern": r"\$\{[^}]+\}"}
#: These say what a file is; a reference has no place there.
_FIXED = {"kind", "version"}


def of(kind: str, known: Vocabulary) -> Schema:
    """The schema of one of KINDS."""
    schema = KINDS[kind].model_json_schema(by_alias=True, mode="validation")
    parts: dict[str, Schema] = schema.setdefault("$defs", {})
    for name, make in _REPLACED.items():
        if name in parts:
            parts[name] = make(parts, known)
    if kind == "experiment":
        _short_detection(parts)
    if kind in ("experiment", "environment"):
        schema["$defs"] = {name: _with_references(part) for name, part in parts.items()}
        schema["properties"] = {
            name: part if name in _FIXED else _with_references(part) for name, part in schema["properties"].items()
        }
    return {"$schema": _DIALECT, "title": f"veloz-chaos {kind}", **{k: v for k, v in schema.items() if k != "title"}}


def _fault_call(parts: dict[str, Schema], known: Vocabulary) -> Schema:
    """One key names the fault; beside its own keys its body says what it hits and for how long."""
    shared = parts["FaultCall"]["properties"]
    faults = {}
    for name in known.faults():
        fault = known.fault(name)
        body = _body(fault, parts)
        body["properties"] |= {fault.on: shared[fault.on], "pick": shared["pick"]}
        if fault.held:
            body["properties"]["for"] = shared["for"]
        body["required"] = [*body.get("required", []), fault.on, *(["for"] if fault.held else [])]
        faults[name] = body
    return _one_of(faults)


def _service(parts: dict[str, Schema], known: Vocabulary) -> Schema:
    return _bound(parts["Service"], ["restore"], _selectors(parts, known))


def _link(parts: dict[str, Schema], known: Vocabulary) -> Schema:
    stand_in = {"stand-in": {"type": "object", "minProperties": 1, "maxProperties": 1}}
    several = _selectors(parts, known) | stand_in
    made = _bound(parts["LinkBinding"], ["models"], several)
    return made | {"anyOf": made.pop("oneOf")}


def _selectors(parts: dict[str, Schema], known: Vocabulary) -> dict[str, Schema]:
    return {backend: _body(known.selector(backend), parts) for backend in known.backends()}


def _probe(parts: dict[str, Schema], known: Vocabulary) -> Schema:
    own = [name for name in parts["ProbeSpec"]["properties"] if name not in ("type", "arguments")]
    return _bound(parts["ProbeSpec"], own, {name: _body(known.probe(name), parts) for name in known.probes()})


def _bound(model: Schema, own: list[str], kinds: dict[str, Schema]) -> Schema:
    """One key names the kind; the others are the model's own."""
    shared = {name: model["properties"][name] for name in own}
    return {
        "type": "object",
        "properties": shared | kinds,
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in kinds],
    }


def _one_of(kinds: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": kinds,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _body(kind: type[Any], parts: dict[str, Schema]) -> Schema:
    """The keys of a fault, probe or selector; its shared parts are added to `parts`."""
    made = TypeAdapter(kind).json_schema(by_alias=True, mode="validation")
    parts.update(made.pop("$defs", {}))
    made.setdefault("properties", {})
    made.pop("title", None)
    return made | {"additionalProperties": False}


def _short_detection(parts: dict[str, Schema]) -> None:
    """`detection: [a, b]` is short for `{signals: [a, b]}`."""
    signals = parts["Detection"]["properties"]["signals"]
    parts["Detection"] = {"anyOf": [signals, parts["Detection"]]}


def _place(parts: dict[str, Schema], known: Vocabulary, name: str = "Place") -> Schema:  # noqa: ARG001
    """A bare URL, or all that there is to say."""
    return {"anyOf": [{"type": "string"}, parts[name]]}


def _alerts(parts: dict[str, Schema], known: Vocabulary) -> Schema:  # noqa: ARG001
    """One Alertmanager, or several."""
    several = parts["Alerts"]["properties"]["alertmanager"]
    one_or_several = {"anyOf": [several["items"], several]}
    return parts["Alerts"] | {"properties": parts["Alerts"]["properties"] | {"alertmanager": one_or_several}}


def _with_references(part: Any) -> Any:
    """Every number, truth value and constrained text may also be a `${name}`."""
    if isinstance(part, list):
        return [_with_references(item) for item in part]
    if not isinstance(part, dict):
        return part
    if _is_leaf(part):
        return {"anyOf": [part, _REFERENCE]}
    made = {key: _of_key(key, value) for key, value in part.items()}
    is_map = part.get("type") == "object" and isinstance(part.get("additionalProperties"), dict)
    return {"anyOf": [made, _REFERENCE]} if is_map else made


def _of_key(key: str, value: Any) -> Any:
    if key in ("properties", "patternProperties"):
        return {name: _with_references(item) for name, item in value.items()}
    descends = key in ("anyOf", "oneOf", "allOf", "items", "additionalProperties", "prefixItems")
    return _with_references(value) if descends else value


def _is_leaf(part: Schema) -> bool:
    if part.get("type") in ("integer", "number", "boolean") or "enum" in part or "const" in part:
        return True
    return part.get("type") == "string" and "pattern" in part


_REPLACED: Mapping[str, Callable[[dict[str, Schema], Vocabulary], Schema]] = {
    "FaultCall": _fault_call,
    "Service": _service,
    "LinkBinding": _link,
    "ProbeSpec": _probe,
    "Place": _place,
    "GrafanaPlace": partial(_place, name="GrafanaPlace"),
    "Alerts": _alerts,
}
