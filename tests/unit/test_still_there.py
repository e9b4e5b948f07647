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


def lost_after(monkeypatch: pytest.MonkeyPatch, *outcomes: str) -> int:
    """So many looks until it was told to be lost."""
    monkeypatch.setattr("veloz_chaos.engine.run.HELD_EVERY", 0)
    left: Iterator[str] = iter(outcomes)
    told: list[ev.Event] = []

    async def look_at(_: Any) -> str:
        return next(left)

    run = SimpleNamespace(history=History(), emit=told.append, _look_at=look_at)
    asyncio.run(Run.still_there(run, SimpleNamespace(id="f1")))  # type: ignore[arg-type]
    assert [type(event) for event in told] == [ev.FaultLost]
    return len(outcomes) - len(list(left))


def test_a_look_that_finds_it_makes_good_one_that_did_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lost_after(monkeypatch, "shown", "not-shown", "shown", "not-shown", "not-shown", "shown") == 5


def test_a_look_without_an_answer_makes_good_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lost_after(monkeypatch, "shown", "not-shown", "unanswered", "not-shown", "shown") == 4
