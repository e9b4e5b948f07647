"""A manual step at the terminal: what to do is told, Enter confirms; without a terminal a command does."""

from __future__ import annotations

import os
import pty
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.property.simulation.plans import plan
from tests.property.simulation.writing import clock, started
from veloz_chaos.cli import drill, operator
from veloz_chaos.core import event as ev
from veloz_chaos.core.experiment import Manual
from veloz_chaos.core.plan import PlannedStep
from veloz_chaos.engine import confirm
from veloz_chaos.errors import UsageError
from veloz_chaos.reports.minutes import minutes

MANUAL = Manual.model_validate({"do": "Declare the disaster", "by": "commander", "within": "15m"})


@pytest.fixture
def waiting(tmp_path: Path) -> tuple[Path, list[ev.Event]]:
    """A run's folder, and the events of one that waits for its manual step."""
    made = plan(held=False).model_copy(update={"steps": [PlannedStep(name="declare", manual=MANUAL)]})
    first = started(made, 0)
    events: list[ev.Event] = [first, ev.StepBegan(step="declare", deadline=9, **clock(1))]
    folder = tmp_path / "runs" / f"20260101T000000Z-x-{first.run}"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_text("".join(ev.write(event) + "\n" for event in events))
    return folder, events


def until_confirmed(folder: Path) -> str:
    deadline = time.monotonic() + 5
    while not confirm.place(folder, "declare").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return confirm.who(confirm.place(folder, "declare"))


def test_enter_confirms(
    waiting: tuple[Path, list[ev.Event]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, events = waiting
    master, slave = pty.openpty()
    heard: list[ev.Event] = []
    with os.fdopen(slave) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(operator, "name", lambda: "ada")
        person = operator.Operator(folder.parent, heard.append)
        for event in events:
            person(event)
        os.write(master, b"\n")
        assert until_confirmed(folder) == "ada"
    os.close(master)
    assert heard == events
    told = capsys.readouterr().err
    assert told == "declare: Declare the disaster\n  commander, within 15m; press Enter when it is done\n"


def test_without_a_terminal_the_command_is_told_and_does_it(
    waiting: tuple[Path, list[ev.Event]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, events = waiting
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        person = operator.Operator(folder.parent, lambda _: None)
        for event in events:
            person(event)
        time.sleep(0.2)
    command = f"veloz-chaos drill confirm {folder.name.rpartition('-')[2]} declare --runs {folder.parent}"
    assert command in capsys.readouterr().err
    assert drill.confirm(folder.name, "declare", by="Ada Lovelace", runs=folder.parent) == 0
    assert until_confirmed(folder) == "Ada Lovelace"


def test_a_file_made_by_hand_confirms_too(tmp_path: Path) -> None:
    (tmp_path / "x.confirmed").touch()
    assert confirm.who(tmp_path / "x.confirmed") == "somebody"


def test_no_such_run_or_step(waiting: tuple[Path, list[ev.Event]]) -> None:
    folder, _ = waiting
    with pytest.raises(UsageError, match="there is no run `nowhere`"):
        drill.confirm("nowhere", "declare", runs=folder.parent)
    with pytest.raises(UsageError, match="`restore` is no manual step of this run; its manual steps: declare"):
        drill.confirm(folder.name, "restore", runs=folder.parent)


def test_a_strike_that_waits_for_a_go_is_no_manual_step(waiting: tuple[Path, list[ev.Event]]) -> None:
    folder, events = waiting
    asked = ev.GoAsked(name="lose", faults=["f1"], deadline=9, **clock(2))
    (folder / "journal.jsonl").write_text("".join(f"{ev.write(event)}\n" for event in [*events, asked]))
    with pytest.raises(UsageError, match=r"its manual steps: declare; a go is waited for: lose$"):
        drill.confirm(folder.name, "los", runs=folder.parent)


@pytest.mark.parametrize(
    ("by", "said"),
    [("mallory", "; carol was to confirm it\n"), ("carol", "\n"), ("Carol@example.com", "\n")],
)
def test_who_was_to_confirm_is_told_if_somebody_else_does(
    waiting: tuple[Path, list[ev.Event]], capsys: pytest.CaptureFixture[str], by: str, said: str
) -> None:
    folder, events = waiting
    who: dict[str, Any] = {"sha256": "0", "executor": "alice", "person": "alice", "needed": 0, "approvals": []}
    approved = ev.RunApproved(document='{"roles":{"commander":"carol"}}', **who, **clock(0))
    whole = [events[0], approved, events[1]]
    (folder / "journal.jsonl").write_text("".join(f"{ev.write(event)}\n" for event in whole))
    assert drill.confirm(folder.name, "declare", by=by, runs=folder.parent) == 0
    assert capsys.readouterr().out.endswith(f"declare is confirmed by {by}{said}")
    ended = ev.StepEnded(step="declare", outcome="done", confirmed=by, **clock(2))
    instead = " (carol was to confirm it)" if by == "mallory" else ""
    assert minutes([*whole, ended])[-1].endswith(f"step declare done by {by}{instead}")


def test_a_go_is_asked_for_and_given_by_enter_or_elsewhere(
    waiting: tuple[Path, list[ev.Event]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, (first, *_) = waiting
    asked = ev.GoAsked(name="declare", faults=["f1"], deadline=9, **clock(1))
    (folder / "journal.jsonl").write_text(f"{ev.write(first)}\n{ev.write(asked)}\n")
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        person = operator.Operator(folder.parent, lambda _: None)
        person(first)
        person(asked)
        deadline = time.monotonic() + 5
        said = ""
        while "--no-go" not in said:
            assert time.monotonic() < deadline
            said += capsys.readouterr().err
    assert "go or no-go for declare: " in said
    confirm.confirm(folder, "declare", "ada", go=False)
    assert confirm.word(confirm.place(folder, "declare")) == ("ada", False)
    confirm.confirm(folder, "declare", "ada")
    assert confirm.word(confirm.place(folder, "declare")) == ("ada", True)
    confirm.place(folder, "declare").write_text("rubbish")
    assert confirm.word(confirm.place(folder, "declare")) == ("somebody", False)
    (folder / "journal.jsonl").write_text(f"{ev.write(first)}\n")
    with pytest.raises(UsageError, match="nothing waits for a go"):
        confirm.confirm(folder, "declare", "ada", go=False)
