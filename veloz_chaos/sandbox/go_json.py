"""Decoding JSON as Go's encoding/json decodes it into a struct, with its error messages.

The first value of the body counts; keys are matched whatever their case, unknown ones ignored; null leaves the default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class GoJsonError(Exception):
    """The message is Go's."""


def first_value(body: str) -> Any:
    text = body.lstrip()
    if not text:
        raise GoJsonError("EOF")
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except json.JSONDecodeError as problem:
        if problem.pos >= len(text.rstrip()) or problem.msg.startswith("Unterminated"):
            raise GoJsonError("unexpected EOF") from None
        raise GoJsonError(f"invalid character '{text[problem.pos]}' looking for beginning of value") from None


def members(value: Any, into: str) -> Mapping[str, Any]:
    """The members of an object with their keys in lower case; none for null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise GoJsonError(f"json: cannot unmarshal {kind(value)} into Go value of type {into}")
    return {name.lower(): member for name, member in value.items() if member is not None}


def text(members: Mapping[str, Any], name: str, default: str, struct: str) -> str:
    value = members.get(name, default)
    if isinstance(value, str):
        return value
    raise _mismatch(value, f"{struct}.{name}", "string")


def boolean(members: Mapping[str, Any], name: str, default: bool, struct: str) -> bool:
    value = members.get(name, default)
    if isinstance(value, bool):
        return value
    raise _mismatch(value, f"{struct}.{name}", "bool")


def number(members: Mapping[str, Any], name: str, default: float, struct: str) -> float:
    value = members.get(name, default)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise _mismatch(value, f"{struct}.{name}", "float32")


def whole(members: Mapping[str, Any], name: str, default: int, struct: str) -> int:
    value = members.get(name, default)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _mismatch(value, f"{struct}.{name}", "int64")


def _mismatch(value: Any, field: str, type_name: str) -> GoJsonError:
    shown = f"number {value}" if isinstance(value, float) else kind(value)
    return GoJsonError(f"json: cannot unmarshal {shown} into Go struct field {field} of type {type_name}")


def kind(value: Any) -> str:
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]
