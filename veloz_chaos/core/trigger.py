"""An entry in the words of other schedulers: when they must start `schedule run`, which then looks what is due.

Where a scheduler can't say when exactly (cron has no first Saturday), it is told to start more often: on each of the
seven days that may be one. What is not due, or was run, is not run again. It is started at the end of each blackout,
too: what was put off is due then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from veloz_chaos.core.blackout import Blackout
from veloz_chaos.core.schedule import ORDINALS, WEEKDAYS, Entry, Schedule

#: Where the days of a month lie that an ordinal may mean.
_SPANS = {"first": (1, 7), "second": (8, 14), "third": (15, 21), "fourth": (22, 28), "last": (22, 31)}
_BEGINS = {"month": (), "quarter": (1, 4, 7, 10), "year": (1,)}
_ENDS = {"month": (), "quarter": (3, 6, 9, 12), "year": (12,)}
_FEWEST_DAYS = 28
#: A leap year and one that is none: where what recurs may lie.
_DAYS = [date(2024, 1, 1) + timedelta(days=n) for n in range(366 + 365)]


@dataclass(frozen=True)
class Trigger:
    minute: int
    hour: int
    zone: str
    #: days of the month, from and to; None: every day
    days: tuple[int, int] | None = None
    #: empty: every month
    months: tuple[int, ...] = ()
    #: 0 is Monday; None: every day of the week
    weekday: int | None = None
    ordinal: str = ""

    @property
    def exact(self) -> bool:
        """Does cron start it only when it is due?"""
        return self.days is None or (self.days[0] == self.days[1] and self.weekday is None)


def triggers(schedule: Schedule, entry: Entry) -> list[Trigger]:
    """Its own comes first."""
    ends = (_after(one, schedule.timezone) for one in schedule.blackouts if one.holds(entry.environment))
    return list(dict.fromkeys([trigger(schedule, entry), *ends]))


def trigger(schedule: Schedule, entry: Entry) -> Trigger:
    """Without blackouts."""
    hour, minute = map(int, entry.at.split(":"))
    zone = entry.timezone or schedule.timezone
    if entry.every == "day":
        return Trigger(minute, hour, zone)
    if entry.every == "week":
        return Trigger(minute, hour, zone, weekday=WEEKDAYS.index(str(entry.day or "monday")))
    if isinstance(entry.day, str):
        ordinal, weekday = entry.day.split("-")
        months = (_ENDS if ORDINALS[ordinal] < 0 else _BEGINS)[entry.every]
        return Trigger(minute, hour, zone, _SPANS[ordinal], months, WEEKDAYS.index(weekday), ordinal)
    number = entry.day or 1
    return Trigger(minute, hour, zone, (min(number, _FEWEST_DAYS), number), _BEGINS[entry.every])


def _after(blackout: Blackout, zone: str) -> Trigger:
    """Each end of it, and where days of a month don't say that exactly, those around it."""
    _, end = blackout.edges()
    ends = [end.moment()] if end.every is None else [found for day in _DAYS if (found := end.on(day)) is not None]
    days, months = ({one.day for one in ends}, {one.month for one in ends})
    return Trigger(
        ends[0].minute,
        ends[0].hour,
        blackout.timezone or zone,
        None if end.every in ("day", "week") else (min(days), max(days)),
        () if end.every in ("day", "week", "month") else tuple(sorted(months)),
        ends[0].weekday() if end.every == "week" else None,
    )


def cron(t: Trigger) -> str:
    """Five fields, in the trigger's own zone. Cron takes a day of the month *or* of the week: the month's is given."""
    return f"{t.minute} {t.hour} {_days(t.days)} {_months(t.months)} {_weekday(t) if t.days is None else '*'}"


def _days(days: tuple[int, int] | None) -> str:
    if days is None:
        return "*"
    return str(days[0]) if days[0] == days[1] else f"{days[0]}-{days[1]}"


def _months(months: Sequence[int]) -> str:
    return ",".join(map(str, months)) or "*"


def _weekday(t: Trigger) -> str:
    """Cron's Sunday is 0."""
    return "*" if t.weekday is None else str((t.weekday + 1) % 7)


def calendar(t: Trigger) -> str:
    """systemd's `OnCalendar`: exact, but for a 29th or 30th, which in a short month is its last day."""
    weekday = "" if t.weekday is None else f"{WEEKDAYS[t.weekday][:3].capitalize()} "
    months = ",".join(f"{month:02}" for month in t.months) or "*"
    if t.days is None:
        day = "-*"
    elif t.ordinal == "last":
        day = "~07/1"
    elif t.days == (_FEWEST_DAYS, 31) and t.weekday is None:
        day = "~01"
    elif t.days[0] == t.days[1]:
        day = f"-{t.days[0]:02}"
    else:
        day = f"-{t.days[0]:02}..{t.days[1]:02}"
    return f"{weekday}*-{months}{day} {t.hour:02}:{t.minute:02}:00 {t.zone}"
