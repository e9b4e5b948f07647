"""`veloz-chaos schedule` as a command: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli_runs import Paper
from tests.unit.history_runs import lay
from tests.unit.test_cli_app import call

SCHEDULE = """\
kind: Schedule
version: 1
timezone: UTC
since: "2023-11-13"
entries:
  - {experiment: engine-crash, environment: paper, every: week, day: wednesday, at: "00:00", grace: 2d}
  - {experiment: network-latency, environment: paper, every: month, day: last-friday, at: "10:00"}
"""
#: The runs on paper begin on a Tuesday, the 14th of November 2023, at 22:13; one day later is after the entry's time.
RUN, THURSDAY, NEXT = "2023-11-15T22:13", "2023-11-16T12:00", "2023-11-24T12:00"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "small.yaml").write_text(SCHEDULE)
    return tmp_path


def test_due_and_overdue(place: Path) -> None:
    answer = call("schedule", "due", "--now", THURSDAY, cwd=place)
    assert answer.returncode == 0, answer.stderr
    (line,) = [line for line in answer.stdout.splitlines() if "2023-11-15" in line]
    assert "due" in line
    assert "never run" in line
    assert "network-latency" not in answer.stdout
    told = json.loads(call("schedule", "due", "--now", "2023-11-18", "--json", cwd=place).stdout)
    (only,) = told["entries"]
    assert (only["state"], only["problem"]) == ("overdue", "missing")
    assert only["due_since"] == "2023-11-15T00:00:00+00:00"


def test_nothing_is_due_and_what_is_next(place: Path) -> None:
    lay(place / "runs", 1)
    answer = call("schedule", "due", "--now", THURSDAY, cwd=place)
    assert answer.stdout == "nothing is due; next: engine-crash@paper, 2023-11-22 00:00 UTC\n"


CHECKS = [
    (None, THURSDAY, 0, ""),
    (None, "2023-11-18", 1, "MISSING engine-crash@paper: never run; was due 2023-11-15 00:00 UTC"),
    (Paper(), THURSDAY, 0, ""),
    (
        Paper(recovered=60.0, watched=30.0),
        THURSDAY,
        1,
        "FAILED engine-crash@paper: failed 2023-11-15 22:13 UTC: recovery",
    ),
    (Paper(), NEXT, 1, "OVERDUE engine-crash@paper: was due 2023-11-22 00:00 UTC"),
    (Paper(ended=False), THURSDAY, 1, "UNPROVEN engine-crash@paper"),
    (Paper(watched=1.15), THURSDAY, 3, "INCONCLUSIVE engine-crash@paper"),
]


@pytest.mark.parametrize(("paper", "now", "code", "said"), CHECKS, ids=[said or "good" for *_, said in CHECKS])
def test_check_says_what_is_wrong(place: Path, paper: Paper | None, now: str, code: int, said: str) -> None:
    if paper is not None:
        lay(place / "runs", 1, paper)
    answer = call("schedule", "check", "--now", now, cwd=place)
    told = " ".join(answer.stdout.split())
    assert (answer.returncode, said in told) == (code, True), told
    assert json.loads(call("schedule", "check", "--now", now, "--json", cwd=place).stdout)["exit_code"] == code


def test_list_shows_every_entry(place: Path) -> None:
    lay(place / "runs", 1)
    answer = call("schedule", "list", "--now", NEXT, cwd=place)
    assert answer.returncode == 0
    assert "as of 2023-11-24 12:00 UTC" in answer.stdout
    assert "engine-crash@paper" in answer.stdout
    assert "network-latency@paper" in answer.stdout


def test_of_another_folder_s_runs_and_on_another_environment(place: Path) -> None:
    (place / "other.yaml").write_text("kind: Environment\nversion: 1\nname: other\ntier: staging\n")
    lay(place / "elsewhere", 1, environment="other")
    words = ("schedule", "check", "--now", "2023-11-18", "--runs", "elsewhere")
    assert call(*words, cwd=place).returncode == 1
    assert call(*words, "-e", "other.yaml", cwd=place).returncode == 0


def test_run_with_nothing_due(place: Path) -> None:
    lay(place / "runs", 1)
    answer = call("schedule", "run", "--now", THURSDAY, cwd=place)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("nothing is due; next: ")


def test_run_says_what_it_can_not_run(place: Path) -> None:
    answer = call("schedule", "run", "--now", THURSDAY, "--json", cwd=place)
    assert answer.returncode == 2
    (only,) = json.loads(answer.stdout)["runs"]
    assert only["occasion"] == {"schedule": "small", "entry": "engine-crash@paper", "due": "2023-11-15T00:00:00+00:00"}
    assert "there is no environment `paper`" in only["reasons"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "smal"), "there is no schedule `smal`; did you mean `small`?"),
        (("list", "--now", "noon"), "--now: `noon` is neither an instant"),
        (("run", "--entry", "engine-crash"), "--entry engine-crash: there is no such entry; did you mean"),
        (("run", "--wait", "5"), "--wait: a duration needs a unit; write 5s"),
        (("run", "--wait", "5m", "--now", THURSDAY), "give one of them"),
        (("check", "--runs", "schedules/small.yaml"), "not a folder"),
    ],
)
def test_what_the_user_did_wrong(place: Path, arguments: tuple[str, ...], message: str) -> None:
    answer = call("schedule", *arguments, cwd=place)
    assert answer.returncode == 2, answer.stdout
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_wrong_schedule_is_told_at_its_place(place: Path) -> None:
    path = place / "schedules" / "small.yaml"
    path.write_text(SCHEDULE.replace("last-friday", "friday").replace("engine-crash", "engine-crsh"))
    answer = call("schedule", "due", cwd=place)
    assert answer.returncode == 2
    assert "schedules/small.yaml:7:" in answer.stderr
    assert "which friday of the month? write first-friday or last-friday" in answer.stderr.replace(";", "")
    assert "validate" not in answer.stderr
    assert call("validate", "schedules/small.yaml", cwd=place).returncode == 2


def test_the_one_that_ships_is_used_where_there_is_none(tmp_path: Path) -> None:
    answer = call("schedule", "list", "--now", THURSDAY, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "full-dr-test@production" in answer.stdout
