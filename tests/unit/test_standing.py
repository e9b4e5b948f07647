"""What is due, what was run for it, and what that proves: whatever the clock did, and whoever ran it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.test_occurrence import entry, schedule
from veloz_chaos.core.record import Record
from veloz_chaos.core.schedule import Entry
from veloz_chaos.core.standing import Standing, around, same, standing

#: A Monday.
DUE = datetime(2026, 3, 2, 10, tzinfo=UTC)
WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)
WEEKLY = entry(every="week", day="monday")


def record(at: datetime, verdict: str = "passed", *, due: datetime | None = None, **more: Any) -> Record:
    plain: dict[str, Any] = {
        "run": f"{at}", "folder": f"{at}", "started": at.timestamp(), "host": "", "version": "", "experiment": "a",
        "environment": "b", "tier": "staging", "row": "r", "verdict": verdict, "reason": "so it went",
    }  # fmt: skip
    if due is not None:
        plain |= {"schedule": "s", "entry": "a@b", "due": due.timestamp()}
    return Record(**plain | more)


def stand(
    now: datetime, *records: Record, only: Entry = WEEKLY, parameters: dict[str, Any] | None = None, **said: Any
) -> Standing:
    return standing(schedule(only, **said), "s", only, records, now, parameters)


STATES = [
    ("on the dot", DUE, [], "due", ""),
    ("just before, never run", DUE - timedelta(seconds=1), [], "overdue", "missing"),
    ("within its grace", DUE + 47 * HOUR, [], "due", ""),
    ("beyond its grace, never run", DUE + 48 * HOUR, [], "overdue", "missing"),
    ("beyond its grace, run a week ago", DUE + 48 * HOUR, [record(DUE - WEEK + HOUR)], "overdue", "overdue"),
    ("run", DUE + HOUR, [record(DUE + timedelta(minutes=1))], "run", ""),
    ("run by hand, later", DUE + 60 * HOUR, [record(DUE + 50 * HOUR)], "run", ""),
    ("run before it was due", DUE + HOUR, [record(DUE - HOUR)], "due", ""),
    ("failed", DUE + HOUR, [record(DUE, "failed")], "run", "failed"),
    ("failed, then passed", DUE + HOUR, [record(DUE, "failed"), record(DUE + HOUR / 2)], "run", ""),
    ("failed last week, due now", DUE + HOUR, [record(DUE - WEEK, "failed")], "due", "failed"),
    ("inconclusive", DUE + HOUR, [record(DUE, "inconclusive")], "run", "inconclusive"),
    ("aborted", DUE + HOUR, [record(DUE, "aborted")], "run", "unproven"),
    ("interrupted", DUE + HOUR, [record(DUE, "interrupted")], "run", "unproven"),
    ("left behind", DUE + HOUR, [record(DUE, "left-behind")], "run", "unproven"),
    (
        "left behind when it had passed",
        DUE + 2 * HOUR,
        [record(DUE), record(DUE + HOUR, "left-behind")],
        "run",
        "unproven",
    ),
    ("under way", DUE + HOUR, [record(DUE, "under-way")], "under-way", ""),
    ("refused: nothing was run", DUE + HOUR, [record(DUE, "refused")], "due", ""),
    ("a placebo proves nothing", DUE + HOUR, [record(DUE, placebo=True)], "due", ""),
]


@pytest.mark.parametrize(("now", "records", "state", "problem"), [s[1:] for s in STATES], ids=[s[0] for s in STATES])
def test_states(now: datetime, records: list[Record], state: str, problem: str) -> None:
    told = stand(now, *records)
    if problem == "unproven":
        assert "so it went" in told.said
    assert (told.state, told.problem) == (state, problem)
    assert told.runnable == (state in ("due", "overdue"))
    assert told.upcoming is not None and told.upcoming.start > now


def test_what_began_later_is_not_due_yet() -> None:
    told = stand(DUE, only=entry(every="week", day="monday", since="2026-03-03"))
    assert (told.state, told.problem) == ("waiting", "")
    assert "not due before 2026-03-09 10:00 UTC" in told.said


# --- clocks that jump ----------------------------------------------------------------------------------------------


def test_a_run_belongs_to_what_it_was_started_for_whatever_its_clock_said() -> None:
    """The clock was put back while it started: it is not started again when ten o'clock comes a second time."""
    early = record(DUE - 2 * HOUR, due=DUE)
    assert stand(DUE + HOUR, early).state == "run"
    assert stand(DUE - HOUR, early).state == "overdue"  # last week's is nobody's business


def test_a_clock_that_was_ahead_used_up_what_it_ran_and_nothing_else() -> None:
    ahead = record(DUE + 4 * WEEK, due=DUE + 4 * WEEK)
    assert stand(DUE + HOUR, ahead).state == "due"
    assert stand(DUE + WEEK + HOUR, ahead).state == "due"
    assert stand(DUE + 4 * WEEK + HOUR, ahead).state == "run"
    assert stand(DUE + 5 * WEEK + HOUR, ahead).state == "due"


def test_what_was_missed_is_overdue_once_not_as_often_as_it_was_missed() -> None:
    """The machine slept for a month."""
    told = stand(DUE + 4 * WEEK + 3 * HOUR, record(DUE))
    assert told.current is not None
    assert (told.state, told.current.due) == ("due", DUE + 4 * WEEK)


def test_a_clock_at_its_beginning_finds_nothing_due() -> None:
    assert stand(datetime(1970, 1, 2, tzinfo=UTC), only=entry(since="2026-01-01")).state == "waiting"


# --- windows, blackouts, jitter ------------------------------------------------------------------------------------


def test_beyond_its_window_it_is_held_back() -> None:
    only = entry(every="week", day="monday", window="4h")
    assert stand(DUE + 4 * HOUR - timedelta(seconds=1), only=only).runnable
    told = stand(DUE + 4 * HOUR, only=only)
    assert (told.state, told.runnable) == ("due", False)
    assert "its window ended 2026-03-02 14:00 UTC; run it by hand, or wait until 2026-03-09 10:00 UTC" in told.held_back


def test_in_a_blackout_nothing_starts_that_was_due_before() -> None:
    blackouts = [{"title": "trading", "every": "day", "from": "13:00", "to": "20:00"}]
    assert stand(DUE + HOUR, blackouts=blackouts).runnable
    told = stand(DUE + 4 * HOUR, blackouts=blackouts)
    assert told.held_back == "in the blackout trading until 2026-03-02 20:00 UTC"
    assert stand(DUE + 10 * HOUR, blackouts=blackouts).runnable


def test_what_was_left_out_for_a_blackout_is_not_missing() -> None:
    blackouts = [{"title": "freeze", "from": "2026-03-01", "to": "2026-03-20"}]
    told = stand(DUE + 60 * HOUR, record(DUE - WEEK), blackouts=blackouts)
    assert (told.state, told.problem) == ("run", "")
    assert told.upcoming is not None
    assert told.upcoming.start == datetime(2026, 3, 21, tzinfo=UTC)
    assert told.upcoming.due == DUE + 2 * WEEK


def test_what_blackouts_leave_no_time_for_is_told() -> None:
    ever = [{"title": "freeze", "from": "2026-02-28", "to": "9999-12-31"}]
    told = stand(DUE + HOUR, blackouts=ever)
    assert (told.state, told.upcoming, told.runnable) == ("overdue", None, False)  # from before it
    assert told.held_back.startswith("in the blackout freeze, and it never ends")
    assert stand(DUE + HOUR, record(DUE - WEEK), blackouts=ever).problem == ""
    assert stand(DUE + HOUR, record(DUE - WEEK), blackouts=ever).never == (
        "never startable again: its blackouts leave no time to start"
    )
    soon = stand(DUE + HOUR, blackouts=[{"from": "2026-03-03", "to": "9999-12-31"}])
    assert (soon.upcoming, soon.runnable, soon.never) == (None, True, "")
    for every in ("day", "week", "month", "quarter", "year"):
        never = entry(every=every, window="1h")  # always over by the blackout's end, though that ends
        told = stand(DUE + HOUR, only=never, blackouts=[{"every": "day", "from": "09:00", "to": "12:00"}])
        assert (told.state, told.problem, told.upcoming) == ("waiting", "missing", None)
        assert told.said == "never startable: its blackouts leave no time to start"


def test_a_blackout_of_many_years_ends() -> None:
    for every in ("day", "week", "month", "quarter", "year"):
        told = stand(DUE, only=entry(every=every), blackouts=[{"from": "2026-01-01", "to": "2049-12-31"}])
        assert told.upcoming is not None
        assert told.upcoming.start >= datetime(2050, 1, 1, tzinfo=UTC)
        assert told.upcoming.due < datetime(2051, 1, 2, tzinfo=UTC)


def test_before_its_jitter_has_passed_the_one_before_counts() -> None:
    only = entry(every="week", day="monday", jitter="3h")
    made = schedule(only)
    current, upcoming = around(made, "s", only, DUE + timedelta(seconds=1))
    assert current is not None
    assert upcoming is not None
    assert (current.due, upcoming.due) == (DUE - WEEK, DUE)
    current, upcoming = around(made, "s", only, DUE + 3 * HOUR)
    assert current is not None
    assert upcoming is not None
    assert (current.due, upcoming.due) == (DUE, DUE + WEEK)


# --- whose run is it -----------------------------------------------------------------------------------------------


def test_a_run_with_other_parameters_is_another_matter() -> None:
    only = entry(every="week", day="monday", **{"with": {"delay": "2s"}})
    assert stand(DUE + HOUR, record(DUE), only=only).state == "due"
    assert stand(DUE + HOUR, record(DUE, parameters={"delay": "2s", "other": 1}), only=only).state == "run"


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({"signal": "KILL", "delay": "2s"}, "run"),
        ({"signal": "KILL", "delay": "2000ms"}, "run"),
        ({"signal": "KILL", "delay": "2s", "gone": 1}, "run"),
        ({"signal": "KILL"}, "run"),  # from before the experiment had the other one
        ({}, "run"),
        ({"signal": "TERM", "delay": "2s"}, "due"),
        ({"signal": "KILL", "delay": "2001ms"}, "due"),
    ],
)
def test_a_run_by_hand_has_the_parameters_that_the_entry_s_would_have(given: dict[str, Any], state: str) -> None:
    effective = {"signal": "KILL", "delay": "2s"}
    assert stand(DUE + HOUR, record(DUE, parameters=given), parameters=effective).state == state
    assert stand(DUE + HOUR, record(DUE, parameters=given)).state == "run"  # a file that can't be read


def test_a_run_for_the_entry_stays_its_own_whatever_becomes_of_the_defaults() -> None:
    told = stand(DUE + HOUR, record(DUE, due=DUE, parameters={"signal": "TERM"}), parameters={"signal": "KILL"})
    assert told.state == "run"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("2s", "2000ms", True), ("1m30s", "90s", True), ("1KB", "1000B", True), ("50%", "50.0%", True), (1, "1", True),
        (1, 1.0, True), (True, "True", True), ("2s", "2m", False), ("1B", "100%", False), ("KILL", "TERM", False),
        (None, "KILL", False), (1, 2, False), ("1", "1s", False),
    ],
)  # fmt: skip
def test_values_are_compared_as_they_are_read(one: Any, other: Any, alike: bool) -> None:
    assert same(one, other) is alike


def test_another_schedule_s_run_counts_by_its_time() -> None:
    other = replace(record(DUE + HOUR, due=DUE - 9 * WEEK), schedule="other")
    assert stand(DUE + 2 * HOUR, other).state == "run"


@pytest.mark.parametrize("every", ["day", "week", "month", "quarter", "year"])
def test_there_is_always_a_next_one(every: str) -> None:
    told = stand(DUE, only=entry(every=every))
    assert told.upcoming is not None
    assert told.upcoming.start > DUE
    assert told.current is not None
    assert told.current.start <= DUE
