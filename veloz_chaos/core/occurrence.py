"""From a schedule to instants: pure functions of the schedule and an instant, by the rules of python-dateutil.

An entry's times of day are its zone's own. One that a clock put forward leaves out (02:30 on the last Sunday of
March) is taken by as much later (03:30); one that a clock put back shows twice is taken the first time. A day that a
month does not have is its last one.

What is due in a blackout is due when that ends; if by then the window is over or the next occurrence is due, it is left
out. An occurrence is named by when it is due without jitter and blackouts, so that changing these does not make it
another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from dateutil import rrule

from veloz_chaos.core.blackout import ahead, instant, out_of
from veloz_chaos.core.schedule import ORDINALS, WEEKDAYS, Entry, Schedule

_DAY = timedelta(days=1)
#: Longer than any entry's period, with the jitter and clock changes of its edges.
_PERIODS = {"day": 3, "week": 9, "month": 38, "quarter": 106, "year": 375}
#: The months in which quarters and years begin, and end.
_FIRST = {"month": range(1, 13), "quarter": (1, 4, 7, 10), "year": (1,)}
_LAST = {"month": range(1, 13), "quarter": (3, 6, 9, 12), "year": (12,)}


@dataclass(frozen=True)
class Occurrence:
    """All in UTC. `due` names it; `start`: with jitter, after blackouts."""

    entry: str
    due: datetime
    start: datetime
    #: `schedule run` starts it before this; None: until the next one
    until: datetime | None
    #: not run by then: overdue
    overdue: datetime
    #: the blackout that moved it
    moved: str = ""
    #: why it is left out
    skipped: str = ""


def occurrences(schedule: Schedule, name: str, entry: Entry, after: datetime) -> Iterator[Occurrence]:
    """Those due after an instant, in order, as long as there is a calendar. `name`: the schedule's."""
    for due, following in pairwise(dues(schedule, entry, after)):
        yield _occurrence(schedule, name, entry, due, following)


def dues(schedule: Schedule, entry: Entry, after: datetime) -> Iterator[datetime]:
    """The instants alone, without jitter and blackouts."""
    zone = ZoneInfo(entry.timezone or schedule.timezone)
    since = max(filter(None, (schedule.since, entry.since)), default=None)
    begin = datetime.combine(after.astimezone(zone).date(), datetime.min.time()) - 2 * _DAY
    if since is not None:
        begin = max(begin, datetime.combine(since, datetime.min.time()))
    for local in _rule(entry, begin):
        due = instant(local, zone)
        if due > after:
            yield due


def before(schedule: Schedule, entry: Entry, moment: datetime) -> datetime | None:
    """The last one due at or before this moment."""
    found = None
    for due in dues(schedule, entry, moment - timedelta(days=_PERIODS[entry.every])):
        if due > moment:
            return found
        found = due
    return found


def _rule(entry: Entry, begin: datetime) -> rrule.rrule:
    hour, minute = map(int, entry.at.split(":"))
    at: dict[str, Any] = {"dtstart": begin, "byhour": hour, "byminute": minute, "bysecond": 0}
    if entry.every == "day":
        return rrule.rrule(rrule.DAILY, **at)
    if entry.every == "week":
        return rrule.rrule(rrule.WEEKLY, byweekday=WEEKDAYS.index(str(entry.day or "monday")), **at)
    if isinstance(entry.day, str):
        ordinal, weekday = entry.day.split("-")
        months = (_LAST if ordinal == "last" else _FIRST)[entry.every]
        return rrule.rrule(
            rrule.MONTHLY, bymonth=months, byweekday=rrule.weekday(WEEKDAYS.index(weekday), ORDINALS[ordinal]), **at
        )
    number = entry.day or 1
    days = range(min(28, number), number + 1) if number > 28 else (number,)
    return rrule.rrule(rrule.MONTHLY, bymonth=_FIRST[entry.every], bymonthday=days, bysetpos=-1, **at)


def _occurrence(schedule: Schedule, name: str, entry: Entry, due: datetime, following: datetime) -> Occurrence:
    wanted = due + later(name, entry, due)
    until = due + entry.window if entry.window is not None else None
    last = min(following, until) if until else following
    free, moved = out_of_blackouts(schedule, entry, wanted, last)
    skipped = f"in the blackout {moved} until it could start no more" if free is None else ""
    start = free or last
    return Occurrence(entry.id, due, start, until, ahead(start, entry.patience), moved, skipped)


def later(name: str, entry: Entry, due: datetime) -> timedelta:
    """The jitter of one occurrence, in whole seconds."""
    if entry.jitter is None:
        return timedelta(0)
    seconds = int(entry.jitter.total_seconds())
    digest = sha256(f"{name}|{entry.id}|{due.isoformat()}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8], "big") % max(1, seconds))


def out_of_blackouts(
    schedule: Schedule, entry: Entry, moment: datetime, before: datetime | None = None
) -> tuple[datetime | None, str]:
    """The first instant from this one on that is in no blackout, and the name of the last one that was in the way.
    None: there is none before that, or they never end."""
    return out_of([b for b in schedule.blackouts if b.holds(entry.environment)], schedule.timezone, moment, before)
