"""Runs of other machines copied among ours, and runs that are no longer wanted removed: whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from veloz_chaos.core import event as ev
from veloz_chaos.core.record import Record
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine import records
from veloz_chaos.errors import UsageError
from veloz_chaos.mechanisms import proc

#: Folders that are half copied or half removed begin so, and are no runs.
_HALF = ".half-"
Outcome = Literal["brought", "continued", "here", "refused"]


class Brought(NamedTuple):
    """`continued`: ours ended earlier than theirs, and was replaced; `refused`: why is in `note`."""

    source: Path
    outcome: Outcome
    note: str = ""


def sources(folder: Path) -> list[Path]:
    """The runs in a folder: itself, what lies in it, or in its `runs` (of a CI job's results). Raises UsageError."""
    if (folder / journals.FILE).is_file():
        return [folder]
    for place in (folder, folder / "runs"):
        found = sorted(path.parent for path in place.glob(f"*/{journals.FILE}") if path.parent.name[0] != ".")
        if found:
            return found
    raise UsageError(f"{folder}: no runs are there; name a folder of runs, one run, or the results of a CI job")


def bring(source: Path, runs: Path, known: Record | None) -> Brought:
    """One run. `known`: the same run among ours, under whatever name."""
    try:
        found = records.read(source)
    except (UsageError, OSError) as error:
        return Brought(source, "refused", str(error))
    runner = found.runner
    if runner and runner.boot_id == proc.boot_id() and proc.alive(runner.pid, runner.start):
        return Brought(source, "refused", f"{source}: still under way (pid {runner.pid}); import it when it has ended")
    goal = runs / (known.folder if known else source.name)
    try:
        return _bring(source, goal)
    except OSError as error:
        return Brought(source, "refused", f"{source}: can't be copied to {goal}: {error.strerror or error}")


def _bring(source: Path, goal: Path) -> Brought:
    if not (goal / journals.FILE).exists():
        if goal.exists():
            return Brought(source, "refused", f"{source}: {goal} is there already, and is no run")
        _copy(source, goal)
        return Brought(source, "brought")
    if source.resolve() == goal.resolve():
        return Brought(source, "here")
    theirs, ours = (source / journals.FILE).read_bytes(), (goal / journals.FILE).read_bytes()
    if ours.startswith(theirs):
        return Brought(source, "here")
    if not theirs.startswith(_whole(ours)):
        return Brought(source, "refused", f"{source}: not the run that {goal} is, though it bears its name")
    half = _copy(source, goal.with_name(f"{_HALF}{goal.name}-new"))
    _remove(goal)
    half.rename(goal)
    return Brought(source, "continued")


def _whole(data: bytes) -> bytes:
    """Without a torn last line."""
    return data[: data.rfind(b"\n") + 1]


def _copy(source: Path, goal: Path) -> Path:
    """Only files: what a link points to is not the run's."""
    goal.parent.mkdir(parents=True, exist_ok=True)
    half = goal.with_name(f"{_HALF}{goal.name}-{os.getpid()}")
    shutil.rmtree(half, ignore_errors=True)
    try:
        shutil.copytree(source, half, ignore=no_files)
        half.rename(goal)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return goal


def no_files(folder: str, names: list[str]) -> Iterator[str]:
    """Links, sockets and the like, for `shutil.copytree`."""
    for name in names:
        path = Path(folder) / name
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            yield name


def prune(folder: Path) -> str:
    """Remove one run; what its journal says decides, whatever an index said. Returns why it stays; empty if it went."""
    try:
        with (folder / journals.FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            events = journals.read(folder)
            if not any(isinstance(event, ev.RunEnded) for event in events):
                return "it has not ended"
            if ev.open_faults(events):
                return "a fault may still be in place"
            _remove(folder)
    except BlockingIOError:
        return "somebody is writing in its journal"
    except UsageError as error:
        return str(error)
    except OSError as error:
        return f"can't be removed: {error.strerror or error}"
    return ""


def _remove(folder: Path) -> None:
    """At once for whoever lists runs."""
    half = folder.with_name(f"{_HALF}{folder.name}-{os.getpid()}")
    folder.rename(half)
    shutil.rmtree(half)
