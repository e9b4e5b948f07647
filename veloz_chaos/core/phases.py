"""What the order flow went through before, during and after the fault: the impact, from the orders' own history.

An order belongs to the phase in which it was due, and its latency counts from there: a system that stalls hides nothing
by keeping us from sending (no coordinated omission).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from veloz_chaos.core.history import History
from veloz_chaos.core.interval import SECOND, Nanoseconds
from veloz_chaos.core.measure import Measurement, struck
from veloz_chaos.core.orders import ACCEPTED, REFUSED, UNKNOWN, WORKLOAD, Orders
from veloz_chaos.core.plan import Plan

Name = Literal["baseline", "fault", "recovered"]
NAMES: tuple[Name, ...] = ("baseline", "fault", "recovered")
#: Instants in boot-time ns: [from, to).
Bounds = Mapping[Name, tuple[Nanoseconds, Nanoseconds]]
#: The histogram counts microseconds, to three digits, up to an hour.
_MICROSECOND, _LONGEST, _DIGITS = 1000, 3_600_000_000, 3
_POINTS = {"p50": 50.0, "p90": 90.0, "p99": 99.0}


@dataclass(frozen=True)
class Phase:
    """Of the orders due within it. Lengths in seconds."""

    #: from the first to the last instant at which orders were due
    length: float
    accepted: int
    refused: int
    unknown: int
    #: what was said (or not) to those that were not accepted: an HTTP status, or why there was none
    errors: dict[str, int] = field(default_factory=dict)
    #: p50, p90, p99, max of what was accepted or had no outcome in time: a fast refusal is no fast order
    latency: dict[str, float] = field(default_factory=dict)
    longest_gap: float = 0.0

    @property
    def placed(self) -> int:
        return self.accepted + self.refused + self.unknown

    @property
    def timed(self) -> int:
        """Orders that have a latency."""
        return self.accepted + self.unknown

    @property
    def rate(self) -> float:
        """Accepted orders a second."""
        return self.accepted / self.length if self.length else 0.0

    def as_json(self) -> dict[str, Any]:
        latency = {name: self.latency.get(name) for name in (*_POINTS, "max")}
        return {
            "orders": {
                "rate": round(self.rate, 6),
                "placed": self.placed,
                "accepted": self.accepted,
                "refused": self.refused,
                "unknown": self.unknown,
                "errors": self.errors,
                "latency": latency,
                "longest_gap": self.longest_gap,
            },
            "seconds": self.length,
        }


def bounds(plan: Plan, history: History, m: Measurement) -> Bounds:
    """The certain part of each phase; one without a certain part is left out.

    What strikes once has no end of its own: its phase lasts until the system has recovered.
    """
    start, recovered = struck(history), _recovered(m)
    found: dict[Name, tuple[Nanoseconds, Nanoseconds]] = {}
    if history.baseline_began is not None and start is not None:
        found["baseline"] = (history.baseline_began, start)
    if m.began is None or plan.placebo or (plan.held and m.ended is None):
        return found
    until = recovered if not plan.held else m.ended.at_least if m.surely_until is None else m.surely_until  # type: ignore[union-attr]
    found["fault"] = (m.began.at_most, until)
    found["recovered"] = (max(recovered, m.ended.at_most if m.ended else 0), math.inf)
    return found


def _recovered(m: Measurement) -> Nanoseconds:
    """Where nothing broke, the fault's end is all there is to recover from."""
    known = m.recovery or m.ended
    return math.inf if known is None else known.at_most


def phases(orders: Orders, within: Bounds) -> dict[Name, Phase]:
    """Of the workload's orders; the instants between its first and its last order are all that it can speak for."""
    placed = orders.placed
    rows = [row for row, origin in enumerate(placed.origin) if origin == WORKLOAD]
    if not rows:
        return {}
    rows.sort(key=placed.due.__getitem__)
    dues = array("q", (placed.due[row] for row in rows))
    accepted = array("q", sorted(placed.done[row] for row in rows if placed.outcome[row] == ACCEPTED))
    found: dict[Name, Phase] = {}
    for name, (since, until) in within.items():
        start, end = max(since, dues[0]), min(until, dues[-1] + 1)
        if start < end:
            mine = rows[bisect_left(dues, start) : bisect_left(dues, end)]
            found[name] = _phase(orders, mine, start, end, accepted)
    return found


def _phase(orders: Orders, rows: list[int], start: Nanoseconds, end: Nanoseconds, accepted: array[int]) -> Phase:
    outcomes = Counter(orders.placed.outcome[row] for row in rows)
    errors = Counter(_kind(orders, row) for row in rows if orders.placed.outcome[row] in (REFUSED, UNKNOWN))
    return Phase(
        length=(end - start) / SECOND,
        accepted=outcomes[ACCEPTED],
        refused=outcomes[REFUSED],
        unknown=outcomes[UNKNOWN],
        errors=dict(sorted(errors.items())),
        latency=_latency(_lengths(orders, rows)),
        longest_gap=_gap(accepted, start, end) / SECOND,
    )


def _kind(orders: Orders, row: int) -> str:
    """`503`; where no status tells it, why: `timeout`, or the refusal's own word."""
    status, why = orders.answers.values[orders.placed.answer[row]]
    if isinstance(status, int) and status >= 400:
        return str(status)
    return str(why or ("refused" if orders.placed.outcome[row] == REFUSED else "unknown"))


def _lengths(orders: Orders, rows: Iterable[int]) -> list[int]:
    """Microseconds."""
    done, due, outcome = orders.placed.done, orders.placed.due, orders.placed.outcome
    return [(done[row] - due[row]) // _MICROSECOND for row in rows if outcome[row] in (ACCEPTED, UNKNOWN)]


def _latency(lengths: Iterable[int]) -> dict[str, float]:
    """Seconds; empty if there is none."""
    from hdrh.histogram import HdrHistogram  # when the first phase is measured: a run's start does not wait for it

    histogram = HdrHistogram(1, _LONGEST, _DIGITS)
    for value, count in Counter(lengths).items():
        histogram.record_value(min(max(1, value), _LONGEST), count)
    if not histogram.get_total_count():
        return {}
    points = {name: histogram.get_value_at_percentile(point) / 1e6 for name, point in _POINTS.items()}
    return points | {"max": histogram.get_max_value() / 1e6}


def _gap(accepted: array[int], start: Nanoseconds, end: Nanoseconds) -> Nanoseconds:
    """The longest stretch of [start, end] in which no order was accepted."""
    inside = accepted[bisect_left(accepted, start) : bisect_left(accepted, end)]
    return max(b - a for a, b in pairwise([start, *inside, end]))
