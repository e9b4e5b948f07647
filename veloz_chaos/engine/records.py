"""From a run's folder to its record: the journal's first line and its last two; all of it only where no judgement was
kept (older journals, and runs whose runner died)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from veloz_chaos.core.record import INTERRUPTED, UNDER_WAY, Record, Time, time_of
from veloz_chaos.engine import journal_ends as ends
from veloz_chaos.errors import UsageError

#: Bytes read at once: the whole plan, as a rule.
_HEAD = 65_536
_CHANGED = "does not begin with the start of a run; it was cut or changed"


class Runner(NamedTuple):
    """The process that ran it: one incarnation, in one boot of one machine."""

    boot_id: str
    pid: int
    start: int


class Found(NamedTuple):
    """`settled`: nothing more will be written to its journal. `runner` only where the journal has no end."""

    record: Record
    settled: bool
    runner: Runner | None = None


def read(folder: Path) -> Found:
    """Raises UsageError for what is no journal, or one of a newer version; FileNotFoundError if there is none."""
    path = folder / ends.FILE
    with path.open("rb", buffering=0) as file:
        head = file.read(_HEAD)
        whole = len(head) < _HEAD
        end, judged = ends.end_of(head if whole else ends.tail(file))
    first = _first(path, head)
    record = _of_plan(first, folder.name)
    if judged and b'"event":"run-ended"' in end:
        return _found(_as_judged(record, json.loads(judged)))
    return _judge(record, folder)


def peek(folder: Path) -> Record | None:
    """What it was to be, without how it went; None for what is no run that can be read."""
    try:
        with (folder / ends.FILE).open("rb", buffering=0) as file:
            return _of_plan(_first(folder / ends.FILE, file.read(_HEAD)), folder.name)
    except (OSError, UsageError):
        return None


def resolved(found: Found, alive: bool) -> Record:
    """A run without an end is under way, or it was interrupted."""
    if found.runner is None:
        return found.record
    why = "" if alive else f"it has no end; close it with: veloz-chaos revert {found.record.folder}"
    return replace(found.record, verdict=UNDER_WAY if alive else INTERRUPTED, reason=why)


def _first(path: Path, head: bytes) -> dict[str, Any]:
    line, newline, _ = head.partition(b"\n")
    if not newline and len(head) == _HEAD:
        with path.open("rb") as file:
            line = file.readline()
        newline = line[-1:]
    if newline != b"\n":
        raise UsageError(f"{path}: the journal {_CHANGED}")
    ends.refuse_newer(line, path)
    try:
        first = json.loads(line)
    except ValueError:
        first = None
    if not isinstance(first, dict) or first.get("event") != "run-started":
        raise UsageError(f"{path}: the journal {_CHANGED}")
    return first


def _of_plan(first: Mapping[str, Any], folder: str) -> Record:
    """What is known before anything has happened. Raises UsageError for a plan that is none."""
    try:
        plan = first["plan"]
        occasion = plan.get("occasion") or {}
        return Record(
            run=first["run"],
            folder=folder,
            started=float(first["wall"]),
            host=first["host"],
            version=first["version"],
            experiment=plan["experiment"],
            environment=plan["environment"],
            tier=plan["tier"],
            row=plan["limits"]["row"],
            parameters=plan.get("parameters") or {},
            placebo=bool(plan.get("placebo")),
            emulated=any(fault.get("models") or fault["offer"].get("emulated") for fault in plan["faults"]),
            schedule=occasion.get("schedule", ""),
            entry=occasion.get("entry", ""),
            due=datetime.fromisoformat(occasion["due"]).timestamp() if occasion else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(f"{folder}/{ends.FILE}: the journal {_CHANGED}") from None


def _as_judged(record: Record, judged: Mapping[str, Any]) -> Record:
    return replace(
        record,
        verdict=judged["verdict"],
        reason=judged["reason"],
        detection=_time(judged["detection"]),
        recovery=_time(judged["recovery"]),
        more={name: time for name, said in judged.get("more", {}).items() if (time := _time(said))},
    )


def _time(said: Mapping[str, Any] | None) -> Time | None:
    if said is None:
        return None
    return time_of(said["verdict"], said["at_least"], said["at_most"], said["limit"])


def _found(record: Record) -> Found:
    return Found(record, settled=record.verdict != "left-behind")


def _judge(record: Record, folder: Path) -> Found:
    """All of the journal, judged again by its own limits."""
    from veloz_chaos.core import event as ev
    from veloz_chaos.core.history import of
    from veloz_chaos.core.judge import judge
    from veloz_chaos.core.told import told
    from veloz_chaos.engine import journal, order_history

    events = journal.read(folder)
    history = of(events)
    if history.ended is None:
        started: Any = events[0]
        return Found(record, settled=False, runner=Runner(started.boot_id, started.pid, started.pid_start))
    said = told(judge(history, orders=order_history.beside(folder, history)))
    found = _as_judged(record, ev.RunJudged(**said, at=0, wall=0.0).model_dump())
    if history.ended.cause == "interrupted" and found.verdict == "aborted":
        found = replace(found, verdict=INTERRUPTED)
    return _found(found)


def signature(folder: Path) -> tuple[int, int] | None:
    """Size and time of change of the journal: while they stay nothing was written. None if there is none."""
    try:
        said = (folder / ends.FILE).stat()
    except OSError:
        return None
    return said.st_size, said.st_mtime_ns
