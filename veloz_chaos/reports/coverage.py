"""The response matrix with what is known of each row: which experiment proves it, and how its last run went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from veloz_chaos.core.judge import Judgement
from veloz_chaos.core.length import interval, length
from veloz_chaos.core.matrix import ResponseMatrix, Row
from veloz_chaos.core.plan import Plan
from veloz_chaos.reports.table import table

_DAY = 86_400


@dataclass(frozen=True)
class Proof:
    """The last judged run of a row; `wall` is when it started, in seconds since 1970."""

    plan: Plan
    judgement: Judgement
    folder: str
    wall: float

    @property
    def emulated(self) -> bool:
        return any(fault.offer.emulated or fault.models for fault in self.plan.faults)


def describe(
    matrix: ResponseMatrix,
    experiments: Mapping[str, Sequence[str]],
    proofs: Mapping[str, Proof],
    now: float,
    width: int,
) -> list[str]:
    """`experiments` and `proofs` go by the row's name, `now` is the wall clock."""
    columns = ["failure", "limits", "alert", "experiment", "last", "detected", "recovered", "age"]
    rows = [_cells(name, row, experiments.get(name, ()), proofs.get(name), now) for name, row in matrix.rows.items()]
    proven = sum(1 for proof in proofs.values() if proof.judgement.verdict == "passed")
    return [*table(columns, rows, width), "", f"{proven} of {len(matrix.rows)} rows are proven by their last run"]


def _cells(name: str, row: Row, experiments: Sequence[str], proof: Proof | None, now: float) -> list[str]:
    limits = f"{_limit(row.detection)} / {_limit(row.recovery)}"
    alert = f"{row.alert.as_} ({row.alert.severity})" if row.alert else "—"
    head = [name, limits, alert, ", ".join(experiments) or "none"]
    if proof is None:
        return [*head, "never run", "—", "—", "—"]
    m = proof.judgement.measurement
    verdict = proof.judgement.verdict + (" (emulated)" if proof.emulated else "")
    return [*head, verdict, interval(m.time_to_detect), interval(m.time_to_recover), age(now - proof.wall)]


def _limit(limit: Any) -> str:
    return "—" if limit is None else limit if isinstance(limit, str) else length(limit)


def age(seconds: float) -> str:
    return f"{seconds / _DAY:.0f} d" if seconds >= _DAY else f"{max(0.0, seconds) / 3600:.1f} h"


def as_json(
    matrix: ResponseMatrix, experiments: Mapping[str, Sequence[str]], proofs: Mapping[str, Proof], now: float
) -> list[dict[str, Any]]:
    return [
        {
            "row": name,
            **row.model_dump(mode="json", by_alias=True),
            "experiments": list(experiments.get(name, ())),
            "last": _proof(proofs[name], now) if name in proofs else None,
        }
        for name, row in matrix.rows.items()
    ]


def _proof(proof: Proof, now: float) -> dict[str, Any]:
    m = proof.judgement.measurement
    return {
        "run": proof.judgement.run,
        "folder": proof.folder,
        "experiment": proof.plan.experiment,
        "environment": proof.plan.environment,
        "verdict": proof.judgement.verdict,
        "time_to_detect": m.time_to_detect and m.time_to_detect.as_json(),
        "time_to_recover": m.time_to_recover and m.time_to_recover.as_json(),
        "when": datetime.fromtimestamp(proof.wall, UTC).isoformat(timespec="seconds"),
        "age_seconds": round(now - proof.wall),
        "emulated": proof.emulated,
    }
