"""Times in which nothing starts, as people write them, when each ends, and which is next: of a schedule, or of an
environment.

Their times of day are a zone's own, by the same rules as an entry's: one that a clock put forward leaves out is taken
by as much later, one that comes twice is taken the first time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from dateutil import tz
from pydantic import AfterValidator, model_validator

from veloz_chaos.core.edge import Edge, edge
from veloz_chaos.core.model import Written
from veloz_chaos.core.nearest import did_you_mean

#: The zone of an environment's blackouts that name none.
UNNAMED = "UTC"
_DAY = timedelta(days=1)
#: How far back one may have begun.
_REACH = {"day": 2, "week": 8, "month": 32, "year": 367}
#: Those that recur, one after the other without a gap for so long, never end.
FAR = timedelta(days=3653)
#: Nor does one that is so much longer: people write some last day for that.
_FOR_EVER = timedelta(days=36525)
#: Nothing is later, and nothing earlier.
LAST, _FIRST = datetime.max.replace(microsecond=0, tzinfo=UTC), datetime.min.replace(tzinfo=UTC)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(
            f"there is no time zone `{name}`; {did_you_mean(name, sorted(available_timezones()))}"
        ) from None
    return name


Zone = Annotated[str, AfterValidator(_zone)]


class Blackout(Written):
    """A time in which nothing starts: `from` and `to` as dates (`"2026-12-24"`, with `every: year` `12-24`), weekdays
    (`every: week`) or days of the month (`every: month`), each with or without a time of day; `every: day`: times only.
    A day without a time counts from its beginning in `from`, to its end in `to`. What was due in it is due after it."""

    title: str = ""
    from_: str | int
    to: str | int
    every: Literal["day", "week", "month", "year"] | None = None
    #: otherwise the schedule's; of an environment's: UTC
    timezone: Zone | None = None

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        start, end = self.edges()
        if self.every is None and not start.moment() < end.moment():
            raise ValueError("a blackout must begin before it ends; exchange `from` and `to`")
        if self.every is not None and start == end:
            raise ValueError("`from` and `to` are the same; nothing would ever start")
        return self

    def edges(self) -> tuple[Edge, Edge]:
        """Raises ValueError."""
        return edge(str(self.from_), self.every, last=False), edge(str(self.to), self.every, last=True)

    @property
    def name(self) -> str:
        return self.title or f"from {self.from_} to {self.to}"


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """A time of day of a zone, in UTC; where the calendar ends, its end."""
    try:
        return tz.resolve_imaginary(local.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        return LAST if local.year > 5000 else _FIRST


def ahead(moment: datetime, length: timedelta) -> datetime:
    """So much later, within the calendar."""
    return moment + length if length < LAST - moment else LAST


def out_of(
    blackouts: Sequence[Blackout], zone: str, moment: datetime, before: datetime | None = None
) -> tuple[datetime | None, str]:
    """The first instant from this one on that is in none of them, and the name of the last one that was in the way.
    None: there is none before that, or they never end. `zone`: of those that name none."""
    bounds = [(b, *b.edges(), ZoneInfo(b.timezone or zone)) for b in blackouts]
    limit, name = before or ahead(moment, FAR), ""
    while ends := [(end, b) for b, begin, over, at in bounds if (end := _end(b, begin, over, at, moment))]:
        end, blackout = max(ends, key=lambda pair: pair[0])
        name = blackout.name
        if before is None and blackout.every is None:
            limit = ahead(end, FAR if end - moment < _FOR_EVER else timedelta(0))
        if end >= limit:
            return None, name
        moment = end
    return moment, name


def first_within(
    blackouts: Sequence[Blackout], zone: str, moment: datetime, until: datetime
) -> tuple[datetime, str] | None:
    """The first beginning of one after this moment and before that, and its name. `zone`: of those that name none."""
    begun = (
        (start, b.name) for b in blackouts for start in _beginnings(b, ZoneInfo(b.timezone or zone), moment, until)
    )
    return min((one for one in begun if moment < one[0] < until), default=None)


def _beginnings(blackout: Blackout, zone: ZoneInfo, moment: datetime, until: datetime) -> Iterator[datetime]:
    """All between them, and some before and after."""
    start, _ = blackout.edges()
    if blackout.every is None:
        yield instant(start.moment(), zone)
        return
    first, last = (one.astimezone(zone).date() for one in (moment, until))
    for n in range(-1, (last - first).days + 1):
        begun = start.on(first + n * _DAY)
        if begun is not None:
            yield instant(begun, zone)


def _end(blackout: Blackout, start: Edge, end: Edge, zone: ZoneInfo, moment: datetime) -> datetime | None:
    """When it ends, if this moment is in it."""
    if blackout.every is None:
        begins, ends = instant(start.moment(), zone), instant(end.moment(), zone)
        return ends if begins <= moment < ends else None
    today = moment.astimezone(zone).date()
    for n in range(_REACH[blackout.every] + 1):
        begun = start.on(today - n * _DAY)
        if begun is None or instant(begun, zone) > moment:
            continue
        ends = _following(end, begun, zone)
        return ends if moment < ends else None
    return None


def _following(end: Edge, begun: datetime, zone: ZoneInfo) -> datetime:
    """The first end after a beginning, which is in the zone's own time."""
    days = (begun.date() + n * _DAY for n in count(-1))
    return next(instant(ended, zone) for day in days if (ended := end.on(day)) is not None and ended > begun)
