"""What is proven of each row on each environment, and what fails a build."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.cli_runs import Paper
from tests.unit.history_runs import lay
from tests.unit.test_cli_app import call
from tests.unit.test_occurrence import entry, schedule
from tests.unit.test_standing import DUE, WEEK, record
from veloz_chaos.cli.matrix import _backwards
from veloz_chaos.core.proof import proofs
from veloz_chaos.core.record import Record
from veloz_chaos.core.standing import standing
from veloz_chaos.engine import index
from veloz_chaos.engine.index import Query

WEEKLY = entry(every="week", day="monday")
HOUR = timedelta(hours=1)


def status(now: datetime, *records: Record, scheduled: bool = True, max_age: float | None = None) -> str:
    standings = {("r", "b"): [standing(schedule(WEEKLY), "s", WEEKLY, records, now)]} if scheduled else {}
    (proof,) = proofs(["r"], ["b"], records, standings, now.timestamp(), max_age)
    return proof.status


def test_statuses() -> None:
    now = DUE + HOUR
    assert status(now, record(DUE)) == "passed"
    assert status(now, record(DUE, "failed")) == "failed"
    assert status(now, record(DUE, "failed"), record(DUE + HOUR / 2)) == "passed"
    assert status(now, record(DUE), record(DUE + HOUR / 2, "left-behind"), scheduled=False) == "failed"
    assert status(now, record(DUE, "left-behind"), record(DUE + HOUR / 2)) == "passed"
    assert status(now, record(DUE, "inconclusive")) == "unproven"
    assert status(now) == "unproven"
    assert status(now, record(DUE, placebo=True)) == "unproven"
    assert status(now, record(DUE - WEEK)) == "passed"  # the next one is due, not overdue
    assert status(DUE + 49 * HOUR, record(DUE - WEEK)) == "stale"
    assert status(DUE + 49 * HOUR, record(DUE - WEEK), scheduled=False) == "passed"
    assert status(DUE + 49 * HOUR, record(DUE - WEEK), scheduled=False, max_age=7 * 86_400) == "stale"
    assert status(now, record(DUE - WEEK), record(DUE, "aborted")) == "stale"


def test_a_pass_of_one_experiment_hides_no_failure_of_another() -> None:
    slow, fast = record(DUE, "failed", experiment="slow"), record(DUE + HOUR, experiment="fast")
    doubtful = record(DUE + 2 * HOUR, "inconclusive", experiment="odd")
    for there, records, wanted in (
        (["slow", "fast"], [slow, fast], slow),
        (["fast"], [slow, fast], fast),  # `slow` is no more
        ([], [slow, fast], slow),
        (["fast", "odd"], [fast, doubtful], doubtful),
        (["slow", "fast"], [slow, record(DUE + HOUR, experiment="slow"), fast], record(DUE + HOUR, experiment="slow")),
    ):
        (proof,) = proofs(["r"], ["b"], records, {}, DUE.timestamp(), None, there)
        assert proof.last == wanted


def test_every_row_has_its_place_and_a_row_as_many_as_it_was_run_on() -> None:
    records = [record(DUE), record(DUE + HOUR, environment="c"), record(DUE, row="q", environment="c")]
    told = proofs(["q", "r", "x"], [], records, {}, DUE.timestamp())
    assert [(p.row, p.environment) for p in told] == [("q", "c"), ("r", "b"), ("r", "c"), ("x", "")]
    only = proofs(["q", "r", "x"], ["b"], records, {}, DUE.timestamp())
    assert [(p.row, p.environment, p.status) for p in only] == [
        ("q", "b", "unproven"), ("r", "b", "passed"), ("x", "b", "unproven"),
    ]  # fmt: skip


def test_what_is_due_is_told() -> None:
    standings = {("r", "b"): [standing(schedule(WEEKLY), "s", WEEKLY, [record(DUE)], DUE + HOUR)]}
    (proof,) = proofs(["r"], [], [record(DUE)], standings, DUE.timestamp())
    assert (proof.due, proof.overdue) == (DUE + WEEK, None)
    standings = {("r", "b"): [standing(schedule(WEEKLY), "s", WEEKLY, [], DUE + 50 * HOUR)]}
    (proof,) = proofs(["r"], [], [], standings, DUE.timestamp())
    assert (proof.due, proof.overdue) == (DUE, DUE + 48 * HOUR)


SCHEDULE = """\
kind: Schedule
version: 1
timezone: UTC
since: "2023-11-13"
entries:
  - {experiment: engine-crash, environment: paper, every: week, day: wednesday, at: "00:00", grace: 2d}
  - {experiment: full-dr-test, environment: production, every: quarter, day: first-saturday, at: "06:00"}
"""
GOOD, LATE = "2023-11-16T12:00", "2023-11-25T12:00"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "small.yaml").write_text(SCHEDULE)
    lay(tmp_path / "runs", 1)
    lay(tmp_path / "runs", 0.5, Paper(recovered=60.0, watched=30.0), environment="other")
    return tmp_path


def test_the_table_has_a_line_for_each_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    answer = call("matrix", "--now", GOOD, cwd=place)
    assert answer.returncode == 0, answer.stderr
    text = " ".join(answer.stdout.split())
    assert "engine-crash 5 s / 10 s other failed" in text
    assert "engine-crash 5 s / 10 s paper passed" in text
    assert "2023-11-22" in text
    assert "oom-kill" in text
    assert "1 of 14 rows are proven by their last run (1 passed, 1 failed, 13 unproven)" in text


def test_the_table_fits_into_80_columns_where_due_dates_stand(place: Path) -> None:
    """With a whole row of widths: times, a long environment's name, a due date."""
    answer = call("matrix", "--now", LATE, "-e", "paper", "-e", "veloz-kubernetes", cwd=place)
    assert "overdue" in answer.stdout
    assert max(map(len, answer.stdout.splitlines())) <= 80


def test_a_run_with_other_parameters_proves_nothing(place: Path) -> None:
    def said() -> str:
        answer = call("matrix", "--now", "2023-11-30", "-e", "sandbox", "--json", cwd=place)
        (row,) = [row for row in json.loads(answer.stdout)["rows"] if row["row"] == "engine-crash"]
        return str(row["environments"][0]["status"])

    lay(place / "runs", 2, environment="sandbox", parameters={"signal": "TERM"})
    assert said() == "unproven"
    lay(place / "runs", 3, environment="sandbox", parameters={"signal": "KILL"})
    assert said() == "passed"
    lay(place / "runs", 4, Paper(recovered=60.0, watched=30.0), environment="sandbox", parameters={"signal": "KILL"})
    lay(place / "runs", 5, environment="sandbox", parameters={"signal": "TERM"})
    assert said() == "failed"
    lay(place / "runs", 6, environment="sandbox")
    assert said() == "passed"  # what its experiment had no parameter for is no other one


def test_json_tells_every_place(place: Path) -> None:
    told = json.loads(call("matrix", "--now", LATE, "--json", cwd=place).stdout)
    (row,) = [row for row in told["rows"] if row["row"] == "engine-crash"]
    by_place = {one["environment"]: one for one in row["environments"]}
    assert (by_place["paper"]["status"], by_place["other"]["status"]) == ("stale", "failed")
    assert by_place["paper"]["due"] == "2023-11-22T00:00:00+00:00"
    assert by_place["paper"]["overdue_since"] == "2023-11-24T00:00:00+00:00"
    assert by_place["paper"]["entries"] == ["engine-crash@paper"]
    assert by_place["paper"]["last"]["time_to_recover"]["at_most"] < 1.5
    assert by_place["paper"]["last"]["folder"].startswith("runs/")
    assert row["last"]["environment"] == "paper"


FAILING = [
    (GOOD, ("-e", "paper"), "stale,failed", 0, ""),
    (LATE, ("-e", "paper"), "stale,failed", 1, "stale: engine-crash on paper: was due 2023-11-22 00:00 UTC"),
    (GOOD, ("-e", "paper"), "unproven", 1, "unproven: vault-down on paper"),
    (GOOD, (), "failed", 1, "failed: engine-crash on other: recovery took at least"),
    (GOOD, ("-e", "paper", "--max-age", "12h"), "stale", 1, "stale: engine-crash on paper"),
    (GOOD, ("-e", "paper", "--max-age", "1d"), "stale", 0, ""),
]


@pytest.mark.parametrize(("now", "words", "fail_on", "code", "said"), FAILING, ids=str)
def test_a_build_can_fail_on_it(
    place: Path, now: str, words: tuple[str, ...], fail_on: str, code: int, said: str
) -> None:
    answer = call("matrix", "--now", now, *words, "--fail-on", fail_on, cwd=place)
    assert (answer.returncode, said in answer.stderr) == (code, True), answer.stderr
    if not said:
        assert answer.stderr == ""


def test_markdown_to_a_file_or_alone(place: Path) -> None:
    alone = call("matrix", "--now", GOOD, "--markdown", "-", cwd=place)
    assert alone.stdout.startswith("## What is proven\n")
    assert call("matrix", "--now", GOOD, "--markdown", "out/m.md", cwd=place).stdout.startswith("failure")
    assert (place / "out" / "m.md").read_text() == alone.stdout
    assert "| engine-crash | 5 s / 10 s | paper | passed |" in alone.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fail-on", "stale,faild"), "--fail-on faild: it is stale, failed, unproven; did you mean `failed`?"),
        (("--max-age", "5"), "--max-age: a duration needs a unit; write 5s"),
        (("--now", "then"), "--now: `then` is neither"),
        (("-e", "no/such.yaml"), "no/such.yaml: no such file"),
        (("--markdown", "schedules/small.yaml/x"), "can't be written"),
    ],
)
def test_what_the_user_did_wrong(place: Path, arguments: tuple[str, ...], message: str) -> None:
    answer = call("matrix", *arguments, cwd=place)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_all_runs_are_looked_at_once_the_latest_first(tmp_path: Path) -> None:
    for day in range(25):
        lay(tmp_path, day)
    with index.opened(tmp_path) as found:
        assert list(_backwards(found, Query())) == found.find(Query())
        assert list(_backwards(found, Query(experiments=("none",)))) == []
