"""A verdict never says more than the looks prove: passed and failed are true of the system, whatever was drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.property.simulation.plans import SIGNALS, STEADY, limits
from tests.property.simulation.profile import few, many
from tests.property.simulation.runs import World, at, journal
from tests.property.simulation.truth import BAD, GOOD, Timeline, stretches
from tests.property.simulation.worlds import (
    DETECTION,
    RECOVERY,
    START,
    milliseconds,
    noticing,
    resolution,
    until,
    wavering,
    wavering_slowly,
    worlds,
)
from tests.property.simulation.writing import MS
from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.core.judge import Finding, Judgement, judge

UNSEEN = Timeline(BAD)
UNHURT = Timeline(GOOD)


def judged(world: World) -> Judgement:
    return judge(of(journal(world)))


def finding(judgement: Judgement, name: str) -> Finding:
    return next(finding for finding in judgement.findings if finding.expectation == name)


def verdicts(world: World) -> tuple[str, str]:
    judgement = judged(world)
    return finding(judgement, "detection").verdict, finding(judgement, "recovery").verdict


def with_truth(world: World, **changed: Any) -> World:
    truth = replace(world.truth, **changed)
    return replace(world, truth=truth, end=max(world.end, until(truth)))


@given(worlds())
@many
def test_what_passes_is_within_its_limit_and_what_fails_is_not(world: World) -> None:
    detection, recovery = verdicts(world)
    noticed, mended = world.truth.time_to_detect, world.truth.time_to_recover
    assert not (detection == "passed" and noticed > DETECTION * MS)
    assert not (detection == "failed" and noticed <= DETECTION * MS)
    assert not (recovery == "passed" and mended > RECOVERY * MS)
    assert not (recovery == "failed" and mended <= RECOVERY * MS)


@given(worlds(probes=wavering))
@many
def test_a_system_that_wavers_passes_only_if_its_last_recovery_was_in_time(world: World) -> None:
    detection, recovery = verdicts(world)
    assert not (detection == "passed" and world.truth.time_to_detect > DETECTION * MS)
    assert not (recovery == "passed" and world.truth.time_to_recover > RECOVERY * MS)
    assert not (recovery == "failed" and world.truth.time_to_recover <= RECOVERY * MS)


@given(worlds(probes=wavering_slowly), st.floats(0, 0.6), milliseconds(500, 4000), milliseconds(100, 2500))
@many
def test_lost_looks_and_a_stalled_loop_never_make_a_pass(world: World, lost: float, since: int, length: int) -> None:
    gaze = replace(world.gaze, lost=lost, stall=(START + since, START + since + length))
    world = replace(world, gaze=gaze, end=world.end + length)
    detection, recovery = verdicts(world)
    assert not (detection == "passed" and world.truth.time_to_detect > DETECTION * MS)
    assert not (recovery == "passed" and world.truth.time_to_recover > RECOVERY * MS)


@given(worlds(), milliseconds(1, 3000), milliseconds(1, 3000))
@many
def test_a_slower_system_never_passes_where_a_faster_one_failed(world: World, notices: int, mends: int) -> None:
    def later(line: Timeline, by: int, first: int = 0) -> Timeline:
        return replace(
            line, changes=tuple((when + (by if n >= first else 0), s) for n, (when, s) in enumerate(line.changes))
        )

    slower = with_truth(
        world,
        steady={name: later(line, mends, 1) for name, line in world.truth.steady.items()},
        signals={name: later(line, notices) for name, line in world.truth.signals.items()},
    )
    fast, slow = verdicts(replace(world, end=slower.end)), verdicts(slower)
    assert ("failed", "passed") not in set(zip(fast, slow, strict=True))


@given(worlds())
@few
def test_a_fault_that_is_not_in_place_leaves_everything_open(world: World) -> None:
    lifted = world.truth.fault.lifted and world.end * 2
    never = replace(world.truth.fault, struck=world.end * 2, lifted=lifted)
    events = journal(replace(world, truth=replace(world.truth, fault=never)))
    judgement = judge(of(events))
    assert {f.verdict for f in judgement.findings if f.expectation != "reverted"} == {"inconclusive"}
    assert judgement.verdict == "inconclusive"


@given(worlds(kinds=[True]))
@few
def test_a_fault_that_is_masked_fails(world: World) -> None:
    judgement = judged(with_truth(world, steady=dict.fromkeys(STEADY, UNHURT)))
    assert (judgement.verdict, finding(judgement, "impact").reason[:6]) == ("failed", "masked")


@given(worlds(impact="none"))
@few
def test_no_impact_passes_where_none_is_expected_and_an_impact_fails(world: World) -> None:
    assert finding(judged(with_truth(world, steady=dict.fromkeys(STEADY, UNHURT))), "impact").verdict == "passed"
    assert finding(judged(world), "impact").verdict == "failed"


@given(worlds(), st.sampled_from([DETECTION, None]))
@few
def test_a_system_that_heals_unseen_fails(world: World, limit: int | None) -> None:
    world = replace(world, plan=world.plan.model_copy(update={"limits": limits(limit, RECOVERY)}))
    judgement = judged(with_truth(world, signals=dict.fromkeys(SIGNALS, UNSEEN)))
    assert finding(judgement, "detection").verdict == "failed"
    assert "healed unseen" in finding(judgement, "detection").reason


@given(worlds(kinds=[True]), st.sampled_from(SIGNALS))
@few
def test_a_signal_that_is_lost_while_the_system_is_broken_has_flapped(world: World, name: str) -> None:
    least, fault = resolution(world.gaze), world.truth.fault
    assert fault.lifted is not None
    assume(fault.lifted - fault.struck > 5 * least)
    flaps = stretches(BAD, fault.struck, [(GOOD, least), (BAD, 2 * least)], GOOD)
    broken = stretches(GOOD, fault.struck, [(BAD, 6 * least)], GOOD)
    world = with_truth(
        world, steady=dict.fromkeys(STEADY, broken), signals={**dict.fromkeys(SIGNALS, UNSEEN), name: flaps}
    )
    assert (finding(judged(world), "detection").verdict, "flapped" in finding(judged(world), "detection").reason) == (
        "failed",
        True,
    )


@given(worlds(), milliseconds(0, 1500))
@few
def test_a_relapse_after_a_full_hold_moves_the_recovery_and_is_counted(world: World, later: int) -> None:
    least = resolution(world.gaze)
    rest = world.gaze.tick + 501 * MS + world.gaze.longest * 2 + later // 4
    line = stretches(GOOD, world.truth.fault.struck, [(BAD, least), (GOOD, rest), (BAD, least)], GOOD)
    world = with_truth(world, steady=dict.fromkeys(STEADY, line))
    found = judged(world).measurement
    assert found.relapses == 1
    assert found.recovery is not None and found.recovery.holds(world.truth.recovery)


@given(worlds(), st.integers(0, 1000), st.sampled_from(STEADY))
@few
def test_a_gap_of_more_than_three_periods_in_the_hold_leaves_the_recovery_open(
    world: World, share: int, probe: str
) -> None:
    events = journal(world)
    recovery = judge(of(events)).measurement.recovery
    assert recovery is not None
    ended = world.truth.fault.revert_returned or 0
    gap = 3 * world.gaze.period + 1
    assume(gap < 500 * MS)
    first = max(int(recovery.at_most), ended) + 1 + share * max(0, 500 * MS - gap) // 1000
    left = [
        e for e in events if not (isinstance(e, ev.LookTaken) and e.probe == probe and first <= e.asked <= first + gap)
    ]
    assert finding(judge(of(left)), "recovery").verdict in ("failed", "inconclusive")
    assert finding(judge(of(events)), "recovery").verdict != "failed" or world.truth.time_to_recover > RECOVERY * MS


@given(worlds(), milliseconds(0, 6000))
@few
def test_a_clock_that_jumps_leaves_everything_open(world: World, when: int) -> None:
    moment = world.truth.fault.called + when
    judgement = judged(
        replace(world, extra=(ev.ClockJumped(since=moment - MS, **at(moment)),), end=max(world.end, moment + 1))
    )
    assert {f.verdict for f in judgement.findings if f.expectation != "reverted"} == {"inconclusive"}


@st.composite
def too_soon(draw: st.DrawFn, fault: Any, gaze: Any) -> Timeline:
    """A signal that was there before the fault, for long enough to be seen, and stays or goes."""
    ahead = resolution(gaze) + draw(milliseconds(0, 50))
    return stretches(BAD, fault.called - ahead, [(GOOD, ahead + draw(milliseconds(0, 3000)))], BAD)


@given(worlds(signals=too_soon))
@few
def test_a_signal_that_was_shown_before_the_fault_proves_nothing(world: World) -> None:
    assert finding(judged(world), "detection").verdict == "inconclusive"


@given(worlds(placebo=True, signals=noticing), st.booleans(), st.booleans())
@few
def test_a_placebo_passes_only_if_nothing_is_noticed_and_nothing_hurts(world: World, noticed: bool, hurt: bool) -> None:
    seen = stretches(BAD, world.truth.fault.called, [(GOOD, resolution(world.gaze))], BAD)
    world = with_truth(
        world,
        steady=world.truth.steady if hurt else dict.fromkeys(STEADY, UNHURT),
        signals=dict.fromkeys(SIGNALS, seen if noticed else UNSEEN),
    )
    judgement = judged(world)
    assert finding(judgement, "placebo: no detection").verdict == ("failed" if noticed else "passed")
    assert finding(judgement, "placebo: no impact").verdict == ("failed" if hurt else "passed")


@given(worlds(kinds=[True]), st.booleans())
@few
def test_a_recovery_in_place_counts_as_nothing_only_if_it_survives_the_revert(world: World, survives: bool) -> None:
    least, fault = resolution(world.gaze), world.truth.fault
    assert fault.lifted is not None
    again = [] if survives else [(GOOD, fault.lifted - fault.struck - least), (BAD, least)]
    line = stretches(GOOD, fault.struck, [(BAD, least), *again], GOOD)  # type: ignore[list-item]
    found = judged(with_truth(world, steady=dict.fromkeys(STEADY, line))).measurement.time_to_recover
    assert found is not None and not math.isinf(found.at_most)
    assert (found.at_least == 0 and found.at_most == 0) == survives
