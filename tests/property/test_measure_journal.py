"""A journal may be cut anywhere: what is left can be read, reverted and judged, and never passes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.property.simulation.plans import plan
from tests.property.simulation.profile import few, many
from tests.property.simulation.runs import World, journal
from tests.property.simulation.worlds import wavering, worlds
from tests.property.simulation.writing import look, presence, started
from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.core.judge import judge

#: Everything that Python calls text, halves of surrogate pairs too.
anything = st.text(st.characters(codec=None, exclude_categories=()))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=8,
)


def cuts(events: list[ev.Event], share: float) -> list[ev.Event]:
    return events[: 1 + round(share * (len(events) - 2))]


@given(worlds(probes=wavering), st.floats(0, 1))
@many
def test_a_cut_journal_never_passes_and_is_always_judged(world: World, share: float) -> None:
    judgement = judge(of(cuts(journal(world), share)))
    assert judgement.verdict in ("failed", "inconclusive")


@given(worlds(), st.floats(0, 1))
@many
def test_what_a_cut_journal_says_failed_fails_in_the_whole_one_too(world: World, share: float) -> None:
    whole = {f.expectation: f.verdict for f in judge(of(journal(world))).findings}
    cut = judge(of(cuts(journal(world), share))).findings
    assert all(whole[f.expectation] == "failed" for f in cut if f.verdict == "failed" and f.expectation == "detection")
    assert all(whole[f.expectation] != "passed" for f in cut if f.verdict == "failed" and f.expectation == "impact")


@given(worlds(kinds=[True]), st.floats(0, 1))
@few
def test_whatever_was_begun_and_not_cleared_can_be_reverted_from_any_cut(world: World, share: float) -> None:
    events = cuts(journal(world), share)
    begun = {event.fault for event in events if isinstance(event, ev.InjectionBegan)}
    cleared = {event.fault for event in events if isinstance(event, ev.FaultCleared)}
    found = {fault.fault for fault in ev.open_faults(events)}
    assert begun - cleared <= found
    assert not found & cleared


@given(worlds(kinds=[False]), st.floats(0, 1))
@few
def test_what_strikes_once_is_never_open(world: World, share: float) -> None:
    assert ev.open_faults(cuts(journal(world), share)) == []


@given(worlds(probes=wavering))
@few
def test_a_run_says_the_same_after_it_was_written_and_read(world: World) -> None:
    events = journal(world)
    again = [ev.read(ev.write(event).encode()) for event in events]
    assert again == events
    assert judge(of(again)) == judge(of(events))


@given(anything, anything, values)
@many
def test_any_text_and_any_value_is_one_line_that_reads_as_it_was_kept(reason: str, name: str, value: Any) -> None:
    event = look(name, 1, 2, "+", reason=reason, value=value)
    line = ev.write(event)
    assert "\n" not in line and line.encode()
    read = ev.read(line)
    assert isinstance(read, ev.LookTaken)
    assert read.value == event.value
    assert (value is None) == (read.value is None)
    assert ev.write(read) == ev.write(ev.read(ev.write(read)))


@given(anything)
@few
def test_text_that_is_unicode_survives_as_it_was(text: str) -> None:
    sound = text.encode("utf-8", "replace").decode()
    event = presence(1, 2, "+").model_copy(update={"evidence": sound})
    assert ev.read(ev.write(event)) == event


def test_a_journal_without_a_plan_is_refused() -> None:
    try:
        judge(of([]))
    except ValueError as error:
        assert "no plan" in str(error)
    assert judge(of([started(plan(), 0)])).verdict == "inconclusive"
