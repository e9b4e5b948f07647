"""The edges of a blackout: text to a place in a day, week, month or year, or in time once and for all."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal

Every = Literal["day", "week", "month", "year"]
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIME = re.compile(r"(?:^|[ T])([01][0-9]|2[0-3]):([0-5][0-9])$")
#: How each is written.
_FORMS: dict[Every | None, str] = {
    None: '"2026-12-24" or "2026-12-24 18:00"',
    "day": '"22:00"',
    "week": "friday or friday 18:00",
    "month": '28 or "28 18:00"',
    "year": '"12-24" or "12-24 18:00"',
}


@dataclass(frozen=True)
class Edge:
    """`which`: None (any day), a weekday (0 is Monday), a day of the month, (month, day), or a date. `whole`: the end
    of that day, 00:00 of the next one."""

    every: Every | None
    which: int | tuple[int, int] | date | None
    at: time
    whole: bool = False

    def moment(self) -> datetime:
        """Of one that does not recur, in its zone's own time. The last day there is ends in its last second."""
        assert isinstance(self.which, date)
        if self.whole and self.which == date.max:
            return datetime.max.replace(microsecond=0)
        return datetime.combine(self.which, self.at) + timedelta(days=self.whole)

    def on(self, day: date) -> datetime | None:
        """Its moment if it is on this day."""
        if not self._is(day):
            return None
        return datetime.combine(day, self.at) + timedelta(days=self.whole)

    def _is(self, day: date) -> bool:
        if self.every == "day":
            return True
        if self.every == "week":
            return day.weekday() == self.which
        month, number = self.which if isinstance(self.which, tuple) else (day.month, self.which)
        assert isinstance(number, int)
        if day.month != month or day.day > number:
            return False
        return day.day == number or day.day == monthrange(day.year, day.month)[1]


def edge(text: str, every: Every | None, *, last: bool) -> Edge:
    """`last`: it is the end of a blackout. Raises ValueError that says what to write."""
    clock = _TIME.search(text)
    day = text[: clock.start()] if clock else text
    at = time(int(clock[1]), int(clock[2])) if clock else time()
    try:
        return Edge(every, _which(day.strip().lower(), every, timed=clock is not None), at, last and clock is None)
    except ValueError:
        kind = f"of a blackout every {every}" if every else "of a blackout"
        raise ValueError(f"`{text}` is no edge {kind}; write {_FORMS[every]}") from None


def _which(day: str, every: Every | None, *, timed: bool) -> int | tuple[int, int] | date | None:
    match every:
        case None:
            return date.fromisoformat(day)
        case "day":
            if day or not timed:
                raise ValueError
            return None
        case "week":
            return _WEEKDAYS.index(day)
        case "month":
            if not 1 <= int(day) <= 31:
                raise ValueError
            return int(day)
    month, number = day.split("-")
    return date(2024, int(month), int(number)).month, int(number)
