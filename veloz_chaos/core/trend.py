"""Do the times of an experiment grow? The latest runs against those before them, without any assumption of how such
times are distributed.

The test is the rank-sum test of Mann and Whitney, one-sided and exact: of all ways in which the runs could have been
dealt into "earlier" and "latest", in which share would the latest be slower as often as they were? (Mann and Whitney,
Annals of Mathematical Statistics 18, 1947.) A latest run counts as slower than an earlier one only where it surely was:
its least beyond the other's most. What never came is slower than all that came. So the share is never too small.

With few runs no difference, however great, could be told from chance: that is said instead of nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from veloz_chaos.core.interval import Interval, Nanoseconds
from veloz_chaos.core.record import JUDGED, Record

#: A slowdown is told where chance would do the same in fewer than this share of all cases.
RISK = 0.01
#: So many of the latest are compared at most, with so many before them.
LATEST, EARLIER = 5, 50
#: The times that are compared, as far as an experiment has them.
NAMES = ("detection", "recovery", "rto", "rpo")


@dataclass(frozen=True)
class Change:
    """One time, of the earlier and the latest runs, oldest first."""

    earlier: tuple[Interval, ...]
    latest: tuple[Interval, ...]

    @property
    def before(self) -> Nanoseconds | None:
        return median([time.at_most for time in self.earlier])

    @property
    def now(self) -> Nanoseconds | None:
        return median([time.at_most for time in self.latest])

    @property
    def chance(self) -> float:
        """The share of cases in which chance makes the latest slower than the earlier this often; 1 where there is
        nothing to compare."""
        slower = sum(late.at_least > early.at_most for late in self.latest for early in self.earlier)
        return tail(len(self.latest), len(self.earlier), slower)

    @property
    def tells(self) -> bool:
        """Would the greatest difference be told?"""
        return least(len(self.latest), len(self.earlier)) < RISK

    @property
    def slower(self) -> bool:
        return self.chance < RISK


NOTHING = Change((), ())


@dataclass(frozen=True)
class Trend:
    """One experiment on one environment. `left_out`: judged runs that can't be compared with the latest, by why."""

    experiment: str
    environment: str
    #: verdict -> how many runs, of all that were asked for; and the last judged one's
    counts: Mapping[str, int]
    last: str
    #: seconds since 1970
    since: float
    until: float
    #: by the time's name: those of NAMES that were ever measured
    changes: Mapping[str, Change]
    left_out: Mapping[str, int]

    @property
    def judged(self) -> int:
        return sum(self.counts.get(verdict, 0) for verdict in JUDGED)

    @property
    def detection(self) -> Change:
        return self.changes.get("detection", NOTHING)

    @property
    def recovery(self) -> Change:
        return self.changes.get("recovery", NOTHING)


def trend(records: Sequence[Record], counts: Mapping[str, int]) -> Trend | None:
    """Of the latest runs of one experiment on one environment, in any order; None if none of them was judged."""
    judged = sorted((record for record in records if record.judged), key=lambda record: record.started)
    if not judged:
        return None
    alike, left_out = _alike(judged)
    return Trend(
        experiment=judged[-1].experiment,
        environment=judged[-1].environment,
        counts=counts,
        last=judged[-1].verdict,
        since=judged[0].started,
        until=judged[-1].started,
        changes={name: _change(times) for name in NAMES if (times := _times(alike, name))},
        left_out=left_out,
    )


def _alike(judged: Sequence[Record]) -> tuple[list[Record], dict[str, int]]:
    """Those that did the same as the latest one."""
    latest = judged[-1]
    kept: list[Record] = []
    left_out: dict[str, int] = {}
    for record in judged:
        why = "other parameters" if record.parameters != latest.parameters else ""
        why = why or ("emulated or not" if record.emulated != latest.emulated else "")
        if why:
            left_out[why] = left_out.get(why, 0) + 1
        else:
            kept.append(record)
    return kept, left_out


def _times(records: Sequence[Record], name: str) -> list[Interval]:
    told = (record.time(name) for record in records)
    return [time.measured for time in told if time is not None and time.measured is not None]


def _change(times: Sequence[Interval]) -> Change:
    """At most half of them are the latest, so that there is something to compare them with."""
    latest = min(LATEST, len(times) // 2)
    split = len(times) - latest
    return Change(tuple(times[max(0, split - EARLIER) : split]), tuple(times[split:]))


def median(values: Sequence[Nanoseconds]) -> Nanoseconds | None:
    """The lower one of two in the middle."""
    return sorted(values)[(len(values) - 1) // 2] if values else None


def least(latest: int, earlier: int) -> float:
    """The smallest share that so many runs can give."""
    return 1 / math.comb(latest + earlier, latest)


@cache
def needed() -> int:
    """So many runs in all, before the greatest difference is told."""
    return next(n for n in range(2, 1000) if least(min(LATEST, n // 2), n - min(LATEST, n // 2)) < RISK)


def tail(latest: int, earlier: int, slower: int) -> float:
    """P(U ≥ slower) where every order of the runs is as likely as any other."""
    ways = _ways(latest, earlier)
    return sum(ways[slower:]) / math.comb(latest + earlier, latest)


@cache
def _ways(latest: int, earlier: int) -> tuple[int, ...]:
    """In how many orders 0, 1, 2, … of the pairs have the latest slower: U's exact distribution. If the last of an
    order is one of the latest, it is slower than all the earlier; else it adds no pair."""
    rows: dict[tuple[int, int], list[int]] = {}
    for m in range(latest + 1):
        for n in range(earlier + 1):
            row = [0] * (m * n + 1)
            if m == 0 or n == 0:
                row[0] = 1
            else:
                for u, count in enumerate(rows[m - 1, n]):
                    row[u + n] += count
                for u, count in enumerate(rows[m, n - 1]):
                    row[u] += count
            rows[m, n] = row
    return tuple(rows[latest, earlier])
