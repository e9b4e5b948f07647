"""What is told of one run, or of what never became one, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass

from veloz_chaos.core.finding import Finding
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.judge import Judgement
from veloz_chaos.core.length import interval, length
from veloz_chaos.core.plan import Plan
from veloz_chaos.core.told import summary


@dataclass(frozen=True)
class Told:
    experiment: str
    environment: str
    #: of the judgement; or `refused`, `aborted` or `invalid`
    verdict: str
    exit_code: int
    #: why it never became a run
    reasons: tuple[str, ...] = ()
    judgement: Judgement | None = None
    plan: Plan | None = None
    #: where its journal is
    folder: str = ""
    #: seconds since 1970, and how long it took
    started: float = 0.0
    seconds: float = 0.0
    #: the schedule's entry and when that was due
    occasion: str = ""

    @property
    def title(self) -> str:
        placebo = " (placebo)" if self.plan is not None and self.plan.placebo else ""
        return f"{self.experiment} on {self.environment}{placebo}"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """None of a run that was stopped before it hurt anything."""
        j = self.judgement
        if j is None or (j.reasons and not j.measurement.in_place):
            return ()
        return j.findings

    @property
    def stopped_by(self) -> tuple[str, ...]:
        """What stood in the way of a verdict."""
        return self.judgement.reasons if self.judgement is not None else self.reasons

    @property
    def said(self) -> str:
        """The one line."""
        if self.judgement is not None:
            return summary(self.judgement)
        return self.reasons[0] if self.reasons else ""

    def length_of(self, expectation: str) -> Interval | None:
        return next((f.measured for f in self.findings if f.expectation == expectation), None)


def measured(finding: Finding) -> str:
    """`1.2–1.3 s, limit 5 s`; empty where nothing was measured."""
    parts = [] if finding.measured is None else [interval(finding.measured)]
    parts += [] if finding.limit is None else [f"limit {length(finding.limit)}"]
    return ", ".join(parts)
