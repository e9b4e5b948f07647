"""What is measured always holds the truth, and is no wider than the looking makes it."""

from __future__ import annotations

import math

from hypothesis import given

from tests.property.simulation.looking import Gaze
from tests.property.simulation.profile import few, many
from tests.property.simulation.runs import HOLDING, PRESENCE_LATENCY, World, history, journal
from tests.property.simulation.truth import Truth
from tests.property.simulation.worlds import wavering, worlds
from veloz_chaos.core.history import of
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.judge import judge
from veloz_chaos.core.measure import Measurement, measure


def holds(interval: Interval | None, truth: float) -> bool:
    return interval is not None and interval.holds(truth)


def assert_true(m: Measurement, truth: Truth) -> None:
    fault = truth.fault
    assert holds(m.began, fault.struck)
    assert fault.lifted is None or holds(m.ended, fault.lifted)
    assert holds(m.detection, truth.detection)
    assert holds(m.impact, truth.impact)
    assert holds(m.recovery, truth.recovery)
    assert holds(m.time_to_detect, truth.time_to_detect)
    assert holds(m.time_to_recover, truth.time_to_recover)
    assert holds(m.time_to_impact, max(0, truth.impact - fault.struck))
    assert holds(m.time_to_detect_from_impact, max(0, truth.detection - truth.impact))


@given(worlds())
@many
def test_the_truth_of_a_system_that_breaks_and_mends_once_lies_inside(world: World) -> None:
    assert_true(measure(history(world)), world.truth)


@given(worlds(probes=wavering))
@many
def test_the_truth_of_a_system_that_wavers_or_never_mends_lies_inside(world: World) -> None:
    assert_true(measure(history(world)), world.truth)


@given(worlds(kinds=[True], early=True))
@few
def test_the_end_of_a_fault_that_ends_by_itself_lies_inside(world: World) -> None:
    m = measure(history(world))
    assert holds(m.ended, world.truth.fault.lifted or 0)
    assert holds(m.time_to_recover, world.truth.time_to_recover)
    assert m.early


@given(worlds())
@many
def test_no_interval_is_wider_than_the_looks_around_it(world: World) -> None:
    m, gaze = measure(history(world)), world.gaze
    assert m.began is not None
    assert m.began.width <= 150_000_000 + 3 * PRESENCE_LATENCY
    assert m.ended is None or m.ended.width <= HOLDING + 60_000_000 + 3 * PRESENCE_LATENCY
    for interval in (m.impact, m.recovery, m.detection):
        assert interval is not None
        assert math.isinf(interval.at_most) or interval.width <= widest(gaze)


def widest(gaze: Gaze) -> int:
    """One look on either side, each one period away and one answer long."""
    return 2 * gaze.tick + 2 * gaze.longest + gaze.latency


@given(worlds(probes=wavering))
@few
def test_a_clock_that_started_earlier_changes_nothing(world: World) -> None:
    by = 86_400_000_000_000
    here, there = judge(of(journal(world))), judge(of(journal(world.shifted(by))))
    assert here.findings == there.findings
    assert here.measurement.time_to_recover == there.measurement.time_to_recover
