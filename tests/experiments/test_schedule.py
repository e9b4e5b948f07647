"""A week of a schedule on the real sandbox, as a CI job lives through it: due, run, check, overdue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.unit.test_cli_app import call

pytestmark = pytest.mark.sandbox

SCHEDULE = """\
kind: Schedule
version: 1
timezone: Europe/Berlin
since: "2030-01-07"
entries:
  - {experiment: engine-crash, environment: staging, every: week, day: monday, at: "10:00", grace: 1d}
  - {experiment: pod-kill, environment: staging, every: week, day: wednesday, at: "10:00", grace: 1d}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "weekly.yaml").write_text(SCHEDULE)
    answer = call("sandbox", "up", "--dir", "sandbox", "--free-ports", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    try:
        yield tmp_path
    finally:
        call("sandbox", "down", "--dir", "sandbox", cwd=tmp_path)


def published(place: Path) -> None:
    """What a job keeps is readable, and another machine's history takes it."""
    suite = ElementTree.parse(place / "junit.xml").getroot()[0]
    assert suite.get("name") == "engine-crash on sandbox"
    assert {case.get("name") for case in suite.iter("testcase")} >= {"in place", "detection", "recovery"}
    assert suite.get("failures") == suite.get("errors") == "0"
    assert (place / "results" / "junit.xml").read_text() == (place / "junit.xml").read_text()
    assert "✅ passed" in (place / "summary.md").read_text()
    (run,) = json.loads((place / "results" / "results.json").read_text())["runs"]
    assert (place / "results" / "runs" / Path(run["folder"]).name / "orders.jsonl").is_file()
    brought = call("history", "import", "results", "--runs", "elsewhere", cwd=place)
    assert brought.stdout.startswith("1 brought"), brought.stderr
    judged = call("judge", run["run"], "--runs", "elsewhere", "--json", cwd=place)
    assert json.loads(judged.stdout)["runs"][0]["findings"] == run["findings"]


def test_a_week(place: Path) -> None:
    def schedule(*words: str, now: str) -> tuple[int, str]:
        answer = call("schedule", *words, "--now", now, "-e", "sandbox/environment.yaml", cwd=place)
        return answer.returncode, answer.stdout or answer.stderr

    assert schedule("due", now="2030-01-07T08:59") == (
        0,
        "nothing is due; next: engine-crash@staging, 2030-01-07 09:00 UTC\n",
    )
    assert schedule("check", now="2030-01-07T09:00")[0] == 0
    keep = ("--junit", "junit.xml", "--markdown", "summary.md", "--results", "results")
    code, said = schedule("run", "--quiet", *keep, now="2030-01-07T09:05")
    assert code == 0, said
    published(place)
    assert "PASSED engine-crash on sandbox" in said
    assert schedule("run", "--quiet", now="2030-01-07T09:20")[1].startswith("nothing is due")
    assert schedule("check", now="2030-01-08")[0] == 0
    code, said = schedule("check", now="2030-01-11")  # on Wednesday the runner was away
    assert code == 1
    assert "MISSING pod-kill@staging: never run; was due 2030-01-09 09:00 UTC" in " ".join(said.split())
    code, said = schedule("run", "--quiet", "--json", now="2030-01-11T12:00")
    (run,) = json.loads(said)["runs"]
    assert (code, run["experiment"], run["verdict"]) == (0, "pod-kill", "passed"), said
    assert run["plan"]["occasion"] == {
        "schedule": "weekly", "entry": "pod-kill@staging", "due": "2030-01-09T09:00:00+00:00",
    }  # fmt: skip
    assert schedule("check", now="2030-01-13T12:00")[0] == 0
    code, said = schedule("check", now="2030-01-15T09:00")  # and a week later nobody had run anything
    assert "OVERDUE engine-crash@staging" in " ".join(said.split())
    assert code == 1
