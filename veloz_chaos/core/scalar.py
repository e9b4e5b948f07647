"""Plain (unquoted) YAML scalars: what each is read as, and the spellings that are refused.

YAML 1.1 reads `on` as true, `1:30` as 90 and `010` as 8; YAML 1.2 reads none of them so. A file that means different
things to different readers is wrong, so such spellings are errors that say what to write. Everything else is read as
JSON would: true, false, null, whole numbers, decimals; the rest is text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_TRUE, _FALSE = ("on", "yes", "y"), ("off", "no", "n")
_STARTS = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_HEX = re.compile(r"[-+]?0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_CLOCK = re.compile(r"([-+]?)([1-9][0-9_]*(?::[0-5]?[0-9])+)(\.[0-9_]*)?")
_TIME_OF_DAY = re.compile(r"(?:1[0-9]|2[0-3]):[0-5][0-9]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*[0-9Z])?")
_TOO_LONG = 100


class Trap(ValueError):
    """A spelling that readers disagree on: the message, then what to write instead after "; "."""


def read(text: str) -> Scalar:
    """The value of a plain scalar; Trap where the spelling is refused."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _STARTS:
        return _number(text)
    if text.lower() in _TRUE + _FALSE and (len(text) > 1 or text in "yYnN"):
        meaning = "true" if text.lower() in _TRUE else "false"
        by = " by some readers" if len(text) == 1 else ""
        raise Trap(f"`{text}` is read as {meaning}{by}; write {meaning} or quote it")
    return text


def _number(text: str) -> Scalar:
    for pattern, value in _NUMBERS:
        if pattern.fullmatch(text):
            if len(text) > _TOO_LONG:
                raise Trap(f"a number of {len(text)} characters; quote it if it is text")
            return value(text)
    return text


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Trap(f"`{text}` is read as infinity; write a smaller number or quote it")
    return value


def _octal(text: str) -> Scalar:
    plain = text.replace("o", "").replace("_", "").lstrip("+-0") or "0"
    raise Trap(f"`{text}` looks octal and is read differently by different readers; write {plain} or quote it")


def _underscores(text: str) -> Scalar:
    plain = text.replace("_", "")
    raise Trap(f"`{text}` is read as {plain} by some readers and as text by others; write {plain} or quote it")


def _binary(text: str) -> Scalar:
    raise Trap(f"`{text}` is read as {int(text.replace('_', ''), 2)}; write that number or quote it")


def _sixties(text: str) -> Scalar:
    """1:30 is base 60 in YAML 1.1: 90."""
    sign, digits, fraction = _CLOCK.fullmatch(text).groups()  # type: ignore[union-attr]
    total = 0
    for part in digits.replace("_", "").split(":"):
        total = total * 60 + int(part)
    shown = f"{sign.strip('+')}{total}{fraction or ''}"
    other = "" if _TIME_OF_DAY.fullmatch(text) else f"write {shown}s or "
    raise Trap(f"`{text}` is read as {shown}; {other}quote it")


def _date(text: str) -> Scalar:
    raise Trap(f"`{text}` is read as a date; quote it")


def _not_finite(text: str) -> Scalar:
    meaning = "not a number" if "n" in text.lower()[-1] else "infinity"
    raise Trap(f"`{text}` is read as {meaning}; write a finite number or quote it")


_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], Scalar]], ...] = (
    (_INTEGER, int),
    (re.compile(r"[-+]?0o?[0-9_]+"), _octal),
    (_FLOAT, _float),
    (_HEX, lambda text: int(text, 16)),
    (re.compile(r"[-+]?0b[01_]+"), _binary),
    (_CLOCK, _sixties),
    (_DATE, _date),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), _not_finite),
    (re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"), _underscores),
)
