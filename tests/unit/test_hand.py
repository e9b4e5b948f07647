"""When a fault counts as taken out."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from veloz_chaos.core import event as ev
from veloz_chaos.core.fault import Presence
from veloz_chaos.engine import hand
from veloz_chaos.errors import Unavailable


def taken_out(
    monkeypatch: pytest.MonkeyPatch, reverts: list[str], looks: list[bool | None]
) -> tuple[bool, list[ev.Event]]:
    """Each attempt and each look is the next of these, the last of them for ever; an attempt takes a tenth of a second
    if it fails, a text."""
    monkeypatch.setattr(hand, "UNMEASURED", 200_000_000)
    monkeypatch.setattr(hand, "CLEAN", 100_000_000)
    monkeypatch.setattr(hand, "REVERT_PATIENCE", 3_000_000_000)

    def revert(*_: object) -> None:
        if why := reverts.pop(0) if len(reverts) > 1 else reverts[0]:
            time.sleep(0.1)
            raise Unavailable(why)

    def in_place(*_: object) -> Presence:
        return Presence(looks.pop(0) if len(looks) > 1 else looks[0], "so it is")

    fault: Any = SimpleNamespace(revert=revert, in_place=in_place)
    target: Any = SimpleNamespace(leftovers=list, remains=str)
    told: list[ev.Event] = []
    return hand.take_out(hand.Hand("f", fault, target), "runner", told.append, ""), told


def since_it_worked(told: list[ev.Event]) -> list[ev.Event]:
    return told[max(n for n, event in enumerate(told) if isinstance(event, ev.RevertReturned)) + 1 :]


def test_a_look_from_before_a_revert_worked_says_nothing_of_what_came_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform was away for longer than an effect may be unmeasurable, and both are answered again."""
    closed, told = taken_out(monkeypatch, ["away"] * 4 + [""], [None] * 4 + [False])
    assert closed
    *looks, cleared = since_it_worked(told)
    assert [look.outcome for look in looks if isinstance(look, ev.PresenceLooked)] == ["not-shown"] * len(looks)
    assert len(looks) > 1
    assert isinstance(cleared, ev.FaultCleared)
    assert cleared.note == ""


def test_what_can_t_be_measured_any_more_is_closed_by_the_platform_s_word(monkeypatch: pytest.MonkeyPatch) -> None:
    closed, told = taken_out(monkeypatch, [""], [None])
    assert closed
    assert isinstance(told[-1], ev.FaultCleared)
    assert told[-1].note == "its effect can't be measured any more: so it is"
