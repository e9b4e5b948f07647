"""What a judgement comes down to: one line, and two times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from veloz_chaos.core import event as ev
from veloz_chaos.core.finding import Finding
from veloz_chaos.core.interval import Nanoseconds
from veloz_chaos.core.judge import Judgement
from veloz_chaos.core.length import interval

#: Characters of the one line that a journal keeps.
KEPT = 400


def summary(judgement: Judgement) -> str:
    """The one reason that decides; for a pass the times."""
    if judgement.reasons:
        return judgement.reasons[0]
    decisive = [f for f in judgement.findings if f.verdict == judgement.verdict]
    if judgement.verdict == "passed":
        return ", ".join(_times(judgement.findings))
    return f"{decisive[0].expectation} {_said(decisive[0])}" if decisive else "nothing was judged"


def _said(finding: Finding) -> str:
    reason = finding.reason
    return reason if reason.startswith("took ") else f"— {reason}"


def _times(findings: Sequence[Finding]) -> Iterator[str]:
    words = {"detection": "detected after", "recovery": "recovered after", "rto": "RTO", "rpo": "RPO"}
    for finding in findings:
        if finding.expectation in words and finding.measured is not None and not math.isinf(finding.measured.at_most):
            yield f"{words[finding.expectation]} {interval(finding.measured)}{_lost(finding)}"


def _lost(finding: Finding) -> str:
    """How many orders a disaster cost, beside how much time."""
    return f" ({finding.reason.partition(':')[0]})" if finding.expectation == "rpo" else ""


def told(judgement: Judgement) -> dict[str, Any]:
    """As `run-judged` keeps it."""
    return {
        "verdict": judgement.verdict,
        "reason": summary(judgement)[:KEPT],
        "detection": _time(judgement, "detection"),
        "recovery": _time(judgement, "recovery"),
        "more": {
            finding.expectation: _judged(finding)
            for finding in judgement.findings
            if finding.measured is not None and finding.expectation not in ("detection", "recovery")
        },
    }


def _time(judgement: Judgement, name: str) -> ev.JudgedTime | None:
    return next((_judged(finding) for finding in judgement.findings if finding.expectation == name), None)


def _judged(finding: Finding) -> ev.JudgedTime:
    least, most = (finding.measured.at_least, finding.measured.at_most) if finding.measured else (None, None)
    return ev.JudgedTime(
        verdict=finding.verdict, at_least=_finite(least), at_most=_finite(most), limit=_finite(finding.limit)
    )


def _finite(value: Nanoseconds | None) -> int | None:
    return None if value is None or math.isinf(value) else int(value)
