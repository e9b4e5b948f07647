"""The text of a CEL expression: which values it reaches for, without evaluating it.

The CEL library says "no such overload" both for a field of null and for `status > 'a'`. The first means that a reply
lacked something, the second that the file is wrong. `reaches` lists the paths an expression reads (`json.orders[0].id`,
also through the variables of exists, all, map and filter), and `absent` tells whether a path leads nowhere in the
values at hand: that tells the two apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

_TOKEN = re.compile(
    r"""\s+ | //[^\n]*
    | (?P<string>(?:[rRbB]{0,2})(?:\"{3}[\s\S]*?\"{3} | '{3}[\s\S]*?'{3} | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*'))
    | (?P<number>0x[0-9a-fA-F]+u? | (?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?u?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>&&|\|\||[=!<>]=|.)""",
    re.VERBOSE,
)
_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
_WORDS = frozenset({"true", "false", "null", "in"})
_LITERAL_CALLS = frozenset({"duration", "timestamp", "matches"})


class Token(NamedTuple):
    kind: str
    text: str


class Each:
    """In a path: every item of a list, every key of a map."""


Step = str | int | type[Each]


@dataclass(frozen=True)
class Reach:
    """A path that an expression reads; `whole` where what stands there must be a list or a map."""

    path: tuple[Step, ...]
    whole: bool = False


def tokens(text: str) -> list[Token]:
    """The tokens of an expression, without space and comments."""
    return [Token(match.lastgroup, match[0]) for match in _TOKEN.finditer(text) if match.lastgroup]


def bound(text: str) -> frozenset[str]:
    """The variables that macros introduce: the `i` of `list.exists(i, i > 1)`."""
    found = tokens(text)
    return frozenset(name for index in range(len(found)) if (name := _macro_variable(found, index)))


def literal_calls(text: str) -> Iterator[str]:
    """Calls whose only argument is a literal, so that it can be tried beforehand: `duration('5x')`."""
    found = tokens(text)
    for name, opening, argument, closing in zip(found, found[1:], found[2:], found[3:], strict=False):
        if name.text in _LITERAL_CALLS and (opening.text, argument.kind, closing.text) == ("(", "string", ")"):
            receiver = "''." if name.text == "matches" else ""
            yield f"{receiver}{name.text}({argument.text})"


def reaches(text: str) -> list[Reach]:
    """Every path that the expression reads, in order."""
    found = tokens(text)
    variables: dict[str, tuple[Step, ...]] = {}
    paths = []
    for index in range(len(found)):
        if not _starts_path(found, index):
            continue
        path, after = _path(found, index, variables)
        variable = _macro_variable(found, after)
        if variable:
            variables[variable] = (*path, Each)
        paths.append(Reach(path, bool(variable) or _text(found, index - 1) == "in"))
    return paths


def absent(reach: Reach, values: Mapping[str, Any]) -> bool:
    """Whether the path leads to nothing: a missing key or index, null, or a field of what has no fields."""
    return reach.path[0] in values and _absent(values, reach.path, reach.whole)


def _absent(value: Any, path: Sequence[Step], whole: bool) -> bool:
    if not path:
        return value is None or (whole and not isinstance(value, list | tuple | Mapping))
    step, rest = path[0], path[1:]
    if step is Each:
        return not isinstance(value, list | tuple | Mapping) or any(_absent(item, rest, whole) for item in value)
    if isinstance(value, Mapping):
        return step not in value or _absent(value[step], rest, whole)
    if isinstance(value, list | tuple) and isinstance(step, int):
        return not 0 <= step < len(value) or _absent(value[step], rest, whole)
    return True


def _text(found: Sequence[Token], index: int) -> str:
    return found[index].text if 0 <= index < len(found) else ""


def _starts_path(found: Sequence[Token], index: int) -> bool:
    token = found[index]
    if token.kind != "name" or token.text in _WORDS:
        return False
    return _text(found, index - 1) != "." and _text(found, index + 1) != "("


def _path(
    found: Sequence[Token], index: int, variables: Mapping[str, tuple[Step, ...]]
) -> tuple[tuple[Step, ...], int]:
    """The path that starts at this token, and the index of the first token behind it."""
    name = found[index].text
    path = variables.get(name, (name,))
    index += 1
    while True:
        sign, following, closing = (_text(found, index + ahead) for ahead in range(3))
        if sign == "." and following and closing != "(":
            path, index = (*path, following), index + 2
        elif sign == "[" and closing == "]" and (step := _literal(found[index + 1])) is not None:
            path, index = (*path, step), index + 3
        else:
            return path, index


def _literal(token: Token) -> Step | None:
    """An index or a key between brackets; None where it is computed or uses escapes."""
    if token.kind == "number" and token.text.isdecimal():
        return int(token.text)
    if token.kind == "string" and "\\" not in token.text:
        return token.text.lstrip("rR").strip(token.text[-1])
    return None


def _macro_variable(found: Sequence[Token], index: int) -> str:
    """The variable of a macro that starts at this index: `.exists(i,`; empty where none does."""
    dot, macro, opening, variable, comma = (_text(found, index + ahead) for ahead in range(5))
    return variable if dot == "." and macro in _MACROS and opening == "(" and comma == "," else ""
