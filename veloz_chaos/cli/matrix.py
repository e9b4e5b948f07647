"""`veloz-chaos matrix`: which rows are proven, where, when and how well."""

from __future__ import annotations

import json
import time
from pathlib import Path

from veloz_chaos.cli import options, recorded, screen
from veloz_chaos.engine import files
from veloz_chaos.engine import journal as journals
from veloz_chaos.errors import PASSED
from veloz_chaos.reports import coverage
from veloz_chaos.reports.coverage import Proof

#: What a run must have ended with to say anything of its row.
_JUDGED = ("passed", "failed", "inconclusive")


def command(
    environment: options.Environment = None, runs: options.Runs = Path("runs"), as_json: options.Json = False
) -> int:
    """Show which rows of the response matrix are proven."""
    name = files.environment(files.find("environments", environment)).environment.name if environment else None
    matrix, experiments, proofs = files.matrix(), _experiments(), _proofs(runs, name)
    now = time.time()
    if as_json:
        screen.out(json.dumps({"rows": coverage.as_json(matrix, experiments, proofs, now)}, ensure_ascii=False))
    else:
        screen.out(*coverage.describe(matrix, experiments, proofs, now, screen.width()))
    return PASSED


def _experiments() -> dict[str, list[str]]:
    """Row -> the experiments that name it."""
    found: dict[str, list[str]] = {}
    for name in files.names("experiments"):
        row = files.document(files.find("experiments", name)).data.get("failure")
        found.setdefault(str(row), []).append(name)
    return found


def _proofs(runs: Path, environment: str | None) -> dict[str, Proof]:
    """The latest judged run of each row; placebos prove nothing."""
    found: dict[str, Proof] = {}
    for folder in recorded.folders(runs):
        started = recorded.first_event(folder)
        if started is None or started.plan.placebo or started.plan.limits.row in found or not journals.finished(folder):
            continue
        if environment is not None and started.plan.environment != environment:
            continue
        judgement = recorded.read(folder).judged()
        if judgement.verdict in _JUDGED:
            found[started.plan.limits.row] = Proof(started.plan, judgement, str(folder), started.wall)
    return found
