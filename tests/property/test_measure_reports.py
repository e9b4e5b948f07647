"""What a platform reports may come late, not at all, or be nonsense: intervals narrow and hold the truth, no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from tests.property.simulation.plans import FAULT
from tests.property.simulation.profile import few, many
from tests.property.simulation.runs import World, at, history
from tests.property.simulation.worlds import START, milliseconds, worlds
from tests.property.simulation.writing import MS
from veloz_chaos.core import event as ev
from veloz_chaos.core.capability import What
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.measure import Measurement, measure

WHATS: Sequence[What] = get_args(What)
KILLS = [False]


def report(what: What, instant: int) -> ev.TargetReported:
    return ev.TargetReported(fault=FAULT, what=what, kind="container", **at(instant))


def inside(narrow: Interval | None, wide: Interval | None) -> bool:
    if narrow is None or wide is None:
        return narrow is wide
    return wide.at_least <= narrow.at_least <= narrow.at_most <= wide.at_most


def both(world: World, *reports: ev.TargetReported) -> tuple[Measurement, Measurement]:
    """Without the reports, and with them."""
    return measure(history(world)), measure(history(replace(world, extra=reports)))


@given(worlds(kinds=KILLS), milliseconds(0, 3000))
@many
def test_a_report_of_the_death_whenever_it_arrives_keeps_the_truth_inside(world: World, late: int) -> None:
    struck = world.truth.fault.struck
    without, told = both(world, report("died", struck + late))
    assert told.began is not None
    assert told.began.holds(struck)
    assert told.began.at_most <= max(struck + late, world.truth.fault.called) or told.began == without.began
    assert told.time_to_recover is not None
    assert told.time_to_recover.holds(world.truth.time_to_recover)
    assert told.time_to_detect is not None
    assert told.time_to_detect.holds(world.truth.time_to_detect)


@given(worlds(), st.lists(st.tuples(st.sampled_from(WHATS), st.integers(-1000, 8000)), max_size=6))
@many
def test_whatever_is_reported_nothing_widens_inverts_or_moves_its_at_least(
    world: World, told: list[tuple[What, int]]
) -> None:
    without, heard = both(world, *(report(what, START + instant * MS) for what, instant in told))
    for narrow, wide in (
        (heard.began, without.began), (heard.ended, without.ended), (heard.detection, without.detection),
        (heard.impact, without.impact), (heard.recovery, without.recovery),
    ):  # fmt: skip
        assert inside(narrow, wide)
        assert narrow is None or wide is None or narrow.at_least == wide.at_least
    assert heard.in_place == without.in_place
    assert heard.relapses == without.relapses


@given(worlds(kinds=[True], early=True), milliseconds(0, 50))
@few
def test_the_death_of_a_target_under_a_held_fault_is_why_it_ended_early(world: World, late: int) -> None:
    fault = world.truth.fault
    assert fault.lifted is not None
    assert fault.revert_called is not None
    without, heard = both(world, report("died", fault.lifted + late))
    assert heard.ended == without.ended
    assert heard.early.startswith("the container died under the fault")
