"""What a journal holds open is taken out, whatever stands in the way of one fault or of the journal itself."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.engine.system import running
from veloz_chaos.core import event as ev
from veloz_chaos.engine import conduct, hand, journal
from veloz_chaos.engine import revert as of_revert
from veloz_chaos.engine.clock import moment
from veloz_chaos.engine.conduct import Request, planned
from veloz_chaos.engine.journal import Journal
from veloz_chaos.engine.revert import revert
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.errors import Unavailable
from veloz_chaos.registry import Registry
from veloz_chaos.targets import fake

EXPIRES = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand, "CLEAN", 0)


def left_by(folder: Path, *links: str, injected: bool = True, **changes: Any) -> Path:
    """The folder of a run whose runner was killed: an hour's latency on each link."""
    folder.mkdir(exist_ok=True)
    with running(folder) as system:
        started = conduct._started(planned(Request(system.experiment(), system.environment()), Registry()), "0a1b2c3d")
    journal_ = Journal.create(folder / "runs" / "one-0a1b2c3d", Secrets(), lambda _: None)
    journal_.append(started.model_copy(update={"pid": 1} | changes))
    for number, link in enumerate(links, start=1):
        sign = hand.signed(started.run, number)
        (target,) = fake.find(link, fake.Selector(id=link))
        target.delay(sign, timedelta(hours=1), timedelta(0), EXPIRES)
        journal_.append(_prepared(f"f{number}", target, sign))
        if injected:
            journal_.append(ev.InjectionBegan(fault=f"f{number}", **moment()))
    journal_.close()
    return journal_.folder


def _prepared(fault: str, target: fake.Fake, sign: str) -> ev.FaultPrepared:
    return ev.FaultPrepared(
        fault=fault,
        kind="latency",
        arguments={"delay": "1h"},
        reference=target.reference,
        receipt={"sign": sign, "undisturbed": 0.001, "threshold": 0.5},
        held=True,
        by_hand=f"forget {sign}",
        expires=0,
        **moment(),
    )


def disturbed(*links: str) -> list[bool]:
    return [bool(fake.WORLD[link].toxics) for link in links]


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        ({"boot_id": "another"}, "a process on far"),
        ({"api": "127.0.0.1:8474"}, "reached at 127.0.0.1:8474 on far"),
        ({"api": "localhost:8474"}, "reached at localhost:8474 on far"),
        ({"api": "[::1]:8474"}, "on far"),
        ({"api": "toxiproxy:8474"}, ""),
        ({}, ""),
    ],
)
def test_what_only_another_machine_can_see_is_not_called_gone_here(
    tmp_path: Path, links: tuple[str, str], identity: dict[str, Any], said: str
) -> None:
    """A proxy that listens at the same address of this machine is not the one that was hurt."""
    folder = left_by(tmp_path, *links, host="far")
    events = journal.read(folder)
    prepared = next(event for event in events if isinstance(event, ev.FaultPrepared))
    reference = prepared.reference.model_copy(update={"identity": prepared.reference.identity | identity})
    there = prepared.model_copy(update={"reference": reference})
    if not said:
        of_revert._refuse_elsewhere(there, events)
        return
    with pytest.raises(Unavailable, match=said):
        of_revert._refuse_elsewhere(there, events)


@pytest.fixture
def links() -> tuple[str, str]:
    return f"a-{uuid4().hex}", f"b-{uuid4().hex}"


@pytest.mark.parametrize("broken", ["backend", "fault"])
def test_whatever_one_raises_the_others_are_taken_out(tmp_path: Path, links: tuple[str, str], broken: str) -> None:
    """The newest one's backend has a bug, or its plug-in is not installed on this machine."""
    folder = left_by(tmp_path, *links)

    class Backend:
        @staticmethod
        def reopen(reference: Any) -> Any:
            if reference.name == links[1]:
                raise ZeroDivisionError("division by zero")
            return fake.reopen(reference)

    class Theirs(Registry):
        def backend(self, name: str) -> Any:
            return Backend if broken == "backend" else super().backend(name)

        def fault(self, name: str) -> Any:
            if name == "theirs":
                raise KeyError(name)
            return super().fault(name)

    if broken == "fault":
        path = folder / journal.FILE
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(one.replace('"latency"', '"theirs"') if '"f2"' in one else one for one in lines))
    (left,) = revert(folder, Theirs(), "revert")
    assert disturbed(*links) == [False, True]
    assert left.endswith("undo it with: forget vc-0a1b2c3d-2")
    assert ("ZeroDivisionError" in left) == (broken == "backend")
    ended = journal.read(folder)[-1]
    assert isinstance(ended, ev.RunEnded)
    assert ended.left == ["f2"]


@pytest.mark.parametrize("away", [3, 1000])
def test_a_platform_that_is_away_for_a_moment_keeps_no_fault_in_place(
    tmp_path: Path, links: tuple[str, str], monkeypatch: pytest.MonkeyPatch, away: int
) -> None:
    monkeypatch.setattr(of_revert, "REVERT_PATIENCE", 1_000_000_000)
    folder, asked = left_by(tmp_path, links[0]), list[str]()

    class Backend:
        @staticmethod
        def reopen(reference: Any) -> Any:
            asked.append(reference.name)
            if len(asked) <= away:
                raise Unavailable("it broke off")
            return fake.reopen(reference)

    class Theirs(Registry):
        def backend(self, name: str) -> Any:  # noqa: ARG002
            return Backend

    left = revert(folder, Theirs(), "guardian")
    assert disturbed(links[0]) == [bool(left)] == [away == 1000]
    assert not left or "it broke off; undo it with: forget vc-0a1b2c3d-1" in left[0]


def test_a_full_disk_keeps_no_fault_in_place(
    tmp_path: Path, links: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = left_by(tmp_path, *links)

    def full(self: Journal, event: ev.Event, *, sync: bool = False) -> None:  # noqa: ARG001
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", full)
        (left,) = revert(folder, Registry(), "guardian")
    assert disturbed(*links) == [False, False]
    assert "No space left on device" in left
    assert f"veloz-chaos revert {folder}" in left
    assert revert(folder, Registry(), "revert") == []
    assert journal.ended_clean(folder)


def test_a_journal_on_a_read_only_disk_is_enough_to_revert(
    tmp_path: Path, links: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = left_by(tmp_path, *links), os.open
    with (folder / journal.FILE).open("ab") as file:
        file.write(b'{"torn')

    def read_only(path: Any, flags: int, *more: Any) -> int:
        if str(path).endswith(journal.FILE) and flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, flags, *more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        (left,) = revert(folder, Registry(), "revert")
    assert disturbed(*links) == [False, False]
    assert "can't be written" in left


def test_a_machine_that_died_may_have_lost_the_line_that_says_it_was_injected(
    tmp_path: Path, links: tuple[str, str]
) -> None:
    """Of this boot, all that was written is there."""
    of_now = left_by(tmp_path / "now", links[0], injected=False)
    of_then = left_by(tmp_path / "then", links[1], injected=False, boot_id="the boot before")
    assert revert(of_now, Registry(), "revert") == revert(of_then, Registry(), "revert") == []
    assert disturbed(*links) == [True, False]
