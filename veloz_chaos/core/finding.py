"""One expectation, judged: at most within the limit passes, at least beyond it fails, astride is inconclusive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from veloz_chaos.core.interval import SECOND, Interval, Nanoseconds
from veloz_chaos.core.length import interval
from veloz_chaos.core.length import length as long
from veloz_chaos.core.window import Verdict


@dataclass(frozen=True)
class Finding:
    """One expectation: what was measured, the limit, and the journal entries it comes from. Lengths in ns."""

    expectation: str
    verdict: Verdict
    reason: str
    measured: Interval | None = None
    limit: Nanoseconds | None = None
    entries: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "expectation": self.expectation,
            "verdict": self.verdict,
            "reason": self.reason,
            "measured_seconds": self.measured and self.measured.as_json(),
            "limit_seconds": None if self.limit is None else self.limit / SECOND,
            "entries": list(self.entries),
        }


def _beyond(length: Interval, limit: Nanoseconds) -> str:
    least, allowed = long(length.at_least), long(limit)
    if least == allowed:
        least = f"{long(length.at_least - limit)} more than {allowed}"
    return f"took at least {least}, the limit is {allowed}"


def against(name: str, length: Interval, limit: Nanoseconds, entries: tuple[int, ...]) -> Finding:
    """A measured length against its limit."""
    if length.at_most <= limit:
        return Finding(name, "passed", "within the limit", length, limit, entries)
    if length.at_least > limit:
        return Finding(
            name,
            "failed",
            _beyond(length, limit),
            length,
            limit,
            entries,
        )
    return Finding(
        name,
        "inconclusive",
        f"took {interval(length)}, and the limit {long(limit)} lies in between; look more often",
        length,
        limit,
        entries,
    )
