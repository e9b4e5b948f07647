"""One run as the history knows it: what its journal says at its beginning and its end, without what lies between."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from veloz_chaos.core.interval import Interval, Nanoseconds

#: Verdicts that say something of the system, in the journal's own words.
JUDGED = ("passed", "failed", "inconclusive")
#: Something was still in place, or down: it did not pass.
LEFT_BEHIND = "left-behind"
#: Beside those of a judgement: the runner died (or the journal has no end), and it still lives.
INTERRUPTED, UNDER_WAY = "interrupted", "under-way"
VERDICTS = (*JUDGED, "refused", "aborted", LEFT_BEHIND, "broken", INTERRUPTED, UNDER_WAY)


class Time(NamedTuple):
    """Detection or recovery; lengths in nanoseconds, infinite where it never came."""

    verdict: str
    measured: Interval | None
    #: None: the document gives none
    limit: Nanoseconds | None


@dataclass(frozen=True)
class Record:
    run: str
    #: the folder's name under the runs
    folder: str
    #: seconds since 1970, of the machine that ran it
    started: float
    host: str
    version: str
    experiment: str
    environment: str
    tier: str
    #: of the response matrix
    row: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    placebo: bool = False
    #: what was done to it only resembles the real thing
    emulated: bool = False
    #: the schedule, its entry and when that was due (seconds since 1970), of a run that was asked for by one
    schedule: str = ""
    entry: str = ""
    due: float | None = None
    #: one of VERDICTS
    verdict: str = INTERRUPTED
    reason: str = ""
    detection: Time | None = None
    recovery: Time | None = None
    #: whatever else was measured, by its expectation: rto, rpo, …
    more: Mapping[str, Time] = field(default_factory=dict)

    def time(self, name: str) -> Time | None:
        """`detection`, `recovery`, `rto`, …"""
        return {"detection": self.detection, "recovery": self.recovery}.get(name) or self.more.get(name)

    @property
    def judged(self) -> bool:
        """Does it say something of the system? A placebo never does."""
        return self.verdict in JUDGED and not self.placebo

    @property
    def tells(self) -> bool:
        """Does it say whether its row is proven? What left the system down, or a fault in it, says that it is not."""
        return self.judged or (self.verdict == LEFT_BEHIND and not self.placebo)


def time_of(verdict: str, least: float | None, most: float | None, limit: float | None) -> Time:
    """As journals and the index keep it: without a least nothing was measured, without a most it never came."""
    measured = None if least is None else Interval(least, math.inf if most is None else most)
    return Time(verdict, measured, limit)
