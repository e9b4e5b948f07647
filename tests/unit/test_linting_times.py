"""How long an alert takes, at best and at worst. All lengths in seconds."""

from __future__ import annotations

import math

import pytest

from veloz_chaos.core import linting_times as timing
from veloz_chaos.core import promql
from veloz_chaos.core.interval import SECOND, Interval
from veloz_chaos.core.linting_exports import Exports
from veloz_chaos.core.linting_labels import Labels
from veloz_chaos.core.linting_setup import Group, Job, Route, Rule
from veloz_chaos.core.linting_world import World
from veloz_chaos.core.linting_yaml import NOWHERE


def labels(job: str) -> Labels:
    return Labels({"job": frozenset({job}), "instance": None})


def rule(text: str, every: float = 15, name: str = "x", hold: float = 0, keep: float = 0, offset: float = 0,
         records: bool = False, group: str = "g", order: int = 0) -> Rule:  # fmt: skip
    where = Group(group, "", round(every * SECOND), round(offset * SECOND))
    lengths = (round(hold * SECOND), round(keep * SECOND))
    return Rule(name, records, text, promql.parse(text), {}, *lengths, where, order, NOWHERE)


JOBS = {
    "quick": Job("quick", 5 * SECOND, 2 * SECOND, labels("quick"), NOWHERE),
    "slow": Job("slow", 60 * SECOND, 10 * SECOND, labels("slow"), NOWHERE),
}
RECORDS = {
    "made": [rule("sum(rate(m[1m]))", 30, "made", records=True, group="records")],
    "loop": [rule("loop + made", 30, "loop", records=True, group="records")],
}
WORLD = World(Exports(JOBS, {"m": (labels("quick"),), "s": (labels("slow"),)}, complete=True), records=RECORDS)


def seconds(interval: Interval) -> tuple[float, float]:
    return interval.at_least / SECOND, interval.at_most / SECOND


def times(one: Rule, *routes: Route) -> timing.Times:
    return timing.of(one, WORLD, routes)


def route(wait: float, interval: float = 300, by: frozenset[str] | None = frozenset({"alertname"})) -> Route:
    lengths = (round(wait * SECOND), round(interval * SECOND))
    return Route("route", "r", (), False, by, *lengths, (), (), (), NOWHERE)


@pytest.mark.parametrize(
    ("one", "fires"),
    [
        (rule("m > 1"), (0, 7 + 15)),
        (rule("s > 1"), (0, 70 + 15)),
        (rule("m > 1 and on () s > 1"), (0, 70 + 15)),
        (rule("m > 1", hold=30), (30, 7 + 15 + 30)),
        (rule("m > 1", hold=31), (45, 7 + 15 + 45)),  # `for` is looked at when rules are evaluated
        (rule("m > 1", hold=1), (15, 7 + 15 + 15)),
        (rule("m > 1", offset=20), (20, 20 + 7 + 15)),
        (rule("m offset 1m > 1"), (60, 60 + 7 + 15)),
        (rule("rate(m[5m]) > 0.1"), (0, 7 + 300 + 15)),
        (rule("irate(m[5m]) > 0.1"), (0, 7 + 5 + 15)),
        (rule("last_over_time(m[5m]) > 1"), (0, 7 + 5 + 15)),
        (rule("rate(m[5m]) > 0"), (0, 7 + 15)),  # one sample is enough
        (rule("sum(increase(m[5m])) > 0"), (0, 7 + 15)),
        (rule("max_over_time(m[5m]) > 3"), (0, 7 + 15)),
        (rule("min_over_time(m[5m]) < 3"), (0, 7 + 15)),
        (rule("avg_over_time(up[1m]) < 1"), (0, 70 + 15)),
        (rule("rate(m[5m]) == 0"), (295, 7 + 300 + 15)),  # every sample of the window must be a bad one
        (rule("max_over_time(m[5m]) < 3"), (295, 7 + 300 + 15)),
        (rule("min_over_time(m[5m]) > 3"), (295, 7 + 300 + 15)),
        (rule("sum(increase(m[5m])) == 0"), (295, 7 + 300 + 15)),
        (rule("absent_over_time(m[5m])"), (295, 7 + 300 + 15)),
        (rule("absent(m)"), (0, 7 + 15)),
        (rule("sum(max_over_time(m[5m])) < 3"), (0, 7 + 300 + 15)),  # depends on how bad they are
        (rule("max_over_time(rate(m[1m])[5m:30s]) > 3"), (0, 7 + 60 + 30 + 15)),
        (rule("avg_over_time(rate(m[1m])[5m:30s]) > 3"), (0, 7 + 60 + 300 + 30 + 15)),
        (rule("max_over_time(rate(m[1m])[5m:30s]) < 3"), (300 - 5 - 30, 7 + 60 + 300 + 30 + 15)),
        (rule("made > 1"), (0, 7 + 60 + 30 + 15)),
        (rule("made > 1", group="records", every=30, order=1), (0, 7 + 60 + 30)),  # recorded just before
        (rule("loop > 1"), (0, 7 + 60 + 30 + 30 + 15)),
        (rule("vector(1)"), (0, 15)),
        (rule("unheard_of > 1"), (0, 70 + 15)),  # by whichever job
    ],
    ids=lambda value: value.text if isinstance(value, Rule) else None,
)
def test_from_the_failure_until_it_fires(one: Rule, fires: tuple[float, float]) -> None:
    assert seconds(times(one).fires) == fires


@pytest.mark.parametrize(
    ("routes", "notified"),
    [
        ([route(10)], (10, 22 + 10)),
        ([route(10, by=None)], (10, 22 + 10)),  # by all labels
        ([route(10, by=frozenset({"team"}))], (10, 22 + 300)),  # the group may be there already
        ([route(10), route(60)], (60, 22 + 60)),  # all of them must hear of it
        ([route(0)], (0, 22)),
    ],
)
def test_from_the_failure_until_it_is_notified(routes: list[Route], notified: tuple[float, float]) -> None:
    found = times(rule("m > 1"), *routes).notified
    assert found is not None
    assert seconds(found) == notified


def test_nobody_is_notified_where_no_route_leads() -> None:
    assert times(rule("m > 1")).notified is None
    assert timing.of(rule("m > 1"), WORLD, None).notified is None


@pytest.mark.parametrize(
    ("one", "resolved"),
    [
        (rule("m > 1", hold=60), (0, 22 + 20)),
        (rule("m > 1", keep=20), (30, 22 + 30 + 20)),
        (rule("increase(m[5m]) > 0"), (0, 22 + 300 + 20)),  # quick to fire, slow to end
    ],
    ids=lambda value: value.text if isinstance(value, Rule) else None,
)
def test_from_its_end_until_that_is_notified(one: Rule, resolved: tuple[float, float]) -> None:
    assert seconds(times(one, route(10, 20)).resolved) == resolved


def test_what_is_muted_is_never_notified() -> None:
    found = timing.never(times(rule("m > 1"), route(1))).notified
    assert found == Interval(math.inf, math.inf)
