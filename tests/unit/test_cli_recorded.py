"""What is said of runs on disk: show, judge, matrix, revert and abort, on journals of every kind."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.cli_runs import Paper, write
from tests.unit.test_cli_app import ROOT, call
from veloz_chaos.core import event as ev
from veloz_chaos.mechanisms import proc


def test_judge_repeats_the_verdict_and_its_exit_code(tmp_path: Path) -> None:
    good, slow = write(tmp_path, Paper()), write(tmp_path, Paper(recovered=12.0, watched=20.0, run="1badcafe"))
    assert call("judge", str(good)).returncode == 0
    answer = call("judge", "1badcafe", "--runs", str(tmp_path))
    assert answer.returncode == 1
    assert answer.stdout.splitlines()[-1].startswith("FAILED engine-crash on paper: recovery took at least 11.9 s")
    assert str(slow) in answer.stdout


def test_judge_by_another_matrix(tmp_path: Path) -> None:
    folder = write(tmp_path, Paper())
    text = (ROOT / "experiments/response-matrix.yaml").read_text()
    strict = tmp_path / "strict.yaml"
    strict.write_text(
        re.sub(r"(engine-crash:\n    title: Engine Crash\n    detection: 5s\n    recovery:) 10s", r"\1 1s", text)
    )
    assert strict.read_text() != text
    assert call("judge", str(folder), "--today").returncode == 0
    answer = call("judge", str(folder), "--matrix", str(strict), "--json")
    assert answer.returncode == 1
    assert json.loads(answer.stdout)["runs"][0]["plan"]["limits"]["recovery"] == "1s"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "the run has no end"),
        (lambda text: "\n".join(text.split("\n")[1:]), "does not begin with the start of a run"),
        (lambda text: text.replace('"outcome":"shown"', '"outcome":"fine"', 1), "the file was changed"),
        (lambda text: text.replace(f'"format":{ev.FORMAT}', '"format":99'), "written by a newer veloz-chaos"),
        (lambda _: "", "does not begin with the start of a run"),
    ],
)
def test_a_journal_that_was_cut_or_changed_is_an_error(tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    journal = write(tmp_path, Paper()) / "journal.jsonl"
    journal.write_text(damage(journal.read_text()))
    answer = call("judge", str(journal.parent))
    assert answer.returncode == 2
    assert message in answer.stderr


def test_show_tells_the_run_and_judges_it(tmp_path: Path) -> None:
    folder = write(tmp_path, Paper())
    answer = call("show", str(folder))
    assert answer.returncode == 0
    assert "kill on engine: in place: it is dead" in answer.stdout
    assert "PASSED engine-crash on paper" in answer.stdout
    assert len(call("show", str(folder), "--looks").stdout.splitlines()) > 100
    assert json.loads(call("show", str(folder), "--json").stdout)["runs"][0]["run"] == "0badcafe"


def test_show_tells_an_experiment_in_words() -> None:
    answer = call("show", "engine-crash")
    assert answer.returncode == 0
    assert "kill on engine (signal KILL)" in answer.stdout
    assert "detection: within 5 s" in answer.stdout


def test_the_matrix_knows_the_last_judged_run_of_each_row(tmp_path: Path) -> None:
    write(tmp_path, Paper(recovered=12.0, watched=20.0, run="1badcafe"), "20260101T000000Z-engine-crash")
    write(tmp_path, Paper(), "20260102T000000Z-engine-crash")
    write(tmp_path, Paper(placebo=True, run="2badcafe"), "20260103T000000Z-engine-crash")
    rows = {row["row"]: row for row in json.loads(call("matrix", "--runs", str(tmp_path), "--json").stdout)["rows"]}
    assert rows["engine-crash"]["last"]["run"] == "0badcafe"
    assert rows["engine-crash"]["experiments"] == ["engine-crash"]
    assert rows["engine-crash"]["last"]["verdict"] == "passed"
    assert rows["vault-down"]["last"] is None
    assert "1 of 14 rows are proven" in call("matrix", "--runs", str(tmp_path)).stdout


def test_revert_closes_what_a_dead_runner_left(tmp_path: Path) -> None:
    folder = write(tmp_path, Paper(held=True, ended=False))
    answer = call("revert", "--runs", str(tmp_path))
    assert answer.returncode == 0
    assert f"{folder}: pause on engine is taken out" in answer.stdout
    assert "has ended" in call("revert", "--runs", str(tmp_path)).stdout
    judged = call("judge", str(folder))
    assert judged.returncode == 5
    assert "the runner died" in judged.stdout


def test_revert_goes_on_whatever_lies_beside(tmp_path: Path) -> None:
    """A run that never began since its disk was full, one that was cut off in its first line, one that was changed."""
    left = write(tmp_path, Paper(held=True, ended=False), "20260101T000000Z-left-1badcafe")
    changed = write(tmp_path, Paper(held=True), "20260104T000000Z-changed-2badcafe") / "journal.jsonl"
    changed.write_text(changed.read_text().replace('"event":"fault-prepared"', '"event":"fault-invented"'))
    for name, text in (("20260102T000000Z-empty-3badcafe", ""), ("20260103T000000Z-torn-4badcafe", '{"event":"run-st')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "journal.jsonl").write_text(text)
    answer = call("revert", "--all", "--runs", str(tmp_path))
    assert f"{left}: pause on engine is taken out" in answer.stdout
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 1
    assert "not an event of a journal" in answer.stderr


def test_revert_leaves_a_living_runner_alone(tmp_path: Path) -> None:
    folder = _alive(tmp_path)
    before = (folder / "journal.jsonl").read_bytes()
    answer = call("revert", str(folder))
    assert answer.returncode == 4
    assert f"veloz-chaos abort {folder}" in answer.stderr
    assert (folder / "journal.jsonl").read_bytes() == before
    assert "still under way" in call("judge", str(folder)).stderr


def _alive(runs: Path) -> Path:
    """A journal that says that this very test is its runner."""
    folder = write(
        runs, replace(Paper(held=True, ended=False), pid=os.getpid(), pid_start=proc.start_time(os.getpid()))
    )
    journal = folder / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"boot_id":"paper"', f'"boot_id":"{proc.boot_id()}"'))
    return folder


def test_abort_of_an_ended_run_says_so(tmp_path: Path) -> None:
    answer = call("abort", str(write(tmp_path, Paper())))
    assert answer.returncode == 0
    assert "has ended already" in answer.stdout


def test_abort_without_a_run_under_way(tmp_path: Path) -> None:
    answer = call("abort", "--runs", str(tmp_path))
    assert answer.returncode == 2
    assert "no run under" in answer.stderr


def test_abort_elsewhere_says_where(tmp_path: Path) -> None:
    answer = call("abort", str(write(tmp_path, Paper(ended=False))))
    assert answer.returncode == 2
    assert "abort it there" in answer.stderr
