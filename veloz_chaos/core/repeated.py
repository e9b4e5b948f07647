"""What several runs of one experiment prove: nonparametric, at 95 % confidence, and never more than was seen.

A run counts with the most its time may have been. One that was never noticed or never recovered counts as beyond every
value (right-censored), and one whose time lies astride the limit as not within it: leaving bad runs out would make a
system look better than it is. Runs that are otherwise inconclusive, refused or aborted prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from veloz_chaos.core import binomial
from veloz_chaos.core.finding import Finding
from veloz_chaos.core.interval import Nanoseconds
from veloz_chaos.core.judge import Judgement

#: The share that is asked for, and the quantiles that are told.
WANTED = 0.95
QUANTILES = (0.5, 0.9, 0.95, 0.99)
#: Verdicts that say something of the system.
_PROVE = ("passed", "failed", "left-behind")


@dataclass(frozen=True)
class Once:
    """One run as it ended. `judgement` None: it never became one."""

    verdict: str
    reason: str
    judgement: Judgement | None = None

    @property
    def proves(self) -> bool:
        return self.verdict in _PROVE


@dataclass(frozen=True)
class Claim:
    """Of `runs`, `failures` did not do what is claimed."""

    runs: int
    failures: int

    @property
    def share(self) -> float:
        """So many do, at least, with 95 % confidence."""
        return binomial.share(self.runs, self.failures)

    @property
    def needed(self) -> int:
        """Runs that prove the wanted share, if no further one fails."""
        return binomial.needed(WANTED, self.failures)


@dataclass(frozen=True)
class Sample:
    """One time of each run that tells it: sorted, in nanoseconds, infinite where it never came."""

    values: tuple[Nanoseconds, ...]
    #: None: the document gives none
    limit: Nanoseconds | None

    @property
    def claim(self) -> Claim:
        """Within the limit; without one, that it comes at all."""
        limit = math.inf if self.limit is None else self.limit
        return Claim(len(self.values), sum(1 for value in self.values if value > limit or math.isinf(value)))

    @property
    def never(self) -> int:
        return sum(1 for value in self.values if math.isinf(value))

    def estimate(self, q: float) -> Nanoseconds | None:
        """The smallest value that this share of the runs did not exceed."""
        return self.values[max(1, math.ceil(q * len(self.values) - 1e-9)) - 1] if self.values else None

    def at_most(self, q: float) -> Nanoseconds | None:
        """The quantile's upper bound with 95 % confidence; None: too few runs; infinite: too many never came."""
        k = binomial.rank(len(self.values), q)
        return None if k is None else self.values[k - 1]


@dataclass(frozen=True)
class Repeated:
    """All runs of one experiment on one environment."""

    experiment: str
    environment: str
    asked: int
    runs: tuple[Once, ...]
    detection: Sample
    recovery: Sample

    @property
    def whole(self) -> Claim:
        """Every expectation met."""
        proving = [run for run in self.runs if run.proves]
        return Claim(len(proving), sum(1 for run in proving if run.verdict != "passed"))

    @property
    def excluded(self) -> list[Once]:
        return [run for run in self.runs if not run.proves]


def repeated(experiment: str, environment: str, asked: int, runs: Sequence[Once]) -> Repeated:
    """`asked`: how many runs were wanted; fewer if one of them stopped the rest."""
    return Repeated(experiment, environment, asked, tuple(runs), _sample("detection", runs), _sample("recovery", runs))


def _sample(name: str, runs: Sequence[Once]) -> Sample:
    told = [(run, finding) for run in runs if (finding := _finding(name, run)) is not None]
    limit = next((finding.limit for _, finding in told if finding.limit is not None), None)
    values = (_value(finding, proves=run.proves) for run, finding in told)
    return Sample(tuple(sorted(value for value in values if value is not None)), limit)


def _finding(name: str, run: Once) -> Finding | None:
    findings = run.judgement.findings if run.judgement else ()
    return next((finding for finding in findings if finding.expectation == name), None)


def _value(finding: Finding, *, proves: bool) -> Nanoseconds | None:
    """The most it may have been; infinite for what failed within the limit (it flapped); None: it tells nothing."""
    least, most = (finding.measured.at_least, finding.measured.at_most) if finding.measured else (math.inf, math.inf)
    limit = math.inf if finding.limit is None else finding.limit
    if finding.verdict == "failed":
        return most if most > limit else math.inf
    if finding.measured is None:
        return None
    if finding.verdict == "inconclusive":
        astride = least <= limit < most
        return most if astride and (proves or not math.isinf(most)) else None
    return most if proves else None
