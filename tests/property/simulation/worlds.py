"""The worlds that hypothesis draws: how the system takes the fault, and how it is looked at.

`resolution` is how long a state must last to be surely seen; what is shorter may be missed and is not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.property.simulation.looking import Gaze
from tests.property.simulation.plans import SIGNALS, STEADY, limits, plan
from tests.property.simulation.runs import BASELINE, World
from tests.property.simulation.truth import BAD, GOOD, HANGS, Fault, State, Timeline, Truth, stretches
from tests.property.simulation.writing import MS

START = 10_000 * MS
DETECTION, RECOVERY, HOLD, SETTLE = 1000, 2000, 500, 1000
BROKEN: tuple[State, ...] = (BAD, HANGS)


def milliseconds(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most).map(lambda value: value * MS)


@st.composite
def gazes(draw: st.DrawFn) -> Gaze:
    """Slow answers overlap."""
    return Gaze(
        period=draw(st.sampled_from([50, 100])) * MS,
        latency=draw(st.sampled_from([5, 40, 150])) * MS,
        timeout=draw(st.sampled_from([150, 200])) * MS,
    )


def resolution(gaze: Gaze) -> int:
    return gaze.tick + gaze.longest + MS


@st.composite
def faults(draw: st.DrawFn, held: bool, at_once: bool, *, early: bool = False) -> Fault:
    called = START + BASELINE + draw(milliseconds(0, 99))
    took = draw(milliseconds(1, 80))
    struck = called + draw(milliseconds(0, took // MS if at_once else 150))
    if not held:
        return Fault(called, called + took, struck)
    revert = called + draw(milliseconds(1500, 2500))
    lasted = draw(milliseconds(1, 60))
    lifted = revert + draw(milliseconds(0, lasted // MS))
    if early:
        lifted = struck + draw(milliseconds(300, 1000))
    return Fault(called, called + took, struck, lifted, revert, revert + lasted)


@st.composite
def transitions(draw: st.DrawFn, fault: Fault, gaze: Gaze) -> Timeline:
    """A probe that breaks once and mends once."""
    delay = draw(milliseconds(0, 300))
    length = resolution(gaze) + draw(milliseconds(0, 2500))
    return stretches(GOOD, fault.struck + delay, [(draw(st.sampled_from(BROKEN)), length)], GOOD)


@st.composite
def wavering(draw: st.DrawFn, fault: Fault, gaze: Gaze) -> Timeline:
    """A probe that breaks and mends several times, or never mends."""
    least = resolution(gaze)
    lengths: list[tuple[State, int]] = []
    for _ in range(draw(st.integers(1, 3))):
        lengths.append((draw(st.sampled_from(BROKEN)), least + draw(milliseconds(0, 800))))
        lengths.append((GOOD, least + draw(milliseconds(0, 900))))
    ends: list[State] = [GOOD, GOOD, BAD]
    then = draw(st.sampled_from(ends))
    return stretches(GOOD, fault.struck + draw(milliseconds(0, 300)), lengths, then)


@st.composite
def wavering_slowly(draw: st.DrawFn, fault: Fault, gaze: Gaze) -> Timeline:
    """The same, but each relapse is too long for a gap that is forgiven, and within the settling time."""
    least, lengths = 4 * gaze.tick + gaze.longest, list[tuple[State, int]]()
    for _ in range(draw(st.integers(1, 3))):
        lengths.append((draw(st.sampled_from(BROKEN)), least + draw(milliseconds(0, 800))))
        lengths.append((GOOD, draw(milliseconds(100, 700))))
    return stretches(GOOD, fault.struck, lengths, GOOD)


@st.composite
def noticing(draw: st.DrawFn, fault: Fault, gaze: Gaze) -> Timeline:
    """A signal that comes once and stays until long after, or never comes."""
    if draw(st.integers(0, 4)) == 0:
        return Timeline(BAD)
    delay = draw(milliseconds(0, 1800))
    return stretches(BAD, fault.struck + delay, [(GOOD, resolution(gaze) + draw(milliseconds(3000, 4000)))], BAD)


def until(truth: Truth, extra: int = 500) -> int:
    """When a watch has seen enough: settled after the recovery, or beyond every limit of a system that never does."""
    fault = truth.fault
    since = fault.struck if fault.revert_returned is None else fault.revert_returned + 500 * MS
    recovered = since if truth.recovery in (float("inf"), float("-inf")) else int(truth.recovery)
    late = since + (RECOVERY + 800) * MS if truth.recovery == float("inf") else 0
    last = max((at for line in truth.steady.values() for at, _ in line.changes), default=since)
    return max(recovered, since, last, fault.struck + (DETECTION + 800) * MS, late) + (SETTLE + extra) * MS


@st.composite
def worlds(
    draw: st.DrawFn,
    /,
    *,
    probes: Any = transitions,
    kinds: Sequence[bool] = (False, True),
    early: bool = False,
    signals: Any = noticing,
    **planned: Any,
) -> World:
    """One system, one fault, two steady-state probes and two signals; `kinds`: held or not."""
    gaze, held, at_once = draw(gazes()), draw(st.sampled_from(list(kinds))), draw(st.booleans())
    fault = draw(faults(held, at_once, early=early))
    truth = Truth(
        fault,
        {name: draw(probes(fault, gaze)) for name in STEADY},
        {name: draw(signals(fault, gaze)) for name in SIGNALS},
    )
    return World(
        planned_for(gaze, held, at_once, **planned), truth, gaze, START, until(truth), draw(st.integers(0, 2**32))
    )


def planned_for(gaze: Gaze, held: bool, at_once: bool, **more: Any) -> Any:
    looked: dict[str, Any] = {
        "period": gaze.period // MS,
        "timeout": gaze.timeout // MS,
        "hold": HOLD,
        "settle": SETTLE,
    }
    looked |= {"limits": limits(DETECTION, RECOVERY), "steady": STEADY, "signals": SIGNALS}
    return plan(held=held, at_once=at_once, **looked | more)
