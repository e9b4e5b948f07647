"""Durations as people write them: `500ms`, `30s`, `1m30s`.

Parsed once into a timedelta, exactly (no floats on the way), and shown again in the shortest form that parses to the
same value. A number without a unit is an error, because nobody knows whether 30 meant seconds or milliseconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

#: Microseconds in each unit, largest first: the order in which a compound is written.
UNITS = {"w": 604_800_000_000, "d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}
LONGEST = timedelta(days=3653)
MICROSECOND = timedelta(microseconds=1)
PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$"

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhdw])")
_WORDS = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|msec|milli|[smhdw])[a-z]*", re.IGNORECASE)
_EXAMPLES = "write a number and a unit, such as 500ms, 30s, 5m, 2h or 1m30s"


def parse(text: str) -> timedelta:
    """`1m30s` as a timedelta; ValueError says what to write instead. From 0s to ten years, in whole microseconds."""
    parts = _PART.findall(text) if len(text) <= 40 else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(_why_not(text))
    _check_order(text, parts)
    microseconds = sum(Fraction(number) * UNITS[unit] for number, unit in parts)
    if microseconds > LONGEST // MICROSECOND:
        raise ValueError(f"`{text}` is longer than ten years; write a shorter duration")
    if microseconds.denominator != 1:
        raise ValueError(f"`{text}` is finer than a microsecond; write fewer decimals")
    return timedelta(microseconds=int(microseconds))


def _check_order(text: str, parts: list[tuple[str, str]]) -> None:
    ranks = [list(UNITS).index(unit) for _, unit in parts]
    if ranks != sorted(set(ranks)):
        raise ValueError(f"`{text}` mixes up its units; write each once, the largest first, such as 1m30s")
    if any("." in number for number, _ in parts[:-1]):
        raise ValueError(f"`{text}` has decimals before its last unit; write decimals only in the last, such as 1m1.5s")


def _why_not(text: str) -> str:
    short = text if len(text) <= 40 else text[:39] + "…"
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return f"a duration needs a unit; write {short}s"
    if text.startswith("-") and _PART.match(text, 1):
        return f"a duration cannot be negative; write {short[1:]}"
    if words := _WORDS.fullmatch(short.strip()):
        return f"`{short}` is not a duration; write {words[1]}{_unit(words[2])}"
    return f"`{short}` is not a duration; {_EXAMPLES}"


def _unit(word: str) -> str:
    return "ms" if word.lower() in ("ms", "msec", "milli") else word.lower()


def show(value: timedelta) -> str:
    """The shortest text that `parse` turns into this value again; a negative one gets a minus, for people only."""
    microseconds = value // MICROSECOND
    if microseconds < 0:
        return "-" + show(-value)
    return min(_spellings(microseconds), key=lambda text: (text.startswith("0."), len(text))) if microseconds else "0s"


def _spellings(microseconds: int) -> Iterator[str]:
    """Every way to write it: in one unit where that is exact, largest first, then as a compound."""
    for unit, size in UNITS.items():
        if (number := _decimal(microseconds, size)) is not None:
            yield number + unit
    yield _compound(microseconds)


def _decimal(microseconds: int, size: int) -> str | None:
    """microseconds / size as a plain decimal, None where it has no end."""
    digits = 7
    whole, rest = divmod(microseconds, size)
    scaled, left = divmod(rest * 10**digits, size)
    if left:
        return None
    return f"{whole}.{scaled:0{digits}d}".rstrip("0").rstrip(".")


def _compound(microseconds: int) -> str:
    text, rest = "", microseconds
    for unit in ("d", "h", "m", "s"):
        number, rest = divmod(rest, UNITS[unit])
        text += f"{number}{unit}" if number else ""
    return text + (f"{_decimal(rest, UNITS['ms'])}ms" if rest else "")


def nanoseconds(value: timedelta) -> int:
    """The value in whole nanoseconds, exactly."""
    return value // MICROSECOND * 1_000


def of_nanoseconds(n: int | float) -> timedelta:
    """Nanoseconds as a timedelta, to the nearest microsecond; OverflowError for infinity, ValueError for NaN."""
    return timedelta(microseconds=round(n / 1_000))


def _from_file(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        raise ValueError(f"a duration needs a unit; write {value}s")
    raise ValueError(f"this is not a duration; {_EXAMPLES}")


#: A field of a pydantic model: text in files and in JSON, a timedelta in Python.
Duration = Annotated[
    timedelta,
    BeforeValidator(_from_file),
    PlainSerializer(show, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["500ms", "30s", "1m30s"]}),
]
