"""`${name}` in the strings of a file, filled in.

A string that is nothing but `${name}` takes the value with its type; inside other text the value becomes text. `$${`
is a literal `${`. Names that belong to somebody later (`${env:TOKEN}`, `${unique}`) are left as they stand. What was
filled in is never looked at again, so that a value cannot ask for another one.

Where the result is a template for somebody later, say `again=True`: all that is literal then stays escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from veloz_chaos.core.complaint import Path, kind_of
from veloz_chaos.core.document import Document
from veloz_chaos.core.duration import show
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.errors import InvalidFile, Problem

_PIECE = re.compile(r"(?P<literal>\$\$\{)|\$\{(?P<name>[^{}]*)\}|(?P<open>\$\{)")
_WHOLE = re.compile(r"\$\{([^{}]*)\}")

T = TypeVar("T")


def references(data: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every name that a string below `data` refers to, with the string's path; keys are not looked at."""
    for at, text in _strings(data, path):
        yield from ((at, piece["name"]) for piece in _PIECE.finditer(text) if piece["name"] is not None)


def substitute(
    data: Any,
    values: Mapping[str, Any],
    document: Document | None = None,
    keep: Callable[[str], bool] = lambda _: False,
    *,
    path: Path = (),
    again: bool = False,
) -> Any:
    """A copy of `data` with every reference filled in; InvalidFile with all that cannot be.

    `path` is where in the document `data` stands. Names that `keep` accepts are left in place untouched.
    """
    filling = _Filling(values, keep, again, document)
    filled = filling.any(data, path)
    if filling.problems:
        raise InvalidFile(filling.problems)
    return filled


def _strings(data: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(data, str):
        yield path, data
    for part, value in _items(data):
        yield from _strings(value, (*path, part))


def _items(data: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(data, Mapping):
        yield from data.items()
    elif isinstance(data, list | tuple):
        yield from enumerate(data)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {key: _escaped(below) for key, below in value.items()}
    return [_escaped(below) for below in value] if isinstance(value, list | tuple) else value


@dataclass
class _Filling:
    """One substitution under way, collecting what is wrong."""

    values: Mapping[str, Any]
    keep: Callable[[str], bool]
    again: bool
    document: Document | None
    problems: list[Problem] = field(default_factory=list)

    def any(self, data: Any, path: Path) -> Any:
        if isinstance(data, str):
            return self.string(data, path) if "${" in data else data
        if isinstance(data, Mapping):
            return {self.key(key, path): self.any(value, (*path, key)) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return [self.any(value, (*path, index)) for index, value in enumerate(data)]
        return data

    def string(self, text: str, path: Path) -> Any:
        whole = _WHOLE.fullmatch(text)
        if whole and not self.keep(whole[1]):
            return self.literal(self.value(whole[1], path))
        return _PIECE.sub(lambda piece: self.piece(piece, path), text)

    def piece(self, piece: re.Match[str], path: Path) -> str:
        if piece["literal"]:
            return self.literal("${")
        if piece["open"]:
            self.complain(path, "`${` is never closed", "write ${name}, or $${ for the two characters themselves")
            return ""
        if self.keep(piece["name"]):
            return piece[0]
        return self.literal(self.text(piece["name"], path))

    def literal(self, value: T) -> T:
        """What somebody later must not take for a reference, whatever it contains."""
        return _escaped(value) if self.again else value

    def value(self, name: str, path: Path) -> Any:
        if name in self.values:
            return self.values[name]
        shown = f"nothing is called `{name}`" if name else "`${}` names nothing"
        self.complain(path, shown, did_you_mean(name, self.values) or "declare it first")
        return None

    def text(self, name: str, path: Path) -> str:
        """The value as it reads inside other text."""
        value = self.value(name, path)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, timedelta):
            return show(value)
        if isinstance(value, str | int | float):
            return str(value)
        if name in self.values:
            self.complain(
                path, f"`{name}` is {kind_of(value)} and cannot stand inside other text", f"write ${{{name}}} alone"
            )
        return ""

    def key(self, key: Any, path: Path) -> Any:
        """Keys stand for themselves: one with a reference in it is a mistake."""
        if isinstance(key, str) and any(not piece["literal"] for piece in _PIECE.finditer(key)):
            self.complain(
                (*path, key), f"the key `{key}` holds a reference", "write references in values only", on_key=True
            )
        return key

    def complain(self, path: Path, message: str, remedy: str, on_key: bool = False) -> None:
        if self.document is None:
            self.problems.append(Problem("", 0, 0, message, remedy))
        else:
            place = self.document.key_at(path) if on_key else self.document.at(path)
            self.problems.append(Problem(self.document.file, *place, message, remedy))
