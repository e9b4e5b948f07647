"""`veloz-chaos history` on folders of runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.unit.cli_runs import SECOND, Paper
from tests.unit.history_runs import append, lay, newer
from tests.unit.test_cli_app import call
from veloz_chaos.core import event as ev
from veloz_chaos.engine import journal


def folders(runs: Path) -> list[str]:
    return sorted(path.name for path in runs.iterdir() if path.name[0] != ".")


def test_the_list_is_the_latest_first_and_says_how_many_there_are(tmp_path: Path) -> None:
    for day in range(4):
        lay(tmp_path, day, Paper(recovered=60.0, watched=30.0) if day == 2 else None)
    lay(tmp_path, 5, Paper(ended=False))
    answer = call("history", "list", "--runs", str(tmp_path), "--limit", "2")
    assert answer.returncode == 0
    assert answer.stdout.splitlines()[-1] == "5 runs: 3 passed, 1 failed, 1 interrupted; the latest 2 are shown"
    said = json.loads(call("history", "list", "--runs", str(tmp_path), "--verdict", "failed", "--json").stdout)
    (run,) = said["runs"]
    assert run["verdict"] == "failed"
    assert run["recovery"]["measured_seconds"]["at_most"] is None
    assert run["recovery"]["limit_seconds"] == 10.0
    assert said["counts"] == {"failed": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "--verdict", "pased"), "--verdict pased: there is no such verdict; did you mean `passed`?"),
        (("list", "--since", "yesterday"), "--since: `yesterday` is neither an instant nor a length of time"),
        (("prune",), "say what may go"),
        (("prune", "--older-than", "5"), "--older-than: `5` is neither"),
        (("trend", "--fail-on", "faster"), "--fail-on faster"),
        (("import", "/nonexistent"), "no runs are there"),
    ],
)
def test_what_the_user_did_wrong(arguments: tuple[str, ...], message: str) -> None:
    answer = call("history", *arguments)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_since_takes_an_instant_or_a_length(tmp_path: Path) -> None:
    lay(tmp_path, 0)
    lay(tmp_path, 10)
    for since, count in (("2023-11-20", 1), ("2023-11-01T00:00+01:00", 2), ("1d", 0)):
        said = json.loads(call("history", "list", "--runs", str(tmp_path), "--since", since, "--json").stdout)
        assert len(said["runs"]) == count


def test_a_slowdown_can_fail_a_job(tmp_path: Path) -> None:
    for day in range(12):
        lay(tmp_path, day, Paper(recovered=1.2 if day < 7 else 4.3))
    assert call("history", "trend", "--runs", str(tmp_path)).returncode == 0
    answer = call("history", "trend", "--runs", str(tmp_path), "--fail-on", "slower", "--json")
    assert answer.returncode == 1
    (told,) = json.loads(answer.stdout)["trends"]
    assert (told["recovery"]["slower"], told["detection"]["slower"]) == (True, False)


def test_a_journal_of_a_newer_version_is_told(tmp_path: Path) -> None:
    newer(lay(tmp_path, 1))
    answer = call("history", "list", "--runs", str(tmp_path))
    assert answer.returncode == 0
    assert "written by a newer veloz-chaos" in answer.stderr


# --- import --------------------------------------------------------------------------------------------------------


def test_runs_of_another_machine_are_brought_once(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    lay(ours, 1)
    lay(theirs, 2)
    both = lay(theirs, 1)
    (both / "orders.jsonl").write_text("{}\n")
    answer = call("history", "import", str(theirs), "--runs", str(ours))
    assert (answer.returncode, answer.stdout) == (0, "1 brought, 0 brought up to date, 1 were here already\n")
    answer = call("history", "import", str(theirs), "--runs", str(ours))
    assert answer.stdout == "0 brought, 0 brought up to date, 2 were here already\n"
    assert len(json.loads(call("history", "list", "--runs", str(ours), "--json").stdout)["runs"]) == 2


def test_a_job_s_results_and_a_single_run_are_brought(tmp_path: Path) -> None:
    lay(tmp_path / "results" / "runs", 1)
    single = lay(tmp_path / "more", 2)
    answer = call("history", "import", str(tmp_path / "results"), str(single), "--runs", str(tmp_path / "ours"))
    assert answer.stdout.startswith("2 brought")


def test_a_run_that_went_on_elsewhere_is_brought_up_to_date(tmp_path: Path) -> None:
    whole = lay(tmp_path / "theirs", 1, kept=False)
    ours = tmp_path / "ours" / whole.name
    shutil.copytree(whole, ours)
    text = (whole / journal.FILE).read_text()
    (ours / journal.FILE).write_text(text[: len(text) // 2])
    answer = call("history", "import", str(whole), "--runs", str(ours.parent))
    assert answer.stdout.startswith("0 brought, 1 brought up to date")
    assert (ours / journal.FILE).read_text() == text
    (whole / journal.FILE).write_text(text[: len(text) // 2])
    assert "1 were here already" in call("history", "import", str(whole), "--runs", str(ours.parent)).stdout
    assert (ours / journal.FILE).read_text() == text


def test_another_run_of_the_same_name_is_refused(tmp_path: Path) -> None:
    theirs = lay(tmp_path / "theirs", 1)
    ours = tmp_path / "ours" / theirs.name
    shutil.copytree(theirs, ours)
    (ours / journal.FILE).write_text((ours / journal.FILE).read_text().replace("paper", "papyr"))
    answer = call("history", "import", str(theirs), "--runs", str(ours.parent))
    assert answer.returncode == 2
    assert "not the run that" in answer.stderr
    assert "papyr" in (ours / journal.FILE).read_text()


def test_what_is_no_run_is_refused_and_the_rest_is_brought(tmp_path: Path) -> None:
    lay(tmp_path / "theirs", 1)
    newer(lay(tmp_path / "theirs", 2))
    answer = call("history", "import", str(tmp_path / "theirs"), "--runs", str(tmp_path / "ours"))
    assert answer.returncode == 2
    assert "written by a newer" in answer.stderr
    assert answer.stdout == "1 brought, 0 brought up to date, 0 were here already, 1 refused\n"


def test_links_are_not_followed(tmp_path: Path) -> None:
    theirs = lay(tmp_path / "theirs", 1)
    (theirs / "secret").symlink_to("/etc/passwd")
    assert call("history", "import", str(theirs), "--runs", str(tmp_path / "ours")).returncode == 0
    assert sorted(p.name for p in (tmp_path / "ours" / theirs.name).iterdir()) == [journal.FILE]


# --- prune ---------------------------------------------------------------------------------------------------------


def test_the_latest_are_kept_and_what_goes_is_said(tmp_path: Path) -> None:
    for day in range(5):
        lay(tmp_path, day)
    lay(tmp_path, 0.5, experiment="pod-kill")
    before = folders(tmp_path)
    told = call("history", "prune", "--keep", "2", "--dry-run", "--runs", str(tmp_path))
    assert folders(tmp_path) == before
    assert told.stdout.splitlines()[-1] == "3 would be removed"
    answer = call("history", "prune", "--keep", "2", "--runs", str(tmp_path))
    assert answer.stdout.splitlines()[-1] == "3 removed"
    gone = set(before) - set(folders(tmp_path))
    assert len(gone) == 3
    assert all(f"removed: {name} (passed)" in answer.stdout for name in gone)
    assert len(json.loads(call("history", "list", "--runs", str(tmp_path), "--json").stdout)["runs"]) == 3


def test_the_latest_evidence_stays_however_old_it_is(tmp_path: Path) -> None:
    lay(tmp_path, 0)
    newest = lay(tmp_path, 1)
    lay(tmp_path, 2, Paper(placebo=True))
    answer = call("history", "prune", "--older-than", "1d", "--runs", str(tmp_path))
    assert folders(tmp_path) == [newest.name]
    assert f"stays: {newest.name}: the latest evidence of its experiment there" in answer.stdout


def test_with_both_a_run_goes_only_if_both_let_it(tmp_path: Path) -> None:
    for day in range(4):
        lay(tmp_path, day)
    command = ("history", "prune", "--keep", "1", "--older-than", "2023-11-16T00:00", "--runs", str(tmp_path))
    assert call(*command).stdout.splitlines()[-1] == "2 removed"


def test_a_run_with_a_fault_in_place_never_goes(tmp_path: Path) -> None:
    left = lay(tmp_path, 0, Paper(held=True))
    torn = lay(tmp_path, 1, Paper(held=True, ended=False))
    reverted = lay(tmp_path, 2, Paper(held=True))
    append(reverted, ev.FaultCleared(fault="f1", by="revert", at=100 * SECOND, wall=2.0))
    lay(tmp_path, 9)
    answer = call("history", "prune", "--keep", "1", "--runs", str(tmp_path))
    assert set(folders(tmp_path)) >= {left.name, torn.name}
    assert reverted.name not in folders(tmp_path)
    assert f"stays: {left.name}: a fault may still be in place, or it has not ended" in answer.stdout


def test_the_journal_decides_what_goes_not_the_index(tmp_path: Path) -> None:
    """The index knows of an end; somebody copied an earlier state of the run over it since."""
    folder = lay(tmp_path, 0, Paper(held=False))
    lay(tmp_path, 1)
    assert call("history", "list", "--runs", str(tmp_path)).returncode == 0
    lines = (folder / journal.FILE).read_text().splitlines(keepends=True)
    (folder / journal.FILE).write_text("".join(lines[:-2]))
    answer = call("history", "prune", "--keep", "1", "--runs", str(tmp_path))
    assert folder.name in folders(tmp_path)
    assert f"stays: {folder.name}: it has not ended" in answer.stdout


def test_rebuild_reads_everything_again(tmp_path: Path) -> None:
    lay(tmp_path, 0)
    assert call("history", "rebuild", "--runs", str(tmp_path)).stdout == "1 journal read; 1 run is known\n"
    lay(tmp_path, 1)
    assert call("history", "rebuild", "--runs", str(tmp_path)).stdout == "2 journals read; 2 runs are known\n"
