"""What is really so: states as functions of time. Instants are integer nanoseconds."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

State = Literal["shown", "not-shown", "unanswered"]
GOOD: Final = "shown"
BAD: Final = "not-shown"
HANGS: Final = "unanswered"


@dataclass(frozen=True)
class Timeline:
    """`first`, then from each instant on what it changes to."""

    first: State
    changes: tuple[tuple[int, State], ...] = ()

    def at(self, instant: int) -> State:
        found = bisect_right(self.changes, instant, key=lambda change: change[0])
        return self.changes[found - 1][1] if found else self.first

    def shifted(self, by: int) -> Timeline:
        return replace(self, changes=tuple((at + by, state) for at, state in self.changes))

    def is_good(self, instant: int) -> bool:
        return self.at(instant) == GOOD


def stretches(first: State, start: int, lengths: Sequence[tuple[State, int]], then: State) -> Timeline:
    """`first` until `start`, each state for its length, `then` for ever."""
    changes: list[tuple[int, State]] = []
    for state, length in lengths:
        changes.append((start, state))
        start += length
    return Timeline(first, (*changes, (start, then)) if lengths else ())


@dataclass(frozen=True)
class Fault:
    """`struck` and `lifted` are when it really took effect and ended; None: strikes once, nothing to lift."""

    called: int
    returned: int
    struck: int
    lifted: int | None = None
    revert_called: int | None = None
    revert_returned: int | None = None

    def shifted(self, by: int) -> Fault:
        moved = {name: None if value is None else value + by for name, value in vars(self).items()}
        return Fault(**moved)  # type: ignore[arg-type]

    @property
    def there(self) -> Timeline:
        end: tuple[tuple[int, State], ...] = () if self.lifted is None else ((self.lifted, BAD),)
        return Timeline(BAD, ((self.struck, GOOD), *end))


@dataclass(frozen=True)
class Truth:
    """What a measurement should find."""

    fault: Fault
    steady: Mapping[str, Timeline]
    signals: Mapping[str, Timeline]

    def shifted(self, by: int) -> Truth:
        return Truth(
            self.fault.shifted(by),
            {name: line.shifted(by) for name, line in self.steady.items()},
            {name: line.shifted(by) for name, line in self.signals.items()},
        )

    @property
    def detection(self) -> float:
        """The first instant from the strike on at which a signal is shown; infinite if there is none."""
        return min((_first(line, self.fault.struck, good=True) for line in self.signals.values()), default=math.inf)

    @property
    def impact(self) -> float:
        return min(_first(line, self.fault.struck, good=False) for line in self.steady.values())

    @property
    def recovery(self) -> float:
        """When the last probe to mend had mended for good; infinite if one never does."""
        return max(_mended(line) for line in self.steady.values())

    @property
    def time_to_detect(self) -> float:
        return max(0, self.detection - self.fault.struck)

    @property
    def time_to_recover(self) -> float:
        since = self.fault.struck if self.fault.lifted is None else self.fault.lifted
        return max(0, self.recovery - since)


def _first(line: Timeline, since: int, *, good: bool) -> float:
    if line.is_good(since) == good:
        return since
    return next((at for at, state in line.changes if at >= since and (state == GOOD) == good), math.inf)


def _mended(line: Timeline) -> float:
    """The end of the last bad stretch; -inf if there was none."""
    if not line.changes:
        return -math.inf if line.first == GOOD else math.inf
    states = [(-math.inf, line.first), *line.changes]
    if states[-1][1] != GOOD:
        return math.inf
    last_bad = next((n for n in range(len(states) - 1, -1, -1) if states[n][1] != GOOD), None)
    return -math.inf if last_bad is None else states[last_bad + 1][0]
