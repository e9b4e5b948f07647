"""When the run has seen enough: never before all is decided, and always at last."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.property.simulation.plans import SIGNALS, STEADY, limits
from tests.property.simulation.profile import few
from tests.property.simulation.runs import World, live, unended
from tests.property.simulation.truth import BAD, GOOD, Timeline, stretches
from tests.property.simulation.worlds import (
    DETECTION,
    HOLD,
    RECOVERY,
    SETTLE,
    START,
    milliseconds,
    noticing,
    planned_for,
    resolution,
    wavering,
    worlds,
)
from tests.property.simulation.writing import MS
from veloz_chaos.core.decide import hold_over
from veloz_chaos.core.history import History, of
from veloz_chaos.core.judge import judge
from veloz_chaos.core.measure import measure

#: Twice the limit or ten seconds beyond it, the proof of a late recovery, and what looking and ticks take.
PATIENCE = (RECOVERY + 10_000 + SETTLE + 1_500) * MS


def longer(world: World) -> World:
    return replace(
        world, end=max(world.end, (world.truth.fault.revert_returned or world.truth.fault.struck) + PATIENCE)
    )


@given(worlds(probes=wavering))
@few
def test_the_watch_never_ends_before_detection_is_decided_and_the_system_has_settled(world: World) -> None:
    events, over = live(longer(world))
    assert over is not None
    m = measure(of(events))
    assert m.began is not None
    assert m.detected or over > m.began.at_most + DETECTION * MS
    assert m.impact is not None or over > m.began.at_most + DETECTION * MS
    settled = m.recovery is not None and over >= max(m.recovery.at_most, (m.ended or m.began).at_most) + SETTLE * MS
    assert settled or over > (m.ended or m.began).at_most + 2 * RECOVERY * MS


@given(worlds(), st.booleans())
@few
def test_the_watch_of_a_system_that_never_recovers_ends(world: World, noticed: bool) -> None:
    broken = stretches(GOOD, world.truth.fault.struck, [(BAD, MS)], BAD)
    signals = world.truth.signals if noticed else dict.fromkeys(SIGNALS, Timeline(BAD))
    world = longer(replace(world, truth=replace(world.truth, steady=dict.fromkeys(STEADY, broken), signals=signals)))
    events, over = live(world)
    assert over is not None
    found = {f.expectation: f.verdict for f in judge(of(events)).findings}
    assert found["recovery"] == "failed"


@given(worlds(), st.sampled_from([DETECTION, 6000]))
@few
def test_what_ended_by_itself_leaves_nothing_open_of_a_healthy_system(world: World, limit: int) -> None:
    world = replace(world, plan=world.plan.model_copy(update={"limits": limits(limit, RECOVERY)}))
    events, over = live(longer(world))
    assert over is not None
    judgement = judge(of(events))
    for finding in judgement.findings:
        astride = finding.limit is not None and finding.measured is not None and finding.measured.holds(finding.limit)
        assert finding.verdict != "inconclusive" or (astride and not math.isinf(finding.measured.at_most))  # type: ignore[union-attr]


@given(worlds())
@few
def test_a_recovery_just_before_giving_up_is_still_proven(world: World) -> None:
    late = stretches(GOOD, world.truth.fault.struck, [(BAD, 4000 * MS)], GOOD)
    world = replace(world, plan=world.plan.model_copy(update={"limits": limits(DETECTION, None, 4200)}))
    world = longer(replace(world, truth=replace(world.truth, steady=dict.fromkeys(STEADY, late))))
    found = {f.expectation: f.verdict for f in judge(of(live(world)[0])).findings}
    assert found["recovery"] in ("passed", "inconclusive" if world.truth.time_to_recover > 3600 * MS else "passed")


@given(worlds(placebo=True))
@few
def test_a_placebo_is_watched_for_the_detection_limit_and_the_settling(world: World) -> None:
    healthy = replace(
        world.truth, steady=dict.fromkeys(STEADY, Timeline(GOOD)), signals=dict.fromkeys(SIGNALS, Timeline(BAD))
    )
    events, over = live(longer(replace(world, truth=healthy)))
    assert over is not None and over >= world.truth.fault.called + (DETECTION + SETTLE) * MS - MS
    assert judge(of(events)).verdict == "passed"


@given(worlds(kinds=[True], until_decided=True), milliseconds(0, 1200))
@few
def test_a_fault_is_lifted_only_when_what_needs_it_is_decided(world: World, delay: int) -> None:
    fault = replace(world.truth.fault, lifted=world.end * 2, revert_called=None, revert_returned=None)
    shown = stretches(BAD, fault.struck + delay, [(GOOD, 60_000 * MS)], BAD)
    broken = stretches(GOOD, fault.struck, [(BAD, 60_000 * MS)], GOOD)
    truth = replace(
        world.truth, fault=fault, steady=dict.fromkeys(STEADY, broken), signals=dict.fromkeys(SIGNALS, shown)
    )
    world = replace(world, truth=truth, end=fault.struck + 5000 * MS)
    over = first_over(world)
    assert over is not None
    assert over >= fault.struck + delay + HOLD * MS - MS
    assert over <= fault.struck + delay + HOLD * MS + 3 * resolution(world.gaze) + 300 * MS


@given(worlds(kinds=[True], until_decided=True))
@few
def test_a_fault_that_nobody_notices_is_lifted_when_its_limit_has_passed(world: World) -> None:
    fault = replace(world.truth.fault, lifted=world.end * 2, revert_called=None, revert_returned=None)
    nothing = replace(
        world.truth,
        fault=fault,
        steady=dict.fromkeys(STEADY, Timeline(GOOD)),
        signals=dict.fromkeys(SIGNALS, Timeline(BAD)),
    )
    world = replace(world, truth=nothing, end=fault.struck + 5000 * MS)
    over = first_over(world)
    assert over is not None and fault.struck + DETECTION * MS < over < fault.struck + (DETECTION + 1200) * MS


def first_over(world: World, tick: int = 50 * MS) -> int | None:
    history, due = History(), START
    for event in unended(world):
        while event.at >= due:
            if history.plan is not None and hold_over(world.plan, history, due):
                return due
            due += tick
        history.add(event)
    return None


@given(worlds(kinds=[True], signals=noticing))
@few
def test_a_fault_of_a_fixed_length_is_never_lifted_early(world: World) -> None:
    plan = planned_for(world.gaze, True, False)
    history = of(unended(replace(world, plan=plan)))
    assert not hold_over(plan, history, world.end)
