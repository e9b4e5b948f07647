"""The index is what the journals say: at any time, whatever became of its file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.cli_runs import SECOND, WALL, Paper, write
from tests.unit.history_runs import DAY, append, lay, newer
from tests.unit.test_cli_app import ROOT
from veloz_chaos.core import event as ev
from veloz_chaos.core.record import Record
from veloz_chaos.engine import index, index_file, journal, records
from veloz_chaos.engine.index import Query
from veloz_chaos.errors import UsageError
from veloz_chaos.mechanisms import proc

KEPT = Path(__file__).parents[1] / "journals"


def found(runs: Path, query: Query = Query()) -> list[Record]:  # noqa: B008
    with index.opened(runs) as opened:
        return opened.find(query)


def settle(runs: Path) -> None:
    """Make the folder's time of change old enough to be believed."""
    os.utime(runs, ns=(1, 1))


def test_a_run_is_found_with_what_it_was_and_how_it_went(tmp_path: Path) -> None:
    folder = lay(tmp_path, 1)
    (record,) = found(tmp_path)
    assert (record.folder, record.experiment, record.environment) == (folder.name, "engine-crash", "paper")
    assert (record.row, record.tier, record.verdict) == ("engine-crash", "development", "passed")
    assert record.started == WALL + DAY
    assert record.detection is not None
    assert record.detection.limit == 5 * SECOND
    assert record.recovery is not None
    assert record.recovery.measured is not None
    assert record.recovery.measured.holds(1.2 * SECOND)
    assert record.reason.startswith("detected after")


@pytest.mark.parametrize("paper", [Paper(), Paper(recovered=60.0, watched=30.0), Paper(placebo=True)])
def test_a_judgement_that_was_kept_reads_like_the_one_made_again(tmp_path: Path, paper: Paper) -> None:
    one, other = lay(tmp_path / "a", 1, paper), lay(tmp_path / "b", 1, paper, kept=False)
    assert records.read(one) == records.read(other)


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.jsonl")), ids=lambda path: path.stem)
def test_journals_of_older_formats_are_read_and_judged(tmp_path: Path, path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(path, tmp_path / "run" / journal.FILE)
    (record,) = found(tmp_path)
    alone = "inconclusive" if path.stem == "full-dr-test" else "failed"  # that one's order history is not beside it
    assert record.verdict == ("passed" if path.stem.count("-") == 1 else alone)


def test_one_of_a_newer_format_is_refused_clearly_and_the_others_are_found(tmp_path: Path) -> None:
    lay(tmp_path, 1)
    future = lay(tmp_path, 2)
    newer(future)
    with index.opened(tmp_path) as opened:
        assert len(opened.find(Query())) == 1
        (problem,) = opened.problems.values()
    assert f"{future}/journal.jsonl: written by a newer veloz-chaos" in problem


@pytest.mark.parametrize(
    "text", ["", "{}\n", '{"event":"run-started"}\n', "\0\0\n", '{"event":"run-started","plan":3}\n']
)
def test_what_is_no_journal_is_told_and_no_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / journal.FILE).write_text(text)
    with index.opened(tmp_path) as opened:
        assert opened.find(Query()) == []
        assert "does not begin with the start of a run" in opened.problems["x"]


def test_a_run_without_an_end_was_interrupted_or_is_under_way(tmp_path: Path) -> None:
    lay(tmp_path, 1, Paper(ended=False))
    (record,) = found(tmp_path)
    assert record.verdict == "interrupted"
    assert "veloz-chaos revert" in record.reason
    folder = lay(tmp_path, 2, Paper(ended=False, pid=os.getpid(), pid_start=proc.start_time(os.getpid())))
    text = (folder / journal.FILE).read_text().replace('"boot_id":"paper"', f'"boot_id":"{proc.boot_id()}"')
    (folder / journal.FILE).write_text(text)
    assert [r.verdict for r in found(tmp_path)] == ["under-way", "interrupted"]
    assert [r.verdict for r in found(tmp_path, Query(verdicts=("under-way",)))] == ["under-way"]


def test_after_a_reboot_a_process_with_the_runner_s_pid_is_another_one(tmp_path: Path) -> None:
    lay(tmp_path, 1, Paper(ended=False, pid=os.getpid(), pid_start=proc.start_time(os.getpid())))
    assert [r.verdict for r in found(tmp_path)] == ["interrupted"]


def test_a_run_whose_end_was_written_by_its_guardian_was_interrupted(tmp_path: Path) -> None:
    folder = lay(tmp_path, 1, Paper(ended=False))
    append(folder, ev.RunEnded(cause="interrupted", by="guardian", at=99 * SECOND, wall=1.0))
    assert [r.verdict for r in found(tmp_path)] == ["interrupted"]


def test_only_what_is_new_or_not_over_is_read_again(tmp_path: Path) -> None:
    for day in range(5):
        lay(tmp_path, day)
    open_ = lay(tmp_path, 9, Paper(ended=False))
    with index.opened(tmp_path) as opened:
        assert opened.read == 6
    with index.opened(tmp_path) as opened:
        assert opened.read == 0
    lay(tmp_path, 6)
    append(open_, ev.RunEnded(cause="completed", by="runner", at=99 * SECOND, wall=1.0))
    with index.opened(tmp_path) as opened:
        assert opened.read == 2
        assert len(opened.find(Query())) == 7


def test_nothing_is_listed_while_no_folder_came_or_went(tmp_path: Path) -> None:
    lay(tmp_path, 1)
    assert len(found(tmp_path)) == 1
    settle(tmp_path)
    with index.opened(tmp_path) as opened:
        assert opened._database.execute("SELECT value FROM state").fetchall() == [(1,)]
    lay(tmp_path, 2)
    assert len(found(tmp_path)) == 2


def test_what_was_removed_is_not_found(tmp_path: Path) -> None:
    lay(tmp_path, 1)
    gone = lay(tmp_path, 2)
    assert len(found(tmp_path)) == 2
    shutil.rmtree(gone)
    assert len(found(tmp_path)) == 1


def test_a_folder_whose_journal_comes_later_is_found_then(tmp_path: Path) -> None:
    folder = lay(tmp_path, 1)
    text = (folder / journal.FILE).read_text()
    (folder / journal.FILE).unlink()
    settle(tmp_path)
    assert found(tmp_path) == []
    (folder / journal.FILE).write_text(text)
    settle(tmp_path)
    assert len(found(tmp_path)) == 1


def test_a_copy_under_another_name_is_counted_once(tmp_path: Path) -> None:
    folder = lay(tmp_path, 1)
    shutil.copytree(folder, tmp_path / "copy")
    with index.opened(tmp_path) as opened:
        assert len(opened.find(Query())) == 1
        (problem,) = opened.problems.values()
    assert "the same run as" in problem
    shutil.rmtree(tmp_path / found(tmp_path)[0].folder)
    with index.opened(tmp_path) as opened:
        assert len(opened.find(Query())) == 1
        assert opened.problems == {}


def test_a_fault_in_place_keeps_a_run_open_until_it_is_taken_out(tmp_path: Path) -> None:
    folder = lay(tmp_path, 1, Paper(held=True))
    (record,) = found(tmp_path)
    assert record.verdict == "left-behind"
    with index.opened(tmp_path) as opened:
        assert opened.unsettled() == {folder.name}
    append(folder, ev.FaultCleared(fault="f1", by="revert", at=100 * SECOND, wall=2.0))
    with index.opened(tmp_path) as opened:
        assert opened.unsettled() == set()
        assert opened.find(Query())[0].verdict != "left-behind"


QUERIES = [
    (Query(), 6),
    (Query(limit=2), 2),
    (Query(experiments=("engine-crash",)), 5),
    (Query(experiments=("engine-crash", "pod-kill")), 6),
    (Query(environments=("other",)), 1),
    (Query(verdicts=("failed",)), 1),
    (Query(since=WALL + 3 * DAY), 3),
    (Query(until=WALL + 3 * DAY), 3),
    (Query(placebos=False), 5),
    (Query(experiments=("none",)), 0),
]


@pytest.mark.parametrize(("query", "count"), QUERIES, ids=str)
def test_queries(tmp_path: Path, query: Query, count: int) -> None:
    lay(tmp_path, 0)
    lay(tmp_path, 1, Paper(recovered=60.0, watched=30.0))
    lay(tmp_path, 2, Paper(placebo=True))
    lay(tmp_path, 3, experiment="pod-kill")
    lay(tmp_path, 4, environment="other")
    lay(tmp_path, 5, parameters={"signal": "TERM"})
    records_ = found(tmp_path, query)
    assert len(records_) == count
    assert [r.started for r in records_] == sorted((r.started for r in records_), reverse=True)
    with index.opened(tmp_path) as opened:
        assert sum(opened.count(replace(query, limit=None)).values()) >= count


def test_the_plan_s_parameters_and_occasion_are_kept(tmp_path: Path) -> None:
    from veloz_chaos.core.plan import Occasion

    due = "2026-03-02T10:00:00+00:00"
    lay(tmp_path, 1, parameters={"delay": "200ms"}, occasion=Occasion(schedule="veloz", entry="a@b", due=due))
    (record,) = found(tmp_path)
    assert record.parameters == {"delay": "200ms"}
    assert (record.schedule, record.entry, record.due) == ("veloz", "a@b", 1772445600.0)
    assert len(found(tmp_path, Query(schedule="veloz"))) == 1


# --- its file ------------------------------------------------------------------------------------------------------


def damaged(path: Path, how: str) -> None:
    if how == "text":
        path.write_text("no database at all")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "older":
        database = sqlite3.connect(path)
        database.executescript("PRAGMA user_version = 0; DROP TABLE open;")
        database.close()
    else:
        data = bytearray(path.read_bytes())
        data[200:] = os.urandom(len(data) - 200)
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["text", "empty", "older", "random"])
def test_a_damaged_file_is_made_again(tmp_path: Path, how: str) -> None:
    for day in range(3):
        lay(tmp_path, day)
    settle(tmp_path)
    assert len(found(tmp_path)) == 3
    damaged(index_file.place(tmp_path), how)
    with index.opened(tmp_path) as opened:
        assert len(opened.find(Query())) == 3
        assert all("made again" in note for note in opened.notes)
    with index.opened(tmp_path) as opened:
        assert (opened.read, opened.notes) == (0, [])


def test_a_file_damaged_where_only_a_query_reads_is_made_again(tmp_path: Path) -> None:
    for day in range(300):
        lay(tmp_path, day)
    settle(tmp_path)
    assert len(found(tmp_path)) == 300
    path = index_file.place(tmp_path)
    data = bytearray(path.read_bytes())
    for page in range(8, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    with index.opened(tmp_path) as opened:
        assert len(opened.find(Query())) == 300
        assert opened.notes


def test_one_that_a_newer_version_made_is_left_alone(tmp_path: Path) -> None:
    lay(tmp_path, 1)
    assert len(found(tmp_path)) == 1
    path = index_file.place(tmp_path)
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 999")
    database.close()
    before = path.read_bytes()
    with index.opened(tmp_path) as opened:
        assert len(opened.find(Query())) == 1
        assert "made by a newer veloz-chaos" in opened.notes[0]
    assert path.read_bytes() == before


def test_where_no_file_can_be_it_works_from_memory(tmp_path: Path) -> None:
    lay(tmp_path, 1)
    (tmp_path / index_file.FOLDER).write_text("in the way")
    with index.opened(tmp_path) as opened:
        assert len(opened.find(Query())) == 1
        assert "kept in memory this time" in opened.notes[0]


def test_a_file_that_can_only_be_read_is_used_and_gone_beyond(tmp_path: Path) -> None:
    """As another user: root may write everywhere."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to become somebody else")
    lay(tmp_path, 1)
    assert len(found(tmp_path)) == 1
    lay(tmp_path, 2)
    for path in [tmp_path, *tmp_path.rglob("*"), *tmp_path.parents]:
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [*become, sys.executable, "-m", "veloz_chaos", "history", "list", "--runs", str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if "Permission denied" in answer.stderr and answer.returncode != 0:
        pytest.skip("the interpreter is where nobody else may read it")
    assert answer.returncode == 0, answer.stderr
    assert "2 runs" in answer.stdout
    assert "(attempt to write a readonly database); kept in memory this time" in answer.stderr


def test_no_runs_at_all(tmp_path: Path) -> None:
    assert found(tmp_path / "none") == []
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not a folder"):
        found(tmp_path / "file")


def test_several_at_once(tmp_path: Path) -> None:
    for day in range(60):
        lay(tmp_path, day)
    code = (
        "import sys; from pathlib import Path; from veloz_chaos.engine import index;"
        "opened = index.opened(Path(sys.argv[1]), again=len(sys.argv) > 2); found = opened.__enter__();"
        "print(len(found.find(index.Query())), found.notes)"
    )
    calls = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), *(["again"] if n == 2 else [])],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        )
        for n in range(4)
    ]  # fmt: skip
    assert {call.communicate()[0] for call in calls} == {"60 []\n"}


def test_runs_of_others_beside_ours_are_no_runs(tmp_path: Path) -> None:
    write(tmp_path / ".half-x", Paper())
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    with index.opened(tmp_path) as opened:
        assert opened.find(Query()) == []
        assert opened.problems == {}


def test_whatever_was_measured_is_kept(tmp_path: Path) -> None:
    lay(tmp_path, 1)
    (record,) = found(tmp_path)
    assert set(record.more) == {"impact"}
    (again,) = found(tmp_path)
    assert again == record
    time = again.time("impact")
    assert time is not None
    assert time.measured is not None
    assert again.time("rto") is None
