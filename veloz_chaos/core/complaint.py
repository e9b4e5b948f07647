"""Pydantic's complaints in plain English, each at a path of the data that was validated.

Pydantic names places by `loc`, in which branches of unions and validators appear as if they were keys; those parts
are skipped. Of a union's branches only the one that fits best complains, so that one mistake is one problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError

from veloz_chaos.core.model import NAME
from veloz_chaos.core.nearest import did_you_mean, nearest

Path = tuple[str | int, ...]
Known = Callable[[Path], Iterable[str]]

_EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "an integer"),
    **dict.fromkeys(("float_type", "float_parsing", "decimal_type", "decimal_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("string_type", "string_sub_type"), "a string"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"), "a list"),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type"), "a mapping"),
    **dict.fromkeys(("dataclass_type", "dataclass_exact_type"), "a mapping"),
    "none_required": "empty",
    "time_delta_type": "a duration",
}
_KINDS: tuple[tuple[type | UnionType, str], ...] = (
    (int | float, "a number"),
    (str, "a string"),
    (list | tuple, "a list"),
    (Mapping, "a mapping"),
    (timedelta, "a duration"),
)
#: An unknown key: of a model, of a dataclass.
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_NAMES = "write lower-case letters and digits, with . _ > - between them"
_SHOULD = re.compile(r"(?:Input|Value|Data|Text|String|List|Tuple|Set|Frozenset|Dictionary|Mapping)\b.*? should (.*)")


@dataclass(frozen=True)
class Complaint:
    """What is wrong at a path (at its key where `on_key`), and what to write instead."""

    path: Path
    on_key: bool
    message: str
    remedy: str


@dataclass(frozen=True)
class _Entry:
    """One error of pydantic, placed; `branches` are the skipped parts, each with the path it was skipped at."""

    path: Path
    branches: tuple[tuple[Path, str | int], ...]
    on_key: bool
    error: Mapping[str, Any]

    @property
    def type(self) -> str:
        return str(self.error["type"])

    @property
    def spot(self) -> tuple[Path, bool, str | int]:
        """Entries of one spot are one problem."""
        return self.path, self.on_key, self.error["loc"][-1] if self.type == "missing" else ""


def complaints(data: Any, error: ValidationError, known: Known) -> list[Complaint]:
    """Every complaint, one for each spot; `known` lists the keys that a path of `data` may have."""
    entries = [_placed(data, one) for one in error.errors(include_url=False)]
    spots: dict[Any, list[_Entry]] = {}
    for entry in _fitting(entries, 0):
        spots.setdefault(entry.spot, []).append(entry)
    return [_complaint(together, known) for together in spots.values()]


def kind_of(value: Any) -> str:
    """What a value is, with its article: "a string"; null is "empty"."""
    if value is None or isinstance(value, bool):
        return "empty" if value is None else str(value).lower()
    return next((name for kind, name in _KINDS if isinstance(value, kind)), f"a {type(value).__name__}")


def split(text: str) -> tuple[str, str]:
    """ "message; remedy" in two; the remedy is empty where there is none."""
    message, _, remedy = text.partition("; ")
    return message, remedy


def fields_at(model: Any, path: Path) -> list[str]:
    """The keys that the model, or any branch of a union in it, allows at this path."""
    types = list(_branches(model))
    for part in path:
        types = [below for kind in types for inner in _inside(kind, part) for below in _branches(inner)]
    models = [kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return list(dict.fromkeys(name for kind in models for name in _aliases(kind)))


def _aliases(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _branches(annotation: Any) -> Iterator[Any]:
    """The types behind aliases, Annotated, unions and root models."""
    if (aliased := getattr(annotation, "__value__", None)) is not None:
        yield from _branches(aliased)
    elif isinstance(annotation, type) and issubclass(annotation, RootModel):
        yield from _branches(annotation.model_fields["root"].annotation)
    elif get_origin(annotation) is Annotated:
        yield from _branches(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for branch in get_args(annotation):
            yield from _branches(branch)
    else:
        yield annotation


def _inside(kind: Any, part: str | int) -> Iterator[Any]:
    """The annotation one step below."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if (annotation := _aliases(kind).get(str(part))) is not None:
            yield annotation
    elif arguments := [argument for argument in get_args(kind) if argument is not Ellipsis]:
        yield arguments[-1]


def _placed(data: Any, error: Mapping[str, Any]) -> _Entry:
    loc = error["loc"][:-1] if error["type"] == "missing" else error["loc"]
    path: Path = ()
    branches: list[tuple[Path, str | int]] = []
    for part in loc:
        if _holds(data, part):
            path, data = (*path, part), data[part]
        elif part != "[key]":
            branches.append((path, part))
    return _Entry(path, tuple(branches), "[key]" in loc or error["type"] in _UNKNOWN, error)


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(data, list | tuple) and part < len(data)
    return isinstance(data, Mapping) and part in data


def _fitting(entries: Sequence[_Entry], level: int) -> Iterator[_Entry]:
    """Without the union branches that the author can't have meant."""
    unions: dict[Path, dict[str | int, list[_Entry]]] = {}
    for entry in entries:
        if len(entry.branches) <= level:
            yield entry
        else:
            prefix, tag = entry.branches[level]
            unions.setdefault(prefix, {}).setdefault(tag, []).append(entry)
    for prefix, branches in unions.items():
        for branch in _best(prefix, list(branches.values())):
            yield from _fitting(branch, level + 1)


def _best(prefix: Path, branches: list[list[_Entry]]) -> list[list[_Entry]]:
    """The branch that took the data in with the fewest errors; all of them where none did."""
    taken = [branch for branch in branches if not any(_refuses(entry, prefix) for entry in branch)]
    if not taken:
        return branches
    least = min(map(len, taken))
    best = [branch for branch in taken if len(branch) == least]
    at_prefix = [branch for branch in best if all(entry.path == prefix and entry.type != "missing" for entry in branch)]
    return at_prefix if at_prefix else best[:1]


def _refuses(entry: _Entry, prefix: Path) -> bool:
    """Whether the branch wanted a wholly different kind of value."""
    if entry.path != prefix:
        return False
    if entry.type == "literal_error" or entry.type.endswith("_parsing"):
        return not isinstance(entry.error["input"], str)
    return entry.type in _EXPECTED


def _complaint(together: Sequence[_Entry], known: Known) -> Complaint:
    first = min(together, key=lambda entry: entry.type in _EXPECTED or entry.type == "literal_error")
    wanted = list(dict.fromkeys(_wanted(entry) for entry in together if _wanted(entry)))
    if _wanted(first):
        message, remedy = _not_wanted(first, wanted)
    else:
        message, remedy = _said(first, known)
        remedy += f", or {_either(wanted)}" if wanted and remedy else ""
    return Complaint(first.path, first.on_key, message, remedy)


def _wanted(entry: _Entry) -> str:
    """The kind or the words that would have been right; empty where the error is of another sort."""
    if entry.type in ("literal_error", "enum"):
        return str(entry.error["ctx"]["expected"]).replace("'", "`")
    return _EXPECTED.get(entry.type, "")


def _either(wanted: Sequence[str]) -> str:
    """All of them as one phrase; those that are lists of words themselves come last."""
    ordered = sorted(wanted, key=lambda text: " or " in text)
    return (", " if " or " in ordered[-1] else " or ").join(ordered)


def _not_wanted(entry: _Entry, wanted: Sequence[str]) -> tuple[str, str]:
    value = entry.error["input"]
    words = [word for text in wanted for word in re.findall(r"`([^`]*)`", text)]
    if not (words and isinstance(value, str)):
        exact = entry.type == "literal_error" or (isinstance(value, float) and "an integer" in wanted)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        found = repr(value) if exact and is_number else kind_of(value)
        return f"{_name(entry)} must be {_either(wanted)}, not {found}", ""
    close = nearest(value, words)
    return f"{_name(entry)} must be {_either(wanted)}, not `{value}`", f"did you mean `{close}`?" if close else ""


def _said(entry: _Entry, known: Known) -> tuple[str, str]:
    error, context = entry.error, entry.error.get("ctx", {})
    match entry.type:
        case "extra_forbidden" | "unexpected_keyword_argument":
            key = str(entry.path[-1])
            return f"unknown key `{key}`", did_you_mean(key, known(entry.path[:-1]))
        case "missing":
            return f"`{error['loc'][-1]}` is missing", ""
        case "value_error" | "assertion_error":
            return split(str(context["error"]))
        case "union_tag_invalid":
            tags = re.findall(r"'([^']*)'", context["expected_tags"])
            return f"{_name(entry)} cannot be `{context['tag']}`", did_you_mean(context["tag"], tags)
        case "union_tag_not_found" if context["discriminator"].startswith("'"):
            return f"`{context['discriminator'].strip(chr(39))}` is missing", ""
        case "string_pattern_mismatch" if context["pattern"] == NAME:
            text = str(error["input"])
            not_here = text.startswith("not ")
            remedy = "`not` does not go here; name a probe that is shown then" if not_here else _NAMES
            return f"{_name(entry)}: `{text}` is no name", remedy
    return _in_general(entry), ""


def _in_general(entry: _Entry) -> str:
    message = str(entry.error["msg"]).replace(" after validation", "")
    if should := _SHOULD.fullmatch(message):
        return f"{_name(entry)} must {should[1]}"
    return f"{_name(entry)}: {message[:1].lower()}{message[1:]}"


def _name(entry: _Entry) -> str:
    """The last key of the path, with the indices below it: `steps[0]`."""
    keys = [index for index, part in enumerate(entry.path) if isinstance(part, str)]
    if not entry.path:
        return "the file"
    start = keys[-1] if keys else 0
    name = "".join(part if isinstance(part, str) else f"[{part}]" for part in entry.path[start:])
    return f"the key `{name}`" if entry.on_key else f"`{name}`"
