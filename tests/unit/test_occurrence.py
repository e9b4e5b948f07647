"""When something is due: against tables made by other libraries, and by laws."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import pytest
import whenever
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from veloz_chaos.core.occurrence import Occurrence, before, dues, occurrences
from veloz_chaos.core.schedule import WEEKDAYS, Entry, Schedule

#: Clocks that change by an hour, by half of one, in the south, twice in a year around a month, and never.
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata"]
START = datetime(2026, 1, 15, 12, tzinfo=UTC)


def entry(**said: Any) -> Entry:
    return Entry.model_validate({"experiment": "a", "environment": "b", "every": "day", "at": "10:00", **said})


def schedule(only: Entry, zone: str = "UTC", **said: Any) -> Schedule:
    written = only.model_dump(by_alias=True, exclude_none=True)
    return Schedule.model_validate({"kind": "Schedule", "version": 1, "timezone": zone, "entries": [written], **said})


def next_(only: Entry, count: int = 1, after: datetime = START, zone: str = "UTC", **said: Any) -> list[Occurrence]:
    return list(islice(occurrences(schedule(only, zone, **said), "s", only, after), count))


def table(cron: str, zone: str, count: int) -> list[datetime]:
    """The local times by croniter, in UTC by whenever: a time that is left out as much later, one that comes twice the
    first time."""
    local = croniter(cron, START.replace(tzinfo=None) - timedelta(days=2))
    found: list[datetime] = []
    while len(found) < count:
        plain = whenever.PlainDateTime(local.get_next(datetime))
        instant = plain.assume_tz(zone, disambiguation="compatible").to_instant()
        moment = datetime.fromtimestamp(instant.timestamp(), UTC)
        if moment > START:
            found.append(moment)
    return found


CRONS = [
    ({"every": "day", "at": "02:30"}, "30 2 * * *"),
    ({"every": "day", "at": "01:45"}, "45 1 * * *"),
    ({"every": "week", "day": "sunday", "at": "02:15"}, "15 2 * * 0"),
    ({"every": "week", "day": "monday", "at": "10:00"}, "0 10 * * 1"),
    ({"every": "month", "day": 15, "at": "02:00"}, "0 2 15 * *"),
    ({"every": "month", "day": "first-sunday", "at": "02:30"}, "30 2 * * 0#1"),
    ({"every": "month", "day": "last-sunday", "at": "02:30"}, "30 2 * * L0"),
    ({"every": "month", "day": 31, "at": "10:00"}, "0 10 L * *"),
    ({"every": "quarter", "day": "first-saturday", "at": "06:00"}, "0 6 * 1,4,7,10 6#1"),
    ({"every": "year", "day": "second-monday", "at": "06:00"}, "0 6 * 1 1#2"),
]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("said", "cron"), CRONS, ids=[cron for _, cron in CRONS])
def test_a_thousand_are_exact(said: dict[str, Any], cron: str, zone: str) -> None:
    only = entry(**said)
    count = 50 if only.every == "year" else 200 if only.every == "quarter" else 1000
    assert list(islice(dues(schedule(only, zone), only, START), count)) == table(cron, zone, count)


def test_the_clock_changes_are_among_them() -> None:
    """Otherwise the table above would prove little."""
    only = entry(at="02:30")
    hours = {due.hour for due in islice(dues(schedule(only, "Europe/Berlin"), only, START), 1000)}
    assert hours == {0, 1}
    assert datetime(2026, 3, 29, 1, 30, tzinfo=UTC) in list(
        islice(dues(schedule(only, "Europe/Berlin"), only, START), 100)
    )


ENTRIES = st.one_of(
    st.builds(entry, at=st.sampled_from(["00:00", "02:30", "23:59"])),
    st.builds(entry, every=st.just("week"), day=st.sampled_from(WEEKDAYS)),
    st.builds(entry, every=st.sampled_from(["month", "quarter", "year"]), day=st.integers(1, 31)),
    st.builds(
        entry,
        every=st.sampled_from(["month", "quarter", "year"]),
        day=st.builds("{}-{}".format, st.sampled_from(["first", "third", "last"]), st.sampled_from(WEEKDAYS)),
    ),
)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@settings(max_examples=200)
@given(ENTRIES, st.sampled_from(ZONES), MOMENTS)
def test_they_do_not_depend_on_where_one_begins_to_look(only: Entry, zone: str, moment: datetime) -> None:
    made = schedule(only, zone)
    first, second = islice(dues(made, only, moment), 2)
    assert moment < first < second
    assert next(dues(made, only, first - timedelta(seconds=1))) == first
    assert next(dues(made, only, first)) == second
    assert before(made, only, first) == first
    assert before(made, only, second - timedelta(seconds=1)) == first


@settings(max_examples=100)
@given(st.integers(1, 31), MOMENTS)
def test_no_month_is_left_out(day: int, moment: datetime) -> None:
    only = entry(every="month", day=day)
    found = list(islice(dues(schedule(only), only, moment), 13))
    assert all((b.year * 12 + b.month) - (a.year * 12 + a.month) == 1 for a, b in pairwise(found))
    assert all(due.day == min(day, monthrange(due.year, due.month)[1]) for due in found)


def test_the_last_friday_of_a_quarter_is_in_its_last_month() -> None:
    (found,) = next_(entry(every="quarter", day="last-friday"))
    assert found.due.date() == date(2026, 3, 27)


def test_nothing_is_due_before_it_began() -> None:
    only = entry(since="2026-06-01")
    made = schedule(only, since="2026-03-01")
    assert next(dues(made, only, START)) == datetime(2026, 6, 1, 10, tzinfo=UTC)
    assert before(made, only, datetime(2026, 5, 1, tzinfo=UTC)) is None
    assert next(dues(schedule(entry(), since="2026-03-01"), entry(), START)) == datetime(2026, 3, 1, 10, tzinfo=UTC)


def test_an_entry_s_own_zone_wins() -> None:
    (found,) = next_(entry(timezone="Asia/Kolkata"), zone="Europe/Berlin")
    assert found.due == datetime(2026, 1, 16, 4, 30, tzinfo=UTC)


# --- jitter --------------------------------------------------------------------------------------------------------


def test_jitter_is_within_its_bounds_always_the_same_and_different_each_time() -> None:
    found = next_(entry(jitter="30m"), 200)
    again = next_(entry(jitter="30m"), 200)
    assert found == again
    late = [(o.start - o.due).total_seconds() for o in found]
    assert all(0 <= seconds < 1800 for seconds in late)
    assert len(set(late)) > 150
    assert max(late) > 1500
    assert min(late) < 300


def test_two_entries_of_the_same_time_do_not_start_together() -> None:
    one, other = next_(entry(jitter="30m")), next_(entry(jitter="30m", experiment="c"))
    assert one[0].start != other[0].start


# --- blackouts -----------------------------------------------------------------------------------------------------

BLACKOUTS = [
    ({"from": "2026-01-16", "to": "2026-01-18"}, datetime(2026, 1, 19, 0, tzinfo=UTC)),
    ({"from": "2026-01-16", "to": "2026-01-18 12:00"}, datetime(2026, 1, 18, 12, tzinfo=UTC)),
    ({"every": "day", "from": "09:00", "to": "11:30"}, datetime(2026, 1, 16, 11, 30, tzinfo=UTC)),
    ({"every": "day", "from": "22:00", "to": "12:00"}, datetime(2026, 1, 16, 12, tzinfo=UTC)),
    ({"every": "week", "from": "friday", "to": "sunday"}, datetime(2026, 1, 19, tzinfo=UTC)),
    ({"every": "week", "from": "thursday 18:00", "to": "friday 10:01"}, datetime(2026, 1, 16, 10, 1, tzinfo=UTC)),
    ({"every": "month", "from": 16, "to": 16}, datetime(2026, 1, 17, tzinfo=UTC)),
    ({"every": "month", "from": "14", "to": "3 09:00"}, datetime(2026, 2, 3, 9, tzinfo=UTC)),
    ({"every": "year", "from": "12-24", "to": "01-16"}, datetime(2026, 1, 17, tzinfo=UTC)),
    ({"every": "week", "from": "saturday", "to": "sunday"}, datetime(2026, 1, 16, 10, tzinfo=UTC)),
    ({"every": "day", "from": "10:01", "to": "09:59"}, datetime(2026, 1, 16, 10, tzinfo=UTC)),
    ({"from": "2026-01-16", "to": "2026-01-16 10:00"}, datetime(2026, 1, 16, 10, tzinfo=UTC)),
]


@pytest.mark.parametrize(("said", "start"), BLACKOUTS, ids=str)
def test_what_is_due_in_a_blackout_is_due_when_it_ends(said: dict[str, Any], start: datetime) -> None:
    (found,) = next_(entry(every="month", day=16), blackouts=[said])
    assert (found.due, found.start) == (datetime(2026, 1, 16, 10, tzinfo=UTC), start)
    assert bool(found.moved) == (start != found.due)


def test_one_blackout_after_the_other() -> None:
    blackouts = [
        {"every": "day", "from": "09:00", "to": "12:00"},
        {"title": "lunch", "every": "day", "from": "12:00", "to": "13:00"},
    ]
    (found,) = next_(entry(), blackouts=blackouts)
    assert (found.start.hour, found.moved) == (13, "lunch")


def test_a_blackout_until_the_next_one_leaves_it_out() -> None:
    blackouts = [{"title": "freeze", "from": "2026-01-16", "to": "2026-01-20"}]
    found = next_(entry(), 6, blackouts=blackouts)
    assert [bool(o.skipped) for o in found] == [True] * 4 + [False] * 2
    assert "in the blackout freeze" in found[0].skipped


def test_a_blackout_beyond_the_window_leaves_it_out() -> None:
    blackouts = [{"every": "day", "from": "09:00", "to": "15:00"}]
    (found,) = next_(entry(every="week", day="friday", window="4h"), blackouts=blackouts)
    assert found.skipped


def test_a_blackout_is_of_its_environments() -> None:
    blackouts = [{"from": "2026-01-16", "to": "2026-01-18", "environments": ["production"]}]
    assert next_(entry(), blackouts=blackouts)[0].moved == ""
    assert next_(entry(environment="production"), blackouts=blackouts)[0].moved != ""


def test_a_blackout_s_times_are_those_of_the_schedule_s_zone() -> None:
    blackouts = [{"every": "day", "from": "09:00", "to": "12:00"}]
    (found,) = next_(entry(), zone="Europe/Berlin", blackouts=blackouts)
    assert found.start == datetime(2026, 1, 16, 11, tzinfo=UTC)


def test_everything_black_never_ends_and_is_left_out() -> None:
    blackouts = [
        {"every": "day", "from": "00:00", "to": "12:00"},
        {"every": "day", "from": "12:00", "to": "00:00"},
    ]
    assert next_(entry(), blackouts=blackouts)[0].skipped


def test_changing_jitter_and_blackouts_does_not_make_it_another_one() -> None:
    plain = next_(entry(), 10)
    moved = next_(entry(jitter="1h"), 10, blackouts=[{"every": "day", "from": "09:00", "to": "11:00"}])
    assert [o.due for o in plain] == [o.due for o in moved]
