"""When which experiment is due where."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from veloz_chaos.core.duration import Duration
from veloz_chaos.core.model import Name, Written

TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class Entry(Written):
    experiment: str
    environment: str
    every: Literal["day", "week", "month", "quarter", "year"]
    #: a weekday, a day of the month, or `first-saturday`, `last-friday`, …
    day: (
        Weekday
        | Annotated[int, Field(ge=1, le=31)]
        | Annotated[str, StringConstraints(pattern=r"^(first|second|third|fourth|last)-[a-z]+day$")]
        | None
    ) = None
    at: TimeOfDay
    grace: Duration | None = None
    jitter: Duration | None = None
    with_: dict[Name, Any] = {}


class Blackout(Written):
    title: str = ""
    from_: str
    to: str
    every: Literal["day", "week", "month", "quarter", "year"] | None = None


class Schedule(Written):
    kind: Literal["Schedule"]
    version: Literal[1]
    timezone: str
    entries: Annotated[list[Entry], Field(min_length=1)]
    blackouts: list[Blackout] = []
