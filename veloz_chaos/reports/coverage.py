"""The response matrix with what is known of each row on each environment: how its last run went, and when the next is
due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from veloz_chaos.core.length import length
from veloz_chaos.core.matrix import ResponseMatrix, Row
from veloz_chaos.core.proof import STATUSES, Proof
from veloz_chaos.core.record import Record, Time
from veloz_chaos.reports.history import iso, measured, time_json
from veloz_chaos.reports.markdown import plain
from veloz_chaos.reports.table import table

_DAY = 86_400
_COLUMNS = ("failure", "limits", "environment", "last", "detected", "recovered", "age", "due")
_NARROW = ("failure", "limits", "environment", "last", "measured", "due")
_NONE = "—"
#: Experiments of each row, by its name.
Experiments = Mapping[str, Sequence[str]]


def describe(
    matrix: ResponseMatrix, experiments: Experiments, proofs: Sequence[Proof], now: float, width: int
) -> list[str]:
    """`now` is the wall clock."""
    rows = [_narrow(_cells(matrix.rows[proof.row], experiments, proof, now)) for proof in proofs]
    return [*table(_NARROW, rows, width), "", *_closing(matrix, proofs)]


def _narrow(cells: Sequence[str]) -> list[str]:
    """A terminal has 80 columns."""
    failure, limits, environment, last, detected, recovered, old, due = cells
    never = old == _NONE
    return [
        failure,
        limits,
        environment,
        last if never else f"{last}, {old} ago",
        _NONE if never else f"{detected} / {recovered}",
        due,
    ]


def markdown(matrix: ResponseMatrix, experiments: Experiments, proofs: Sequence[Proof], now: float) -> str:
    lines = ["## What is proven", "", *_closing(matrix, proofs), ""]
    lines += [f"| {' | '.join(_COLUMNS)} |", "|" + "---|" * len(_COLUMNS)]
    for proof in proofs:
        cells = _cells(matrix.rows[proof.row], experiments, proof, now)
        lines.append(f"| {' | '.join(map(plain, cells))} |")
    return "\n".join(lines) + "\n"


def _cells(row: Row, experiments: Experiments, proof: Proof, now: float) -> list[str]:
    head = [
        _named(proof.row, experiments.get(proof.row, ())),
        _limits(row),
        proof.environment or _NONE,
    ]
    last = proof.last
    if last is None:
        return [*head, "never run", _NONE, _NONE, _NONE, _due(proof)]
    return [*head, _verdict(proof, last), *measured(last), age(now - last.started), _due(proof)]


def _named(row: str, experiments: Sequence[str]) -> str:
    """With what is run for it, where that is called otherwise."""
    if list(experiments) == [row]:
        return row
    return f"{row} ({', '.join(experiments) or 'no experiment'})"


def _verdict(proof: Proof, last: Record) -> str:
    less = [text for text, is_so in (("stale", proof.status == "stale"), ("emulated", last.emulated)) if is_so]
    return last.verdict + (f" ({', '.join(less)})" if less else "")


def _due(proof: Proof) -> str:
    if proof.overdue is not None:
        return f"overdue since {proof.overdue:%Y-%m-%d}"
    return _NONE if proof.due is None else f"{proof.due:%Y-%m-%d}"


def _closing(matrix: ResponseMatrix, proofs: Sequence[Proof]) -> list[str]:
    proven = {proof.row for proof in proofs if proof.last is not None and proof.last.verdict == "passed"}
    counts = {status: sum(proof.status == status for proof in proofs) for status in STATUSES}
    words = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    return [f"{len(proven)} of {len(matrix.rows)} rows are proven by their last run ({words})"]


def _limits(row: Row) -> str:
    if row.rto is not None or row.rpo is not None:
        return f"RPO {_limit(row.rpo)} / RTO {_limit(row.rto)}"
    return f"{_limit(row.detection)} / {_limit(row.recovery)}"


def _limit(limit: Any) -> str:
    return _NONE if limit is None else limit if isinstance(limit, str) else length(limit)


def age(seconds: float) -> str:
    return f"{seconds / _DAY:.0f} d" if seconds >= _DAY else f"{max(0.0, seconds) / 3600:.1f} h"


def as_json(
    matrix: ResponseMatrix, experiments: Experiments, proofs: Sequence[Proof], runs: str, now: float
) -> list[dict[str, Any]]:
    """`runs`: where the runs' folders are."""
    found = []
    for name, row in matrix.rows.items():
        own = [proof for proof in proofs if proof.row == name]
        ran = [proof.last for proof in own if proof.last is not None]
        latest = max(ran, key=lambda record: record.started, default=None)
        found.append(
            {
                "row": name,
                **row.model_dump(mode="json", by_alias=True),
                "experiments": list(experiments.get(name, ())),
                "last": latest and _last(latest, runs, now),
                "environments": [_proof(proof, runs, now) for proof in own if proof.environment],
            }
        )
    return found


def _proof(proof: Proof, runs: str, now: float) -> dict[str, Any]:
    return {
        "environment": proof.environment,
        "status": proof.status,
        "last": proof.last and _last(proof.last, runs, now),
        "due": proof.due and _iso(proof.due),
        "overdue_since": proof.overdue and _iso(proof.overdue),
        "entries": [standing.entry.id for standing in proof.standings],
    }


def _last(record: Record, runs: str, now: float) -> dict[str, Any]:
    return {
        "run": record.run,
        "folder": f"{runs}/{record.folder}",
        "experiment": record.experiment,
        "environment": record.environment,
        "verdict": record.verdict,
        "time_to_detect": _seconds(record.detection),
        "time_to_recover": _seconds(record.recovery),
        "rto": _seconds(record.time("rto")),
        "rpo": _seconds(record.time("rpo")),
        "when": iso(record.started),
        "age_seconds": round(now - record.started),
        "emulated": record.emulated,
    }


def _seconds(time: Time | None) -> Any:
    told = time_json(time)
    return told and told["measured_seconds"]


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
