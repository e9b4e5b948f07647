"""Runs as they lie on disk: found by path, folder or id, read, judged again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from veloz_chaos.core import event as ev
from veloz_chaos.core.history import History, of
from veloz_chaos.core.judge import Judgement, judge
from veloz_chaos.core.matrix import ResponseMatrix
from veloz_chaos.core.plan import Plan
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine import order_history
from veloz_chaos.errors import UsageError
from veloz_chaos.mechanisms import proc
from veloz_chaos.mechanisms.proc import boot_id


@dataclass(frozen=True)
class Recorded:
    folder: Path
    started: ev.RunStarted
    events: list[ev.Event]
    history: History

    @property
    def plan(self) -> Plan:
        return self.started.plan

    def judged(self, matrix: ResponseMatrix | None = None) -> Judgement:
        """By its own limits, or by another matrix. Raises UsageError if that has no such row."""
        row = self.plan.limits.row
        if matrix is not None and row not in matrix.rows:
            raise UsageError(
                f"{self.folder}: the matrix has no row `{row}` any more; judge it without --today or --matrix"
            )
        return judge(of(self.events), matrix, order_history.beside(self.folder, self.history))


def read(folder: Path) -> Recorded:
    """Raises UsageError for what is no whole journal."""
    events = journals.read(folder)
    first = events[0] if events else None
    if not isinstance(first, ev.RunStarted):
        raise UsageError(f"{folder}: the journal does not begin with the start of a run; it was cut or changed")
    return Recorded(folder, first, events, of(events))


def complete(folder: Path) -> Recorded:
    """The same of a run that has ended; only such a one can be judged."""
    found = read(folder)
    if found.history.ended is None:
        why = (
            f"is still under way (pid {found.started.pid})"
            if under_way(found.started)
            else f"has no end: it was cut, or its runner died; close it with: veloz-chaos revert {folder}"
        )
        raise UsageError(f"{folder}: the run {why}")
    return found


def under_way(started: ev.RunStarted) -> bool:
    """Does its runner live, on this machine, in this boot?"""
    return started.boot_id == boot_id() and proc.alive(started.pid, started.pid_start)


def folders(runs: Path) -> list[Path]:
    """Every run's folder, the latest first: their names begin with the time."""
    return sorted((path.parent for path in runs.glob(f"*/{journals.FILE}")), reverse=True) if runs.is_dir() else []


def first_event(folder: Path) -> ev.RunStarted | None:
    """Without reading the rest; None for what is no run of this version."""
    try:
        first = next(journals.lines(folder), None)
    except UsageError:
        return None
    return first if isinstance(first, ev.RunStarted) else None


def unfinished(runs: Path) -> Iterator[Path]:
    """Runs without an end, those that ended with a fault still in place, and what can't be read."""
    for folder in folders(runs):
        if _begun(folder) and (not journals.finished(folder) or _open(folder) or _owed(folder)):
            yield folder


def _begun(folder: Path) -> bool:
    """Nothing is touched before a journal's first line is whole: its disk was full, or the machine died."""
    with (folder / journals.FILE).open("rb") as file:
        return file.readline().endswith(b"\n")


def _owed(folder: Path) -> bool:
    """A run that ended as it should says so in its last line."""
    if journals.ended_clean(folder):
        return False
    first = first_event(folder)
    return first is not None and bool(first.plan.steps) and of(journals.read(folder)).owed is not None


def _open(folder: Path) -> bool:
    with (folder / journals.FILE).open("rb") as file, suppress(ValueError):
        return bool(ev.open_faults(journals.about_faults(file)))
    return True
