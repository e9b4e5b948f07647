"""What a link does while nobody hurts it: the yardstick that link faults put into their receipts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from veloz_chaos.core.capability import Link
from veloz_chaos.errors import Refused

ASKS = 5
PATIENCE = timedelta(seconds=2)


@dataclass(frozen=True)
class RoundTrip:
    """Seconds."""

    median: float
    slowest: float

    @property
    def silence(self) -> timedelta:
        """How long an answer must be out before we call the link silent."""
        return timedelta(seconds=max(0.25, 10 * self.median))


def round_trip(link: Link) -> RoundTrip:
    """One ping each over several new connections. Raises Refused if one of them is not answered."""
    seconds = [_ask(link) for _ in range(ASKS)]
    return RoundTrip(median(seconds), max(seconds))


def _ask(link: Link) -> float:
    passage = link.pass_through(1, PATIENCE)
    if passage.outcome != "answered":
        raise Refused(f"{link.reference} does not answer undisturbed ({passage.outcome}); mend the link first")
    return passage.seconds
