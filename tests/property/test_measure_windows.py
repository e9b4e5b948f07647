"""Windows: what is said to hold always, eventually or never does, in all that is certain of the window."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.property.simulation.looking import Gaze
from tests.property.simulation.profile import few, many
from tests.property.simulation.runs import World, journal
from tests.property.simulation.truth import BAD, GOOD, HANGS, Fault, State, Timeline, stretches
from tests.property.simulation.worlds import START, milliseconds, resolution, worlds
from veloz_chaos.core import event as ev
from veloz_chaos.core.coverage import GAP_PERIODS
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.experiment import AnyOf
from veloz_chaos.core.history import History, of
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.measure import measure
from veloz_chaos.core.trace import UNANSWERED
from veloz_chaos.core.window import Ruling, interior, rule

WINDOWS = ("baseline", "fault", "detected", "reverted", "recovered")
STATES: tuple[State, ...] = (GOOD, BAD, HANGS)


@st.composite
def answering(draw: st.DrawFn, fault: Fault, gaze: Gaze) -> Timeline:
    """A probe of a window: any states, each long enough to be seen."""
    states: st.SearchStrategy[State] = st.sampled_from(STATES)
    length = milliseconds(0, 1200).map(lambda extra: extra + resolution(gaze))
    lengths: list[tuple[State, int]] = draw(st.lists(st.tuples(states, length), max_size=4))
    return stretches(draw(states), draw(st.sampled_from([START + 10, fault.struck])), lengths, draw(states))


def states_in(line: Timeline, window: Interval) -> set[State]:
    inside = {state for at, state in line.changes if window.at_least < at <= window.at_most}
    return {line.at(int(window.at_least)), *inside}


def judged(world: World, line: Timeline, name: str, quantifier: str, clause: str | AnyOf) -> tuple[Ruling, Interval]:
    truth = replace(world.truth, signals={**world.truth.signals, "refused": line})
    history = of(journal(replace(world, truth=truth)))
    window = interior(name, history, measure(history))
    assume(window is not None)
    assert window is not None
    return rule(clause, quantifier, window, history, world.plan), window  # type: ignore[arg-type]


@given(worlds(), st.data(), st.sampled_from(WINDOWS), st.booleans())
@many
def test_a_clause_passes_and_fails_only_as_the_truth_is(
    world: World, data: st.DataObject, name: str, negated: bool
) -> None:
    line = data.draw(answering(world.truth.fault, world.gaze))
    quantifier = data.draw(st.sampled_from(["always", "eventually", "never"]))
    ruling, window = judged(world, line, name, quantifier, "not refused" if negated else "refused")
    states = states_in(line, window)
    holds = states == {BAD if negated else GOOD}
    ever = (BAD if negated else GOOD) in states
    wide = window.width > 2 * resolution(world.gaze)
    match quantifier, ruling.verdict:
        case "always", "passed":
            assert holds or not wide or short_edges_only(line, window, world.gaze, {BAD if negated else GOOD})
        case "always", "failed":
            assert not holds
        case "eventually", "passed":
            assert ever
        case "eventually", "failed":
            assert not ever or short_edges_only(line, window, world.gaze, set(STATES) - {BAD if negated else GOOD})
        case "never", "passed":
            assert not ever or short_edges_only(line, window, world.gaze, set(STATES) - {BAD if negated else GOOD})
        case "never", "failed":
            assert ever


def short_edges_only(line: Timeline, window: Interval, gaze: Gaze, allowed: set[State]) -> bool:
    """Is all that contradicts too close to an edge of the window to be surely seen?"""
    edge = 3 * gaze.tick + 2 * gaze.longest
    return (
        window.width <= 2 * edge or states_in(line, Interval(window.at_least + edge, window.at_most - edge)) <= allowed
    )


@given(worlds(), st.sampled_from(WINDOWS), st.sampled_from(["always", "eventually", "never"]), st.booleans())
@few
def test_a_probe_that_never_answers_fails_what_was_promised_and_proves_nothing(
    world: World, name: str, quantifier: str, negated: bool
) -> None:
    ruling, _ = judged(world, Timeline(HANGS), name, quantifier, "not refused" if negated else "refused")
    assert ruling.verdict == ("inconclusive" if negated or quantifier == "never" else ruling.verdict)
    assert ruling.verdict != "passed"


@given(worlds(), st.sampled_from(WINDOWS), st.sampled_from(["always", "eventually", "never"]))
@few
def test_a_window_without_looks_is_inconclusive(world: World, name: str, quantifier: str) -> None:
    history = of(e for e in journal(world) if not (isinstance(e, ev.LookTaken) and e.probe == "refused"))
    window = interior(name, history, measure(history))
    assume(window is not None)
    assert window is not None
    assert rule("refused", quantifier, window, history, world.plan).verdict == "inconclusive"  # type: ignore[arg-type]


@given(worlds(), st.sampled_from(WINDOWS), st.booleans(), st.integers(0, 1000))
@few
def test_a_gap_of_more_than_three_periods_is_inconclusive(world: World, name: str, shown: bool, share: int) -> None:
    line = Timeline(GOOD if shown else BAD)
    events = journal(replace(world, truth=replace(world.truth, signals={**world.truth.signals, "refused": line})))
    window = interior(name, of(events), measure(of(events)))
    gap = 3 * world.gaze.period + 1
    assume(window is not None and window.width > gap)
    assert window is not None
    first = window.at_least + share * (window.width - gap) // 1000
    left = [
        e
        for e in events
        if not (isinstance(e, ev.LookTaken) and e.probe == "refused" and first <= e.asked <= first + gap)
    ]
    clause = "refused" if shown else "not refused"
    assert rule(clause, "always", window, of(left), world.plan).verdict == "inconclusive"
    assert rule(clause, "never", window, of(left), world.plan).verdict in ("failed", "inconclusive")


@given(worlds(), st.sampled_from(WINDOWS), st.booleans(), st.booleans())
@few
def test_of_any_the_best_counts_and_never_wants_none(world: World, name: str, one: bool, other: bool) -> None:
    lines = {"refused": Timeline(GOOD if one else BAD), "restarted": Timeline(GOOD if other else BAD)}
    history = of(journal(replace(world, truth=replace(world.truth, signals={**world.truth.signals, **lines}))))
    window = interior(name, history, measure(history))
    assume(window is not None and window.width > 2 * resolution(world.gaze))
    assert window is not None
    clause = AnyOf(any_of=list(lines))
    told = rule(clause, "eventually", window, history, world.plan).verdict
    if one or other:
        assert told == "passed"
    else:
        open_ = any(some(history, window, *lines) for some in (_under_way, _unanswered, _cut_off))
        assert told == "failed" or (told == "inconclusive" and open_)
    quiet = "inconclusive" if any(some(history, window, *lines) for some in (_unanswered, _cut_off)) else "passed"
    assert rule(clause, "never", window, history, world.plan).verdict == ("failed" if one or other else quiet)


def _under_way(history: History, window: Interval, *probes: str) -> bool:
    """A look whose answer came after the window may have been late for it: what it did not see proves nothing."""
    looks = [look for name in probes for look in history.trace(name).asked_in(window.at_least, window.at_most)]
    return any(look.answered > window.at_most for look in looks)


def _cut_off(history: History, window: Interval, *probes: str) -> bool:
    """The run ended while its last looks were under way: nobody knows what they saw."""
    assert history.plan is not None
    for name in probes:
        last = max(look.asked for look in history.trace(name).inside(window.at_least, window.at_most))
        if window.at_most - last > GAP_PERIODS * nanoseconds(history.plan.probes[name].every):
            return window.at_most >= history.last_at
    return False


def _unanswered(history: History, window: Interval, *probes: str) -> bool:
    """A look without an answer might have shown it: it proves neither a `never` nor that `eventually` fails."""
    looks = [look for name in probes for look in history.trace(name).inside(window.at_least, window.at_most)]
    return any(look.outcome == UNANSWERED for look in looks)
