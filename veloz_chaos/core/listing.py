"""A CEL expression that gives a list, evaluated item by item.

The library's own `map` and `filter` copy the list for every item: ten thousand orders take minutes. So the macros at
the end of an expression (`json.orders.filter(o, …).map(o, {…})`) are taken off, and each is evaluated for one item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veloz_chaos.core import condition
from veloz_chaos.core.condition import Condition, ConditionMissing
from veloz_chaos.core.expression import Token, tokens

_MACROS = ("map", "filter")


@dataclass(frozen=True)
class Stage:
    """`.map(o, body)` or `.filter(o, body)`"""

    macro: str
    variable: str
    body: Condition


@dataclass(frozen=True)
class Listing:
    source: Condition
    stages: Sequence[Stage]

    def items(self, values: Mapping[str, Any]) -> list[Any]:
        """The list. Raises ConditionMissing where a part of it is missing, ConditionTypeError where it is no list."""
        found = self.source.value(values)
        if not isinstance(found, list):
            raise ConditionMissing(f"`{self.source.text}` is no list")
        for stage in self.stages:
            found = _through(stage, found, values)
        return found


def _through(stage: Stage, items: list[Any], values: Mapping[str, Any]) -> list[Any]:
    others = {name: value for name, value in values.items() if name in stage.body.names}
    given = [{**others, stage.variable: item} for item in items]
    if stage.macro == "map":
        return [stage.body.value(one) for one in given]
    return [item for item, one in zip(items, given, strict=True) if stage.body.holds(one)]


def compile(text: str) -> Listing:  # noqa: A001
    """Raises ValueError in one line, as `condition.compile` does."""
    condition.compile(text)
    source, stages = text, []
    while (split := _last_macro(source)) is not None:
        source, macro, variable, body = split
        stages.append(Stage(macro, variable, condition.compile(body, condition.LOOK_VARIABLES | {variable})))
    return Listing(condition.compile(source), stages[::-1])


def _last_macro(text: str) -> tuple[str, str, str, str] | None:
    """`a.map(o, b)` in its parts; None where the expression does not end in one, or is more than a chain."""
    found = tokens(text)
    opening = _opening(found)
    if opening is None or opening < 3 or not _chained(found[: opening - 2]):
        return None
    dot, macro = found[opening - 2], found[opening - 1]
    if dot.text != "." or macro.text not in _MACROS or found[opening + 2].text != ",":
        return None
    return (
        _text(found[: opening - 2]),
        macro.text,
        found[opening + 1].text,
        _text(found[opening + 3 : -1]),
    )


def _opening(found: Sequence[Token]) -> int | None:
    """The bracket that the expression's last one closes."""
    depth = 0
    for index in reversed(range(len(found))):
        depth += {")": 1, "]": 1, "}": 1, "(": -1, "[": -1, "{": -1}.get(found[index].text, 0) * (
            found[index].kind == "sign"
        )
        if depth == 0:
            return index if found[-1].text == ")" and index > 0 else None
    return None


def _chained(found: Sequence[Token]) -> bool:
    """Names, dots, indices and calls only: nothing at the top level binds looser than the dot of the macro."""
    depth = 0
    for token in found:
        if token.kind == "sign" and token.text in "([{":
            depth += 1
        elif token.kind == "sign" and token.text in ")]}":
            depth -= 1
        elif depth == 0 and (token.text == "in" or (token.kind == "sign" and token.text != ".")):
            return False
    return bool(found)


def _text(found: Sequence[Token]) -> str:
    text = ""
    for token in found:
        words = text[-1:].isalnum() and token.text[:1].isalnum()
        text += " " + token.text if words else token.text
    return text
