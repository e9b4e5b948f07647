"""Lengths and intervals for people: `48–99 ms`, `1.42–1.47 s`, `≥ 20 s`.

Both ends in one unit, chosen by the longer one, with three digits at most; from two minutes on in minutes and seconds.
"""

from __future__ import annotations

import math
from datetime import timedelta

from veloz_chaos.core.interval import Interval, Nanoseconds

_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns"))
_MINUTES = 120e9
_MICROSECOND = timedelta(microseconds=1)


def length(value: Nanoseconds | timedelta) -> str:
    """One length in nanoseconds: `6.2 s`, `250 ms`, `10 min`, `2 min 5 s`."""
    n = value // _MICROSECOND * 1_000 if isinstance(value, timedelta) else value
    if math.isinf(n):
        return "for ever"
    if n >= _MINUTES:
        return _minutes(n)
    size, unit = _unit(n)
    return f"{_number(n / size, unit)} {unit}"


def interval(value: Interval | None) -> str:
    """`—` where there is none; one number where both ends read the same."""
    if value is None:
        return "—"
    if math.isinf(value.at_most):
        return f"≥ {length(value.at_least)}"
    if value.at_most >= _MINUTES:
        return _joined(_minutes(value.at_least), _minutes(value.at_most), "")
    size, unit = _unit(value.at_most)
    return _joined(_number(value.at_least / size, unit), _number(value.at_most / size, unit), f" {unit}")


def _joined(first: str, last: str, unit: str) -> str:
    return f"{last}{unit}" if first == last else f"{first}–{last}{unit}"


def _unit(n: float) -> tuple[float, str]:
    return next(((size, unit) for size, unit in _UNITS if n >= size), (1e6, "ms"))


def _number(value: float, unit: str) -> str:
    digits = 2 if value < 10 else 1 if value < 100 and unit == "s" else 0
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _minutes(n: float) -> str:
    minutes, seconds = divmod(round(n / 1e9), 60)
    if minutes >= 120:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
