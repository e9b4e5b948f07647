"""Lengths read at a glance, and both ends of an interval in one unit."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from veloz_chaos.core.interval import Interval
from veloz_chaos.core.length import interval, length

S, MS = 1_000_000_000, 1_000_000


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 ms"), (250 * MS, "250 ms"), (6.2 * S, "6.2 s"), (5 * S, "5 s"), (1_234, "1.23 µs"), (12 * S, "12 s"),
     (90 * S, "90 s"), (600 * S, "10 min"), (125 * S, "2 min 5 s"), (3 * 3600 * S, "3 h 0 min"),
     (timedelta(seconds=30), "30 s"), (math.inf, "for ever")],
)  # fmt: skip
def test_one_length(value: float | timedelta, text: str) -> None:
    assert length(value) == text


@pytest.mark.parametrize(
    ("ends", "text"),
    [((48 * MS, 99 * MS), "48–99 ms"), ((1.42 * S, 1.47 * S), "1.42–1.47 s"), ((20 * S, math.inf), "≥ 20 s"),
     ((0, 1.1 * S), "0–1.1 s"), ((5 * S, 5 * S), "5 s"), ((60 * S, 180 * S), "1 min–3 min")],
)  # fmt: skip
def test_an_interval_has_one_unit(ends: tuple[float, float], text: str) -> None:
    assert interval(Interval(*ends)) == text


def test_no_interval_is_a_dash() -> None:
    assert interval(None) == "—"
