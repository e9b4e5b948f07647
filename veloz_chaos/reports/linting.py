"""What `lint alerts` found: a table of the rows, then one line for each thing that is wrong; or JSON."""

from __future__ import annotations

from typing import Any

from veloz_chaos.core.interval import Interval, Nanoseconds
from veloz_chaos.core.length import interval, length
from veloz_chaos.core.linting import Report
from veloz_chaos.core.linting_rows import RowReport, RuleReport
from veloz_chaos.core.linting_setup import Finding
from veloz_chaos.reports.table import table

_COLUMNS = ("failure", "alert", "rule", "fires after", "limit", "notified after", "limit", "channels")


def describe(report: Report, width: int) -> list[str]:
    lines = table(_COLUMNS, [_cells(row) for row in report.rows], width)
    for title, found in (("defects", report.defects), ("notes", report.notes)):
        if found:
            lines += ["", f"{title}:", *map(_line, found)]
    return [*lines, "", _closing(len(report.defects), len(report.notes))]


def _closing(defects: int, notes: int) -> str:
    said = f"{defects} defect{'' if defects == 1 else 's'}" if defects else "nothing wrong"
    return said + (f", {notes} note{'' if notes == 1 else 's'}" if notes else "")


def _line(one: Finding) -> str:
    where = f"{one.spot}: " if str(one.spot) else ""
    of = f" ({', '.join(one.rows)})" if one.rows and not one.about.startswith("row ") else ""
    return f"  {where}{one.about}{of}: {one.message}" + (f"; {one.remedy}" if one.remedy else "") + f" [{one.code}]"


def _cells(row: RowReport) -> list[str]:
    alert = f"{row.alert.as_} ({row.severity})"
    rules = ", ".join(rule.name for rule in row.rules) or "none"
    reached = [f"{channel}{'' if _reaches(row, channel) else ' missing'}" for channel in row.alert.channels]
    return [
        row.row, alert, rules, _time(row, row.fires, row.detection), _limit(row.detection_limit),
        _time(row, row.notified, row.notice), _limit(row.within), ", ".join(reached),
    ]  # fmt: skip


def _reaches(row: RowReport, channel: str) -> bool:
    return any(channel in rule.channels for rule in row.rules)


def _time(row: RowReport, time: Interval | None, verdict: str) -> str:
    if not row.rules:
        return "—"
    if time is None or time.at_least == float("inf"):
        return "never"
    return interval(time) + (f" {verdict}" if verdict in ("impossible", "late at times") else "")


def _limit(limit: Nanoseconds | None) -> str:
    return "—" if limit is None else length(limit)


def as_json(report: Report) -> dict[str, Any]:
    return {
        "rows": [_row(row) for row in report.rows],
        "findings": [_finding(one) for one in report.defects],
        "notes": [_finding(one) for one in report.notes],
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "code": one.code,
        "about": one.about,
        "message": one.message,
        "remedy": one.remedy,
        "file": one.spot.file,
        "line": one.spot.line,
        "column": one.spot.column,
        "rows": list(one.rows),
    }


def _row(row: RowReport) -> dict[str, Any]:
    return {
        "row": row.row,
        "title": row.title,
        "alert": row.alert.as_,
        "severity": row.severity,
        "channels": row.alert.channels,
        "rules": [_rule(rule) for rule in row.rules],
        "fires": row.fires and row.fires.as_json(),
        "detection_limit": _seconds(row.detection_limit),
        "detection": row.detection,
        "notified": row.notified and row.notified.as_json(),
        "within": _seconds(row.within),
        "notice": row.notice,
    }


def _rule(rule: RuleReport) -> dict[str, Any]:
    times = rule.times
    return {
        "rule": rule.name,
        "severity": rule.severity,
        "fires": times and times.fires.as_json(),
        "notified": times and times.notified and times.notified.as_json(),
        "resolved": times and times.resolved.as_json(),
        "channels": list(rule.channels),
        "receivers": list(rule.receivers),
    }


def _seconds(length_: Nanoseconds | None) -> float | None:
    return None if length_ is None else length_ / 1e9
