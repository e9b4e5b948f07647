"""Many runs: one line each, their trends, what is removed and what stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.length import interval
from veloz_chaos.core.record import JUDGED, Record, Time
from veloz_chaos.core.retention import Sorted
from veloz_chaos.reports.table import table


def when(wall: float) -> str:
    """`2026-03-01 10:00`, in UTC."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M")


def listed(records: Sequence[Record], counts: Mapping[str, int], width: int = 80) -> list[str]:
    """`counts`: verdict -> how many, of all that fit and not only those that are shown."""
    if not records:
        return ["no run fits"]
    columns = ["when (UTC)", "experiment", "environment", "verdict", "detected", "recovered", "run"]
    rows = [[when(r.started), r.experiment, r.environment, word(r), *measured(r), r.run] for r in records]
    return [*table(columns, rows, width), "", _closing(len(records), counts)]


def _closing(shown: int, counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (item[0] not in JUDGED, -item[1]))
    words = ", ".join(f"{n} {verdict}" for verdict, n in ordered)
    runs = "1 run" if total == 1 else f"{total} runs"
    return f"{runs}: {words}" + (f"; the latest {shown} are shown" if shown < total else "")


def word(record: Record) -> str:
    """The verdict, with what takes away from it."""
    less = [text for text, is_so in (("placebo", record.placebo), ("emulated", record.emulated)) if is_so]
    return record.verdict + (f" ({', '.join(less)})" if less else "")


def measured(record: Record) -> tuple[str, str]:
    """Detection and recovery; of a disaster what was lost and how long it took."""
    return _measured(record, "detection", "rpo", "RPO "), _measured(record, "recovery", "rto", "RTO ")


def _measured(record: Record, name: str, other: str, word_: str) -> str:
    time, instead = record.time(name), record.time(other)
    if time is None and instead is not None:
        return word_ + interval(instead.measured)
    return interval(time.measured if time else None)


def removed(done: Sequence[Record], stays: Sequence[tuple[Record, str]], *, only_told: bool) -> list[str]:
    """What went, or would go, and what stays though it is old or one too many."""
    did = "would be removed" if only_told else "removed"
    lines = [f"{did}: {record.folder} ({record.verdict})" for record in done]
    reasons = Counter(why for _, why in stays)
    lines += [f"stays: {record.folder}: {why}" for record, why in stays if reasons[why] <= _FEW]
    lines += [f"stay: {n} runs: {why}" for why, n in reasons.items() if n > _FEW]
    stay = f", {len(stays)} stay though they are old or many" if stays else ""
    return [*lines, f"{len(done)} {did}{stay}"]


#: So many runs that stay for one reason are told by name.
_FEW = 10


def pruned_json(sorted_: Sorted) -> dict[str, Any]:
    return {
        "removed": [record.folder for record in sorted_.goes],
        "stays": [{"folder": record.folder, "reason": why} for record, why in sorted_.stays],
    }


def as_json(record: Record) -> dict[str, Any]:
    """Lengths in seconds."""
    return {
        "run": record.run,
        "folder": record.folder,
        "when": iso(record.started),
        "experiment": record.experiment,
        "environment": record.environment,
        "tier": record.tier,
        "row": record.row,
        "parameters": dict(record.parameters),
        "placebo": record.placebo,
        "emulated": record.emulated,
        "schedule": record.schedule or None,
        "entry": record.entry or None,
        "due": None if record.due is None else iso(record.due),
        "verdict": record.verdict,
        "reason": record.reason,
        "detection": time_json(record.detection),
        "recovery": time_json(record.recovery),
        "more": {name: time_json(time) for name, time in record.more.items()},
        "host": record.host,
        "version": record.version,
    }


def iso(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds")


def time_json(time: Time | None) -> dict[str, Any] | None:
    if time is None:
        return None
    return {
        "verdict": time.verdict,
        "measured_seconds": time.measured and time.measured.as_json(),
        "limit_seconds": None if time.limit is None else time.limit / SECOND,
    }
