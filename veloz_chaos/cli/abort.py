"""`veloz-chaos abort`: ask a runner to end. It reverts first; if it is dead, this command does."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos.cli import options, recorded, screen
from veloz_chaos.cli.revert import take_out
from veloz_chaos.core import event as ev
from veloz_chaos.engine import journal as journals
from veloz_chaos.errors import LEFT_BEHIND, PASSED, UsageError
from veloz_chaos.mechanisms import proc

#: So long may a runner need for its revert, and for the service to come back. Seconds.
PATIENCE = 180.0
#: So long may a guardian need to take over from a runner that died. Seconds.
GUARDIAN = 40.0
_TICK = 0.05


def command(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Its folder or id; without it the only one.")] = None,
    runs: options.Runs = Path("runs"),
) -> int:
    """End a run under way: revert first, then stop."""
    folder = journals.find(runs, run) if run else _only_one(runs)
    found = recorded.read(folder)
    if found.history.ended is not None:
        screen.out(f"{folder}: the run has ended already ({found.history.ended.cause})")
        return _left(folder)
    if found.started.host != socket.gethostname():
        raise UsageError(f"{folder}: the run is on {found.started.host}; abort it there")
    if not recorded.under_way(found.started):
        return _without_runner(folder)
    proc.send(found.started.pid, found.started.pid_start, "TERM")
    screen.err(f"{folder}: asked its runner (pid {found.started.pid}) to end; it reverts first")
    return _await_end(folder, found.started)


def _only_one(runs: Path) -> Path:
    """The run under way. Raises UsageError if there is none, or more than one."""
    found = [folder for folder in recorded.unfinished(runs) if _lives(folder)]
    if len(found) == 1:
        return found[0]
    names = "; ".join(map(str, found))
    raise UsageError(
        f"{len(found)} runs are under way: {names}; name one" if found else f"no run under {runs} is under way"
    )


def _lives(folder: Path) -> bool:
    started = recorded.first_event(folder)
    return started is not None and recorded.under_way(started)


def _await_end(folder: Path, started: ev.RunStarted) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if journals.finished(folder):
            return _left(folder)
        if not recorded.under_way(started):
            return _without_runner(folder)
        time.sleep(_TICK)
    screen.err(
        f"{folder}: the runner has not ended in {PATIENCE:g} s; kill it (pid {started.pid}), its guardian reverts"
    )
    return LEFT_BEHIND


def _without_runner(folder: Path) -> int:
    """The guardian has the first turn; what it leaves is taken out here."""
    deadline = time.monotonic() + GUARDIAN
    while time.monotonic() < deadline and not journals.finished(folder) and _guardian_lives(folder):
        time.sleep(_TICK)
    return _left(folder) if journals.finished(folder) else take_out(folder)


def _guardian_lives(folder: Path) -> bool:
    started = [event for event in journals.read(folder) if isinstance(event, ev.GuardianStarted)]
    return any(proc.alive(event.pid, event.pid_start) for event in started)


def _left(folder: Path) -> int:
    """What the ended run says of itself."""
    found = recorded.read(folder)
    judgement = found.judged()
    if judgement.exit_code == LEFT_BEHIND:
        screen.out(*(f"{folder}: {reason}" for reason in judgement.reasons))
        return LEFT_BEHIND
    screen.out(f"{folder}: ended, everything is taken out")
    return PASSED
