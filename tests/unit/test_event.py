"""Events: one line of JSON each, enough to revert."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from tests.property.simulation.plans import plan
from tests.property.simulation.writing import clock, look, prepared, started
from veloz_chaos.core import event as ev


def test_a_line_says_what_happened_and_when_by_both_clocks() -> None:
    line = ev.write(ev.BaselineBegan(at=5, wall=1.5))
    assert json.loads(line) == {"at": 5, "wall": 1.5, "event": "baseline-began"}


def test_the_first_event_brings_the_whole_plan_back() -> None:
    made = plan(
        held=True, while_={"detected": {"always": ["refused", {"any-of": ["down", "not healthy"]}]}}, keeps=["orders"]
    )
    read = ev.read(ev.write(started(made, 0)))
    assert isinstance(read, ev.RunStarted)
    assert read.plan == made


def test_an_event_of_no_known_kind_or_with_more_than_it_may_say_is_refused() -> None:
    for line in (
        "{}",
        "",
        '{"at":1,"wall":1.0,"event":"fault-vanished"}',
        '{"at":1,"wall":1.0,"event":"baseline-began","x":1}',
    ):
        with pytest.raises(ValidationError):
            ev.read(line)


@pytest.mark.parametrize("text", ["a\nb", "\u2028 \x85", "\x00", "\udc80 half a character", '{"a": 1}', "naïve 🙂"])
def test_any_text_is_one_line(text: str) -> None:
    line = ev.write(ev.RunnerFailed(error=text, **clock(1)))
    assert "\n" not in line
    assert '"event":"runner-failed"' in line
    read = ev.read(line.encode())
    assert isinstance(read, ev.RunnerFailed)
    assert read.error == text.replace("\udc80", "\ufffd")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_json_has_no_word_for_is_kept_as_text_and_not_lost(value: float) -> None:
    read = ev.read(ev.write(look("balance", 1, 2, "+", value=value)))
    assert isinstance(read, ev.LookTaken)
    assert read.value == str(value)


def test_open_is_what_was_prepared_held_and_never_cleared_newest_first() -> None:
    first, second = prepared(True, 1, "f1"), prepared(True, 2, "f2")
    assert ev.open_faults([first, second]) == [second, first]
    assert ev.open_faults([first, second, ev.FaultCleared(fault="f2", by="runner", **clock(3))]) == [first]
    assert ev.open_faults([prepared(False, 1)]) == []
