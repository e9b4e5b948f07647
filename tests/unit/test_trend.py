"""A slowdown is told where it is there, not told where chance would do the same, and little is never made much of."""

from __future__ import annotations

import math
import random
from itertools import combinations
from pathlib import Path

import pytest

from tests.unit.cli_runs import SECOND, Paper
from tests.unit.history_runs import lay
from veloz_chaos.core import trend as trends
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.record import Record, time_of
from veloz_chaos.core.trend import EARLIER, LATEST, RISK, Change, Trend, needed, tail, trend
from veloz_chaos.engine import index
from veloz_chaos.engine.index import Query
from veloz_chaos.reports import history
from veloz_chaos.reports import trend as report


@pytest.mark.parametrize(("latest", "earlier"), [(1, 1), (1, 6), (2, 3), (3, 3), (4, 5)])
def test_the_chance_is_that_of_counting_every_order(latest: int, earlier: int) -> None:
    places = range(latest + earlier)
    counts: list[int] = []
    for late in combinations(places, latest):
        early = set(places) - set(late)
        counts.append(sum(a > b for a in late for b in early))
    for slower in range(latest * earlier + 1):
        assert tail(latest, earlier, slower) == sum(count >= slower for count in counts) / len(counts)


def change(earlier: list[float], latest: list[float], width: float = 0.0) -> Change:
    return Change(*(tuple(Interval(t - width / 2, t + width / 2) for t in times) for times in (earlier, latest)))


def test_a_clear_slowdown_is_told() -> None:
    told = change([1.0, 1.1, 1.2, 1.0, 1.3], [2.0, 2.1, 2.2, 2.3, 2.4])
    assert told.slower
    assert told.chance == 1 / math.comb(10, 5)
    assert (told.before, told.now) == (1.1, 2.2)


def test_what_may_have_been_as_fast_is_not_slower() -> None:
    assert not change([1.0] * 20, [1.5] * 5, width=2.0).slower
    assert change([1.0] * 20, [1.0] * 5).chance == 1.0


def test_what_never_came_is_slower_than_what_came_but_not_than_what_never_came() -> None:
    never = Interval(9.0, math.inf)
    assert Change((Interval(1, 1),) * 9, (never,) * 3).slower
    assert Change((never,) * 9, (never,) * 3).chance == 1.0


@pytest.mark.parametrize(("latest", "earlier", "tells"), [(1, 98, False), (1, 100, True), (4, 4, False), (4, 5, True)])
def test_with_few_runs_nothing_is_told(latest: int, earlier: int, tells: bool) -> None:
    told = change([1.0] * earlier, [100.0] * latest)
    assert (told.tells, told.slower) == (tells, tells)


def test_nothing_to_compare_is_no_slowdown() -> None:
    assert Change((), ()).chance == 1.0
    assert not change([], [1.0]).tells


def test_so_many_runs_it_takes() -> None:
    assert needed() == 9


def test_without_a_cause_it_is_told_as_seldom_as_is_said() -> None:
    """Both tails of the binomial are far away at 2000 draws: ten expected on average, more than 40 never."""
    dealer = random.Random(7)
    told = 0
    for _ in range(2000):
        times = [dealer.lognormvariate(0, 0.3) for _ in range(20)]
        told += change(times[:15], times[15:], width=dealer.choice([0.0, 0.05])).slower
    assert told <= 2000 * RISK * 2


def record(at: float, seconds: float, **more: object) -> Record:
    plain: dict[str, object] = {
        "run": f"{at}", "folder": f"{at}", "started": at, "host": "", "version": "", "experiment": "e",
        "environment": "p", "tier": "staging", "row": "r", "verdict": "passed",
        "recovery": time_of("passed", seconds * SECOND, (seconds + 0.05) * SECOND, None),
    }  # fmt: skip
    return Record(**plain | more)  # type: ignore[arg-type]


def of(records: list[Record]) -> Trend:
    found = trend(records, {"passed": len(records)})
    assert found is not None
    return found


def test_the_latest_are_compared_with_those_before_whatever_the_order() -> None:
    records = [record(n, 1 if n < 30 else 2) for n in range(35)]
    random.Random(1).shuffle(records)
    told = of(records).recovery
    assert (len(told.earlier), len(told.latest)) == (30, LATEST)
    assert told.slower


def test_only_so_many_before_count() -> None:
    assert len(of([record(n, 1) for n in range(200)]).recovery.earlier) == EARLIER


def test_other_parameters_placebos_and_refusals_are_not_compared() -> None:
    others = [record(n, 9, parameters={"delay": "2s"}) for n in range(3)]
    others += [record(10 + n, 9, placebo=True) for n in range(3)]
    others += [record(20 + n, 9, verdict="refused") for n in range(3)]
    others += [record(30 + n, 9, emulated=True) for n in range(2)]
    told = of([*others, *(record(100 + n, 1) for n in range(20))])
    assert told.left_out == {"other parameters": 3, "emulated or not": 2}
    assert len(told.recovery.earlier) + len(told.recovery.latest) == 20


def test_no_judged_run_no_trend() -> None:
    assert trend([record(1, 1, verdict="refused")], {}) is None


def test_the_report_warns_in_a_sentence_and_says_how_often_chance_would() -> None:
    lines = " ".join(report.report([of([record(n, 1 if n < 15 else 3) for n in range(20)])], 100))
    assert "1.05 s → 3.05 s slower" in lines
    assert "SLOWER: e on p recovers after 3 s to 3.05 s in the latest 5 runs" in lines
    assert "chance does the same in 0.0064 % of all cases" in lines
    assert "1 comparison" in lines


def test_the_report_says_that_a_few_runs_tell_nothing() -> None:
    lines = " ".join(report.report([of([record(n, n * 10 + 1) for n in range(4)])], 100))
    assert "SLOWER" not in lines
    assert "too few runs to tell a slowdown from chance, however great it is: e on p (4); it takes 9" in lines


def test_from_journals(tmp_path: Path) -> None:
    for day in range(12):
        lay(tmp_path, day, Paper(recovered=1.2 if day < 7 else 4.3))
    with index.opened(tmp_path) as found:
        told = trend(found.find(Query()), {"passed": 12})
    assert told is not None
    assert told.recovery.slower
    assert not told.detection.slower
    assert trends.least(5, 7) > told.recovery.chance - 1e-9


def disaster(at: float, seconds: float) -> Record:
    took = time_of("passed", seconds * SECOND, (seconds + 0.05) * SECOND, 1800 * SECOND)
    lost = time_of("passed", 0.5 * SECOND, 0.7 * SECOND, 300 * SECOND)
    return record(at, 0, recovery=None, more={"rto": took, "rpo": lost, "step restore": took})


def test_of_a_disaster_what_was_lost_and_how_long_it_took() -> None:
    told = of([disaster(n, 3 if n < 15 else 9) for n in range(20)])
    assert set(told.changes) == {"rto", "rpo"}
    lines = " ".join(report.report([told], 140))
    assert "RPO 700 ms → 700 ms" in lines
    assert "RTO 3.05 s → 9.05 s slower" in lines
    assert "SLOWER: e on p is back after 9 s to 9.05 s (RTO) in the latest 5 runs, 3 s to 3.05 s in the 15" in lines
    said = report.as_json(told)
    assert (said["recovery"], said["rto"]["slower"]) == (None, True)
    assert history.measured(disaster(1, 3)) == ("RPO 500–700 ms", "RTO 3–3.05 s")
