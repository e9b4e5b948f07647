"""Time as an interval: what happened lies between two instants we are sure of.

Instants and lengths are integer nanoseconds of the boot-time clock; `math.inf` stands for "not seen by the end".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

#: Nanoseconds: an int, or math.inf.
Nanoseconds = int | float

SECOND = 1_000_000_000


@dataclass(frozen=True)
class Interval:
    """[at_least, at_most] in nanoseconds, both ends included; an instant or a length, as its user says."""

    at_least: Nanoseconds
    at_most: Nanoseconds

    def __post_init__(self) -> None:
        if self.at_least > self.at_most:
            raise ValueError(f"an interval ends before it begins: [{self.at_least}, {self.at_most}]")

    @property
    def width(self) -> Nanoseconds:
        return self.at_most - self.at_least

    def since(self, start: Interval) -> Interval:
        """The length from `start` to this instant, floored at 0 at both ends."""
        return Interval(max(0, self.at_least - start.at_most), max(0, self.at_most - start.at_least))

    def holds(self, instant: Nanoseconds) -> bool:
        return self.at_least <= instant <= self.at_most

    def as_json(self) -> dict[str, Any]:
        """Seconds, as people read them; an end that was not seen is null."""
        return {"at_least": _seconds(self.at_least), "at_most": _seconds(self.at_most)}


def _seconds(value: Nanoseconds) -> float | None:
    return None if math.isinf(value) else round(value / SECOND, 6)
