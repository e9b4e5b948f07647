"""Blackouts alone: when one ends, across clock changes, against another library; and of an environment."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
import whenever
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.simulation.files import planned, refusal, written
from tests.unit.test_cli_app import call
from tests.unit.test_occurrence import MOMENTS, ZONES
from veloz_chaos.core.blackout import Blackout, first_within, out_of
from veloz_chaos.core.length import length
from veloz_chaos.engine import files

#: A Monday.
MONDAY = datetime(2030, 1, 7, tzinfo=UTC)
TRADING = {"title": "trading hours", "every": "day", "from": "13:30", "to": "20:00"}


def blackout(**said: Any) -> Blackout:
    return Blackout.model_validate({key.rstrip("_"): value for key, value in said.items()})


# --- in time -------------------------------------------------------------------------------------------------------

TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
CLOCK_CHANGES = st.builds(
    lambda day, minutes: day + timedelta(minutes=minutes),
    st.sampled_from([datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC),
                     datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC),
                     datetime(2026, 4, 4, 6, tzinfo=UTC), datetime(2026, 10, 3, 6, tzinfo=UTC)]),
    st.integers(0, 24 * 60),
)  # fmt: skip


def elsewhere(begin: str, end: str, zone: str, around: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The daily blackouts around a moment, by whenever."""
    for n in range(-3, 3):
        day = (around + timedelta(days=n)).date()
        last = day if time.fromisoformat(end) > time.fromisoformat(begin) else day + timedelta(days=1)
        yield instant(day, begin, zone), instant(last, end, zone)


def instant(day: Any, clock: str, zone: str) -> datetime:
    plain = whenever.PlainDateTime(day.year, day.month, day.day, int(clock[:2]), int(clock[3:]))
    found = plain.assume_tz(zone, disambiguation="compatible").to_instant()
    return datetime.fromtimestamp(found.timestamp(), UTC)


@settings(max_examples=400)
@given(TIMES, TIMES, st.sampled_from(ZONES), MOMENTS | CLOCK_CHANGES)
def test_a_daily_one_is_what_another_library_says(begin: str, end: str, zone: str, moment: datetime) -> None:
    if begin == end:
        return
    moment = moment.replace(second=0, microsecond=0)
    known = [ends for begins, ends in elsewhere(begin, end, zone, moment) if begins <= moment < ends]
    found, name = out_of([blackout(every="day", from_=begin, to=end)], zone, moment)
    assert bool(name) == bool(known)
    assert found is None or not known or found >= known[0]  # what ends where it begins again the next day goes on


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.builds(lambda a, b: {"every": "day", "from": a, "to": b}, TIMES, TIMES),
            st.builds(lambda a, t: {"every": "week", "from": f"friday {a}", "to": f"monday {t}"}, TIMES, TIMES),
            st.builds(lambda a, b: {"every": "month", "from": a, "to": b}, st.integers(1, 31), st.integers(1, 31)),
            st.just({"every": "year", "from": "12-20", "to": "01-02"}),
        ).filter(lambda said: said["from"] != said["to"]),
        max_size=3,
    ),
    st.sampled_from(ZONES),
    MOMENTS | CLOCK_CHANGES,
)
def test_where_it_ends_nothing_is_in_the_way_and_until_then_something_is(
    said: list[dict[str, Any]], zone: str, moment: datetime
) -> None:
    several = [Blackout.model_validate(one) for one in said]
    end, name = out_of(several, zone, moment)
    if not name:
        assert end == moment
        return
    if end is None:
        return  # together they never end
    assert end > moment
    assert out_of(several, zone, end) == (end, "")
    for n in range(5):
        between = moment + (end - moment) * n / 5
        assert out_of(several, zone, between)[0] == end


@settings(max_examples=300)
@given(TIMES, TIMES, st.sampled_from(ZONES), MOMENTS | CLOCK_CHANGES, st.integers(1, 30 * 60))
def test_the_next_beginning_is_what_another_library_says(
    begin: str, end: str, zone: str, moment: datetime, minutes: int
) -> None:
    if begin == end:
        return
    until = moment + timedelta(minutes=minutes)
    known = [begins for begins, _ in elsewhere(begin, end, zone, moment) if moment < begins < until]
    found = first_within([blackout(every="day", from_=begin, to=end, title="it")], zone, moment, until)
    assert found == ((min(known), "it") if known else None)


def test_the_next_of_several_that_recur_or_do_not() -> None:
    several = [
        blackout(every="month", from_=31, to=31, title="month's end"),
        blackout(every="year", from_="12-20", to="01-02", title="year's end"),
        blackout(from_="2030-01-09 06:30", to="2030-01-10", title="release", timezone="Europe/Berlin"),
    ]
    year = MONDAY + timedelta(days=366)
    release = MONDAY + timedelta(days=2, hours=5, minutes=30)
    assert first_within(several, "UTC", MONDAY, year) == (release, "release")
    assert first_within(several, "UTC", release, year) == (datetime(2030, 1, 31, tzinfo=UTC), "month's end")
    assert first_within(several[1:2], "UTC", MONDAY, year) == (datetime(2030, 12, 20, tzinfo=UTC), "year's end")
    assert first_within(several, "UTC", MONDAY, release) is None


@pytest.mark.parametrize(
    ("begin", "end", "moment", "ends"),
    [
        # 02:30 is left out on the last Sunday of March: an hour later, by the clock
        ("02:30", "05:00", "2026-03-29T01:29", None),
        ("02:30", "05:00", "2026-03-29T01:30", "2026-03-29T03:00"),
        ("22:00", "02:30", "2026-03-29T01:29", "2026-03-29T01:30"),
        # and comes twice on that of October: the first time
        ("02:30", "05:00", "2026-10-25T00:30", "2026-10-25T04:00"),
        ("22:00", "02:30", "2026-10-25T00:29", "2026-10-25T00:30"),
        ("22:00", "02:30", "2026-10-25T00:31", None),
    ],
)
def test_where_the_clock_changes(begin: str, end: str, moment: str, ends: str | None) -> None:
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    one = blackout(every="day", from_=begin, to=end, timezone="Europe/Berlin")
    assert out_of([one], "UTC", at)[0] == (datetime.fromisoformat(ends).replace(tzinfo=UTC) if ends else at)


def test_an_edge_is_of_the_blackouts_own_zone() -> None:
    one = blackout(**TRADING, timezone="America/New_York")
    assert out_of([one], "Asia/Kolkata", MONDAY.replace(hour=18, minute=30)) == (
        MONDAY + timedelta(days=1, hours=1),
        "trading hours",
    )


YEAR_ROUND = [
    [{"every": "year", "from": "01-01", "to": "12-31"}],
    [{"every": "week", "from": "monday", "to": "sunday"}],
    [{"every": "month", "from": 1, "to": 31}],
    [{"every": "day", "from": "00:00", "to": "12:00"}, {"every": "day", "from": "12:00", "to": "00:00"}],
    [{"from": "2026-02-28", "to": "9000-12-31"}],
    [{"from": "0001-01-01", "to": "9999-12-31"}],
]


@pytest.mark.parametrize("said", YEAR_ROUND, ids=str)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Auckland"])
def test_those_that_never_end_say_so_soon(said: list[dict[str, Any]], zone: str) -> None:
    several = [Blackout.model_validate(one) for one in said]
    begun = clock.process_time()
    end, name = out_of(several, zone, MONDAY)
    assert end is None
    assert name in {one.name for one in several}
    assert clock.process_time() - begun < 3


def test_those_that_end_after_many_years_do_end() -> None:
    several = [
        blackout(from_="2029-01-01", to="2049-12-31"),
        blackout(every="year", from_="01-01", to="01-31"),
    ]
    assert out_of(several, "UTC", MONDAY)[0] == datetime(2050, 2, 1, tzinfo=UTC)
    most = blackout(every="week", from_="monday", to="sunday 23:59")
    assert out_of([most], "UTC", MONDAY)[0] == datetime(2030, 1, 13, 23, 59, tzinfo=UTC)


# --- of an environment ---------------------------------------------------------------------------------------------

IN_LAB = [("name: lab", f"name: lab\nblackouts: [{yaml.safe_dump(TRADING, default_flow_style=True).strip()}]")]


def test_the_guard_names_it_and_when_it_ends() -> None:
    files_ = written((), IN_LAB)
    said = ["lab is in the blackout trading hours until 2030-01-07 20:00 UTC; start it then"]
    assert refusal(files_, at=MONDAY.replace(hour=13, minute=30)) == said
    assert refusal(files_, at=MONDAY.replace(hour=19, minute=59), placebo=True) == said
    assert planned(files_, at=MONDAY.replace(hour=13)).faults
    assert planned(files_, at=MONDAY.replace(hour=20)).faults


@pytest.mark.parametrize("said", YEAR_ROUND, ids=str)
def test_the_guard_tells_one_that_never_ends(said: list[dict[str, Any]]) -> None:
    files_ = written((), [("name: lab", f"name: lab\nblackouts: {json.dumps(said)}")])
    (told,) = refusal(files_, at=MONDAY)
    assert told.endswith("; it never ends: the blackouts leave no time to start")


def test_the_guard_tells_one_that_begins_soon_and_never_ends() -> None:
    said = [{"title": "freeze", "from": "2030-01-07 00:01", "to": "9999-12-31"}]
    files_ = written((), [("name: lab", f"name: lab\nblackouts: {json.dumps(said)}")])
    (told,) = refusal(files_, at=MONDAY + timedelta(seconds=59))
    assert told.endswith("the blackout freeze begins at 2030-01-07 00:01 UTC; it never ends; start it earlier")


def test_the_guard_refuses_what_may_reach_into_one() -> None:
    files_ = written((), IN_LAB)
    begins = MONDAY.replace(hour=13, minute=30)
    longest = planned(files_, at=MONDAY).longest
    assert planned(files_, at=begins - longest).faults
    told = (
        f"lab: this may last {length(longest)}, and the blackout trading hours begins at 2030-01-07 13:30 UTC; start "
        "it when that is over, at 2030-01-07 20:00 UTC"
    )
    assert refusal(files_, at=begins - longest + timedelta(seconds=1)) == [told]


def test_a_plan_for_nobody_knows_when_is_refused() -> None:
    assert refusal(written((), IN_LAB)) == ["lab has blackouts, and nobody says when this would start"]


def test_those_of_the_files_it_uses_count_too(tmp_path: Path) -> None:
    head = "kind: Environment\nversion: 1\n"
    (tmp_path / "site.yaml").write_text(head + "blackouts: [{every: year, from: 12-20, to: 01-02}]\n")
    own = "name: lab\ntier: staging\nuses: [site.yaml]\nblackouts: [{every: week, from: friday, to: sunday}]\n"
    (tmp_path / "lab.yaml").write_text(head + own)
    found = files.environment(tmp_path / "lab.yaml").environment
    assert [one.every for one in found.blackouts] == ["year", "week"]


@pytest.mark.parametrize(
    ("said", "place", "told"),
    [
        ("{every: day, from: '13:30', to: '13:30'}", "5:13", "`from` and `to` are the same; nothing would ever start"),
        ("{every: day, from: 13:30, to: '25:00'}", "5:32", "`13:30` is read as 810; quote it"),
        ("{every: day, from: 13:30, to: '25:00'}", "5:13", "`25:00` is no edge of a blackout every day"),
        ("{from: friday, to: monday}", "5:13", '`friday` is no edge of a blackout; write "2026-12-24"'),
        ("{every: day, from: '1:00', to: '2:00', timezone: Europe/Berln}", "5:62", "there is no time zone"),
        ("{every: day, from: '01:00', to: '02:00', environments: [x]}", "5:54", "environments"),
    ],
)
def test_a_mistake_is_told_at_its_place(tmp_path: Path, said: str, place: str, told: str) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(f"kind: Environment\nversion: 1\nname: lab\ntier: staging\nblackouts: [{said}]\n")
    answer = call("validate", str(path), cwd=tmp_path)
    assert answer.returncode == 2
    words = " ".join((answer.stdout + answer.stderr).split())
    assert f"lab.yaml:{place}:" in words, words
    assert told in words, words


SCHEDULE = """\
kind: Schedule
version: 1
timezone: Europe/Berlin
since: "2030-01-07"
entries: [{experiment: engine-crash, environment: lab, every: week, day: monday, at: "14:00"}]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for room in ("schedules", "environments"):
        (tmp_path / room).mkdir()
    (tmp_path / "schedules" / "small.yaml").write_text(SCHEDULE)
    lab = {"kind": "Environment", "version": 1, "name": "lab", "tier": "staging", "blackouts": [TRADING]}
    (tmp_path / "environments" / "lab.yaml").write_text(yaml.safe_dump(lab))
    return tmp_path


def test_a_schedule_takes_it_for_its_own(place: Path) -> None:
    """13:00 to 20:00 are UTC's, for the environment says no zone; 14:00 is Berlin's."""

    def due(now: str) -> str:
        return " ".join(call("schedule", "due", "--now", now, cwd=place).stdout.split())

    assert "nothing is due; next: engine-crash@lab, 2030-01-07 13:00 UTC" in due("2030-01-07T12:00")
    assert "engine-crash@lab: not now: in the blackout trading hours until 2030-01-07 20:00 UTC" in due(
        "2030-01-07T14:00"
    )
    answer = call("schedule", "run", "--now", "2030-01-07T14:00", cwd=place)
    assert answer.returncode == 0
    assert "not now: in the blackout trading hours" in " ".join(answer.stdout.split())
    assert "not now" not in due("2030-01-07T20:00")
    assert "*/10 * * * *" in call("schedule", "export", "small", "--to", "cron", cwd=place).stdout


@pytest.mark.parametrize("said", YEAR_ROUND[3:5], ids=str)
def test_a_schedule_tells_an_entry_that_can_never_start(place: Path, said: list[dict[str, Any]]) -> None:
    text = SCHEDULE.replace("monday", "tuesday") + f"blackouts: {json.dumps(said)}\n"
    (place / "schedules" / "small.yaml").write_text(text)
    never = "engine-crash@lab: never startable: its blackouts leave no time to start"
    answer = call("schedule", "due", "--now", "2030-01-07T14:00", cwd=place)
    assert (answer.returncode, " ".join(answer.stdout.split())) == (0, f"nothing is due {never}")
    answer = call("schedule", "check", "--now", "2030-01-07T14:00", cwd=place)
    assert (answer.returncode, f"MISSING {never}" in " ".join(answer.stdout.split())) == (1, True)
    answer = call("schedule", "list", "--json", "--now", "2030-01-07T14:00", cwd=place)
    assert [one["next"] for one in json.loads(answer.stdout)["entries"]] == [None]
    assert call("schedule", "run", "--now", "2030-01-07T14:00", cwd=place).returncode == 0


@pytest.mark.parametrize("now", ["0001-01-01", "9999-12-31"])
def test_a_now_beyond_all_calendars_is_refused(place: Path, now: str) -> None:
    answer = call("schedule", "due", "--now", now, cwd=place)
    assert answer.returncode == 2
    assert f"--now: `{now}` is beyond the years 1970 to 9000" in answer.stderr


def test_what_is_due_in_it_is_put_off(place: Path) -> None:
    later = SCHEDULE.replace("14:00", "15:00")
    (place / "schedules" / "small.yaml").write_text(later)
    answer = call("schedule", "due", "--now", "2030-01-07T15:00", cwd=place)
    assert "nothing is due; next: engine-crash@lab, 2030-01-07 20:00 UTC" in answer.stdout
    assert (
        "put off by the blackout trading hours"
        in call("schedule", "due", "--now", "2030-01-07T20:05", cwd=place).stdout
    )
