"""Is a held fault still there? Two looks that did not find it say no."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from veloz_chaos.core import event as ev
from veloz_chaos.core.history import History
from veloz_chaos.engine.run import Run


def lost_after(
    monkeypatch: pytest.MonkeyPatch, *outcomes: str, history: History | None = None, lost: bool = True
) -> int:
    """So many looks until it was told to be lost, or no longer looked at."""
    monkeypatch.setattr("veloz_chaos.engine.run.HELD_EVERY", 0)
    left: Iterator[str] = iter(outcomes)
    told: list[ev.Event] = []

    async def look_at(_: Any) -> str:
        return next(left)

    run = SimpleNamespace(history=history or History(), emit=told.append, _look_at=look_at)
    asyncio.run(Run.still_there(run, SimpleNamespace(id="f1")))  # type: ignore[arg-type]
    assert [type(event) for event in told] == [ev.FaultLost] * lost
    return len(outcomes) - len(list(left))


def test_what_is_being_taken_out_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History()
    history.fault("f1").revert_began = 1
    assert lost_after(monkeypatch, "not-shown", "not-shown", history=history, lost=False) == 1


def test_a_look_that_finds_it_makes_good_one_that_did_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lost_after(monkeypatch, "shown", "not-shown", "shown", "not-shown", "not-shown", "shown") == 5


def test_a_look_without_an_answer_makes_good_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lost_after(monkeypatch, "shown", "not-shown", "unanswered", "not-shown", "shown") == 4
