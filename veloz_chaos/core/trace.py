"""All looks of one probe in the order of asking, packed: a run of hours must fit in memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SHOWN, NOT_SHOWN, UNANSWERED, UNKNOWN = range(4)
_CODES = {"shown": SHOWN, "not-shown": NOT_SHOWN, "unanswered": UNANSWERED}


@dataclass(frozen=True)
class Look:
    """Instants in boot-time nanoseconds; `entry` is the journal's line."""

    asked: int
    answered: int
    outcome: int
    entry: int

    @property
    def bad(self) -> bool:
        """Breaks a steady state. (A time-out of a stalled loop is unknown and breaks nothing.)"""
        return self.outcome in (NOT_SHOWN, UNANSWERED)


def is_shown(look: Look) -> bool:
    return look.outcome == SHOWN


class Trace:
    def __init__(self) -> None:
        self._asked = array("q")
        self._answered = array("q")
        self._outcome = bytearray()
        self._entry = array("q")

    def __len__(self) -> int:
        return len(self._asked)

    def __getitem__(self, index: int) -> Look:
        return Look(self._asked[index], self._answered[index], self._outcome[index], self._entry[index])

    def __iter__(self) -> Iterator[Look]:
        return (self[index] for index in range(len(self)))

    def add(self, asked: int, answered: int, outcome: str, stalled: bool, entry: int) -> None:
        """Looks arrive in the order of answering; overlapping ones are put in their place."""
        at = len(self) if not self._asked or asked >= self._asked[-1] else bisect_right(self._asked, asked)
        self._asked.insert(at, asked)
        self._answered.insert(at, answered)
        self._outcome.insert(at, UNKNOWN if stalled and outcome == "unanswered" else _CODES[outcome])
        self._entry.insert(at, entry)

    def since(self, instant: float) -> Iterator[Look]:
        """Looks asked at or after the instant, in order."""
        return (self[i] for i in range(bisect_left(self._asked, instant), len(self)))

    def back_from(self, instant: float) -> Iterator[Look]:
        """Looks asked before the instant, the latest first."""
        return (self[i] for i in range(bisect_left(self._asked, instant) - 1, -1, -1))

    def answered_since(self, instant: float) -> list[Look]:
        """Looks whose answer came at or after the instant: those under way then count too."""
        found = list(self.since(instant))
        under_way = []
        for look in self.back_from(instant):
            if look.answered >= instant:
                under_way.append(look)
            elif instant - look.asked > _LONGEST_LOOK:
                break
        return under_way[::-1] + found

    def had(self, outcome: int, since: float) -> bool:
        """Did a look that was asked at or after the instant end so?"""
        return any(look.outcome == outcome for look in self.since(since))

    def inside(self, start: float, end: float) -> list[Look]:
        """Looks that lie wholly inside [start, end]."""
        return [look for look in self.asked_in(start, end) if look.answered <= end]

    def asked_in(self, start: float, end: float) -> list[Look]:
        """Looks asked in [start, end], whenever they were answered."""
        return [self[i] for i in range(bisect_left(self._asked, start), bisect_right(self._asked, end))]

    def first_answered(self, wanted: Callable[[Look], bool], since: float) -> Look | None:
        """Of the looks asked at or after `since`, the wanted one that was answered first."""
        found: Look | None = None
        for look in self.since(since):
            if found is not None and look.asked > found.answered:
                break
            if wanted(look) and (found is None or look.answered < found.answered):
                found = look
        return found

    def last(self) -> Look | None:
        """The look that was asked last."""
        return self[len(self) - 1] if self._asked else None

    def last_answer(self) -> int | None:
        return self._answered[-1] if self._answered else None


#: Looks are bounded by their time-out; none is longer than this.
_LONGEST_LOOK = 600 * 1_000_000_000
