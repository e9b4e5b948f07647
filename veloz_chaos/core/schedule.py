"""When which experiment is due where, as people write it. When that is in time: `occurrence.py`."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from veloz_chaos.core.blackout import Blackout, Zone
from veloz_chaos.core.duration import Duration, show
from veloz_chaos.core.model import Name, Written

TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Every = Literal["day", "week", "month", "quarter", "year"]
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
#: Where in a month, quarter or year a weekday is; the last counts from its end.
ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}

#: The shortest that each may be, and how late it may be before it is overdue, unless the entry says so itself.
LENGTHS = {"day": 1, "week": 7, "month": 28, "quarter": 90, "year": 365}
GRACE = {"day": 6 / 24, "week": 2, "month": 7, "quarter": 14, "year": 30}


def _day(text: Any) -> Any:
    try:
        return date.fromisoformat(text) if isinstance(text, str) else text
    except ValueError:
        raise ValueError(f'`{text}` is not a date; write it as "2026-03-01"') from None


Date = Annotated[date, BeforeValidator(_day)]
NthWeekday = Annotated[str, StringConstraints(pattern=rf"^({'|'.join(ORDINALS)})-({'|'.join(WEEKDAYS)})$")]


class Entry(Written):
    #: how it is called; otherwise `EXPERIMENT@ENVIRONMENT`
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@-]*$", max_length=200)] | None = None
    experiment: str
    environment: str
    every: Every
    #: a weekday; a day of the month (where a month has fewer, its last); or `first-saturday`, `last-friday`, …
    day: Weekday | Annotated[int, Field(ge=1, le=31)] | NthWeekday | None = None
    at: TimeOfDay
    timezone: Zone | None = None
    #: not before this day
    since: Date | None = None
    #: `schedule run` starts it no later than so long after `at`
    window: Duration | None = None
    #: overdue if it was not run so long after it was due
    grace: Duration | None = None
    #: later by up to so much, each time by another length, always the same for the same occurrence
    jitter: Duration | None = None
    with_: dict[Name, Any] = {}

    @property
    def id(self) -> str:
        return self.name or f"{self.experiment}@{self.environment}"

    @property
    def patience(self) -> timedelta:
        """From when it is due to when it is overdue."""
        return self.grace if self.grace is not None else timedelta(days=GRACE[self.every])

    @model_validator(mode="after")
    def _day_fits(self) -> Self:
        if self.every == "day" and self.day is not None:
            raise ValueError("`every: day` has no `day`; leave it out, or write every: week")
        weekday = self.day in WEEKDAYS
        if self.every == "week" and self.day is not None and not weekday:
            raise ValueError(f"a week has no day `{self.day}`; write monday, tuesday, …")
        if self.every not in ("day", "week") and weekday:
            raise ValueError(f"which {self.day} of the {self.every}? write first-{self.day} or last-{self.day}")
        return self

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        period = timedelta(days=LENGTHS[self.every])
        for key, length in (("window", self.window), ("grace", self.grace), ("jitter", self.jitter)):
            if length is not None and length >= period:
                raise ValueError(f"`{key}` must be shorter than a {self.every}, not {show(length)}")
        if self.window is not None and self.jitter is not None and self.jitter >= self.window:
            raise ValueError("`jitter` must be shorter than `window`, or some occurrences could never start")
        return self


class ScheduledBlackout(Blackout):
    #: only for entries on these; otherwise for all
    environments: list[str] = []

    def holds(self, environment: str) -> bool:
        return not self.environments or environment in self.environments


class Schedule(Written):
    kind: Literal["Schedule"]
    version: Literal[1]
    timezone: Zone
    #: nothing was due before this day
    since: Date | None = None
    entries: Annotated[list[Entry], Field(min_length=1)]
    blackouts: list[ScheduledBlackout] = []

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        ids = [entry.id for entry in self.entries]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"two entries are called `{twice[0]}`; give each a `name` of its own")
        return self
