"""A schedule as it stands: all entries, what is due, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from veloz_chaos.core.record import Record
from veloz_chaos.core.standing import Standing
from veloz_chaos.reports import history
from veloz_chaos.reports.table import table
from veloz_chaos.reports.verdict import wrapped

#: Words for what is wrong, as a table has room for.
_WRONG = ("failed", "overdue", "missing", "inconclusive", "unproven")


def listed(standings: Sequence[Standing], now: datetime, width: int = 80) -> list[str]:
    columns = ["entry", "every", "state", "last run (UTC)", "verdict", "next (UTC)"]
    rows = [
        [s.entry.id, _every(s), s.problem or s.state, _ran(s.last), s.last.verdict if s.last else "—", _next(s)]
        for s in standings
    ]
    return [*table(columns, rows, width), "", f"as of {when(now)} UTC"]


def _every(s: Standing) -> str:
    day = "" if s.entry.day is None else f" ({s.entry.day})"
    return f"{s.entry.every}{day} {s.entry.at}"


def _ran(last: Record | None) -> str:
    return "never" if last is None else history.when(last.started)


def _next(s: Standing) -> str:
    following = when(s.upcoming.start) if s.upcoming else "never"
    if s.state in ("due", "overdue") and s.current:
        return "now" if s.runnable else f"{following} (held back)"
    return following


def when(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")


def due(standings: Sequence[Standing], width: int = 80) -> list[str]:
    """What is due or overdue, the oldest first; else what comes next."""
    found = [s for s in in_turn(standings) if s.state in ("due", "overdue")]
    never = [line for s in standings if s.never for line in wrapped(f"{s.entry.id}: {s.never}", width)]
    if not found:
        coming = [(s.upcoming.start, s.entry.id) for s in standings if s.upcoming]
        start, entry = min(coming, key=lambda pair: pair[0], default=(None, ""))
        next_ = f"; next: {entry}, {when(start)} UTC" if start else ""
        return [*wrapped(f"nothing is due{next_}", width), *never]
    columns = ["entry", "state", "due since (UTC)", "overdue from (UTC)", "last verdict"]
    rows = [
        [s.entry.id, s.state, when(s.current.start), when(s.current.overdue), s.last.verdict if s.last else "never run"]
        for s in found
        if s.current
    ]
    lines = table(columns, rows, width)
    for s in found:
        if s.current and s.current.moved:
            lines += wrapped(f"{s.entry.id}: put off by the blackout {s.current.moved}", width)
        if s.held_back:
            lines += wrapped(f"{s.entry.id}: not now: {s.held_back}", width)
    return [*lines, *never]


def in_turn(standings: Sequence[Standing]) -> list[Standing]:
    """What has waited longest comes first."""
    return sorted((s for s in standings if s.current), key=lambda s: (s.current.start if s.current else 0, s.entry.id))


def checked(standings: Sequence[Standing], width: int = 80) -> list[str]:
    """Each entry that something is wrong with, then how many are as they should be."""
    lines: list[str] = []
    for s in standings:
        if s.problem:
            lines += wrapped(f"{s.problem.upper()} {s.entry.id}: {s.said}", width)
    wrong = sum(bool(s.problem) for s in standings)
    closing = f"{len(standings) - wrong} of {len(standings)} entries are as they should be"
    return [*lines, *([""] if lines else []), closing]


def as_json(s: Standing) -> dict[str, Any]:
    current = s.current
    return {
        "entry": s.entry.id,
        "experiment": s.entry.experiment,
        "environment": s.entry.environment,
        "state": s.state,
        "problem": s.problem or None,
        "said": s.said,
        "held_back": s.held_back or None,
        "due": current and _iso(current.due),
        "due_since": current and _iso(current.start),
        "overdue_from": current and _iso(current.overdue),
        "put_off_by": (current.moved or None) if current else None,
        "next": s.upcoming and _iso(s.upcoming.start),
        "last": s.last and history.as_json(s.last),
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
