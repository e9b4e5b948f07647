"""`schedule run` on a small system: all that is due, once, one after the other; and it stops where it must."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.system import System, running
from tests.unit.cli_runs import Paper
from tests.unit.history_runs import lay
from veloz_chaos import errors
from veloz_chaos.cli.scheduling import Asked, Scheduler
from veloz_chaos.core.record import Record
from veloz_chaos.core.standing import Standing
from veloz_chaos.engine import index, index_file, journal, lock, schedules
from veloz_chaos.engine.index import Query
from veloz_chaos.mechanisms import proc

#: A Monday, half an hour after ten.
NOW = datetime(2030, 1, 7, 10, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def write(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "weekly.yaml"
    data = {"kind": "Schedule", "version": 1, "timezone": "UTC", "entries": list(entries)}
    path.write_text(yaml.safe_dump(data))
    return path


def entry(system: System, name: str, **said: Any) -> dict[str, Any]:
    made = {"name": name, "experiment": said.pop("experiment", None) or str(system.experiment())}
    made |= {"environment": said.pop("environment", None) or str(system.environment())}
    return made | {"every": "week", "day": "monday", "at": "10:00"} | said


def scheduler(folder: Path, path: Path, now: Any = NOW, **more: Any) -> Scheduler:
    clock = now if callable(now) else lambda: now
    plain: dict[str, Any] = {
        "bound": schedules.bind(path), "runs": folder / "runs", "clock": clock, "wait": timedelta(0), "late": None,
        "queue": timedelta(0), "confirmed": frozenset(), "quiet": True, "verbose": False,
    }  # fmt: skip
    return Scheduler(Asked(**plain | more))


def run(folder: Path, path: Path, now: Any = NOW, **more: Any) -> Scheduler:
    made = scheduler(folder, path, now, **more)
    with made.at_work():
        for _ in made.run():
            pass
    return made


def ran(made: Scheduler) -> list[tuple[str, int]]:
    return [(done.occasion.entry, done.outcome.exit_code) for done in made.done]


def stands(folder: Path, path: Path, now: datetime) -> dict[str, Standing]:
    with index.opened(folder / "runs") as found:
        return {s.entry.id: s for s in schedules.stand(schedules.bind(path), found, now)}


def records(folder: Path) -> list[Record]:
    with index.opened(folder / "runs") as found:
        return found.find(Query())


def test_all_that_is_due_is_run_once_the_oldest_first(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        path = write(
            tmp_path,
            entry(system, "later", at="10:15"),
            entry(system, "first"),
            entry(system, "tomorrow", day="tuesday"),
        )
        made = run(tmp_path, path, NOW, late=DAY)
        assert ran(made) == [("first", 0), ("later", 0)]
        assert ran(run(tmp_path, path, NOW, late=DAY)) == []
    first, later = sorted(records(tmp_path), key=lambda r: r.started)
    assert (first.schedule, first.entry, later.entry) == ("weekly", "first", "later")
    assert first.due == datetime(2030, 1, 7, 10, tzinfo=UTC).timestamp()
    told = stands(tmp_path, path, NOW)
    assert (told["first"].state, told["first"].problem) == ("run", "")


def test_a_week_of_it(tmp_path: Path) -> None:
    """Every hour of a week somebody starts the scheduler; what is checked in between is what one expects."""
    with running(tmp_path) as system:
        path = write(
            tmp_path,
            entry(system, "monday", since="2030-01-06"),
            entry(system, "thursday", day="thursday", since="2030-01-06", grace="2d"),
        )
        begin = datetime(2030, 1, 6, tzinfo=UTC)
        done: list[tuple[str, str]] = []
        for hour in range(4 * 24):  # to Wednesday's end; on Thursday the machine is off
            now = begin + timedelta(hours=hour)
            done += [(entry_, f"{now:%a %H}") for entry_, _ in ran(run(tmp_path, path, now))]
        assert done == [("monday", "Mon 10")]
        told = stands(tmp_path, path, begin + 5 * DAY)
        assert (told["monday"].problem, told["thursday"].state, told["thursday"].problem) == ("", "due", "")
        told = stands(tmp_path, path, begin + 7 * DAY)
        assert (told["thursday"].state, told["thursday"].problem) == ("overdue", "overdue")
        assert ran(run(tmp_path, path, begin + 7 * DAY)) == [("thursday", 0)]
        assert {s.problem for s in stands(tmp_path, path, begin + 7 * DAY).values()} == {""}


def test_a_clock_put_back_runs_nothing_twice(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        path = write(tmp_path, entry(system, "a", since="2030-01-01"))
        assert len(run(tmp_path, path, NOW).done) == 1
        for now in (NOW - timedelta(hours=2), NOW - timedelta(minutes=40), NOW, NOW + DAY):
            assert ran(run(tmp_path, path, now)) == []
        assert len(run(tmp_path, path, NOW + 7 * DAY).done) == 1


def test_a_clock_that_jumps_while_it_runs(tmp_path: Path) -> None:
    """Every look at the clock shows another day, forwards and back."""
    with running(tmp_path) as system:
        path = write(tmp_path, entry(system, "a", since="2030-01-01"), entry(system, "b", since="2030-01-01"))
        times = iter([NOW, NOW - DAY, NOW, NOW + 2 * DAY, *[NOW] * 20])
        made = run(tmp_path, path, lambda: next(times))
        assert ran(made) == [("a", 0)]  # by then it was Sunday, and nothing was due any more
        assert ran(run(tmp_path, path, lambda: next(times))) == [("b", 0)]


def test_a_failed_one_is_not_run_again_and_the_next_one_is(tmp_path: Path) -> None:
    with running(tmp_path, restarts_after=0.3) as system:
        blind = str(system.experiment(expect={"detection": ["alarm"]}))
        system.lying = ("/alarm",)
        path = write(tmp_path, entry(system, "blind", experiment=blind), entry(system, "good"))
        made = run(tmp_path, path)
        assert ran(made) == [("blind", 1), ("good", 0)]
        assert made.exit_code == 1
        assert ran(run(tmp_path, path)) == []
        assert stands(tmp_path, path, NOW)["blind"].problem == "failed"


def test_where_something_is_left_behind_the_rest_is_not_run(tmp_path: Path) -> None:
    with running(tmp_path, restarts_after=None) as system:
        path = write(tmp_path, entry(system, "a"), entry(system, "b"))
        made = run(tmp_path, path)
    assert ran(made) == [("a", errors.LEFT_BEHIND)]
    assert made.exit_code == errors.LEFT_BEHIND


@pytest.mark.parametrize("reused", [False, True])
def test_what_an_earlier_run_left_is_taken_out_first(tmp_path: Path, reused: bool) -> None:
    """A run that a reboot interrupted: closed, counted as interrupted, and the rest goes on. `reused`: a process of
    this boot has its runner's pid, and even its start."""
    pid = os.getpid() if reused else Paper.pid
    paper = Paper(held=True, ended=False, pid=pid, pid_start=proc.start_time(pid) if reused else Paper.pid_start)
    folder = lay(tmp_path / "runs", 1, paper)
    text = (folder / journal.FILE).read_text().replace('"host":"paper"', f'"host":"{socket.gethostname()}"')
    (folder / journal.FILE).write_text(text)
    with running(tmp_path) as system:
        path = write(tmp_path, entry(system, "a"))
        made = run(tmp_path, path)
    assert made.codes == [0]
    assert ran(made) == [("a", 0)]
    assert sorted(r.verdict for r in records(tmp_path)) == ["interrupted", "passed"]


def test_another_machine_s_open_run_is_its_own_business(tmp_path: Path) -> None:
    lay(tmp_path / "runs", 1, Paper(held=True, ended=False))
    with running(tmp_path) as system:
        made = run(tmp_path, write(tmp_path, entry(system, "a")))
    assert (made.codes, ran(made)) == ([], [("a", 0)])


def test_two_schedulers_at_once(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        path = write(tmp_path, entry(system, "a"))
        first, second = scheduler(tmp_path, path), scheduler(tmp_path, path)
        busy = pytest.raises(errors.Refused, match="another scheduler is at work on these runs: pid")
        with first.at_work(), busy, second.at_work():
            pass
        with second.at_work():
            pass


def test_a_second_scheduler_that_waits_for_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    with running(tmp_path) as system:
        path = write(tmp_path, entry(system, "a"))
        first, second = scheduler(tmp_path, path), scheduler(tmp_path, path, queue=timedelta(minutes=1))
        came = threading.Event()

        def wait() -> None:
            with second.at_work():
                came.set()

        thread = threading.Thread(target=wait, daemon=True)
        with first.at_work():
            thread.start()
            thread.join(0.2)
            assert thread.is_alive()
            assert not came.is_set()
        assert came.wait(30)
        thread.join()


def test_several_schedulers_run_everything_once(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        path = write(tmp_path, entry(system, "a"), entry(system, "b"))
        refused = []

        def one() -> None:
            made = scheduler(tmp_path, path)
            try:
                with made.at_work():
                    made._turn()  # what it would do; a run itself belongs into the main thread
            except errors.Refused as error:
                refused.append(error)

        made = scheduler(tmp_path, path)
        with made.at_work():
            threads = [threading.Thread(target=one) for _ in range(3)]
            for thread in threads:
                thread.start()
            for _ in made.run():
                pass
            for thread in threads:
                thread.join()
    assert len(refused) == 3
    assert ran(made) == [("a", 0), ("b", 0)]


def test_what_can_not_be_run_here_is_told_and_the_rest_is_run(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        nowhere = entry(system, "nowhere", environment="no-such-place")
        path = write(tmp_path, nowhere, entry(system, "dr", experiment="full-dr-test"), entry(system, "good"))
        made = run(tmp_path, path)
    assert dict(ran(made)) == {"nowhere": 2, "dr": 2, "good": 0}
    told = {done.occasion.entry: str(done.outcome.error) for done in made.done}
    assert "there is no environment `no-such-place`" in told["nowhere"]
    assert "environment `small` has no procedure `restore`" in told["dr"]


@pytest.mark.parametrize("itself", [True, False], ids=["itself", "by a file that it uses"])
def test_production_wants_a_person_or_its_name(itself: bool, tmp_path: Path) -> None:
    with running(tmp_path) as system:
        live = str(system.environment(name="live", tier="production"))
        if not itself:
            (tmp_path / "site.yaml").write_text("{kind: Environment, version: 1, tier: production}")
            data = yaml.safe_load(Path(live).read_text()) | {"uses": ["site.yaml"]}
            del data["tier"]
            Path(live).write_text(yaml.safe_dump(data))
        experiment = str(system.experiment(allowed_on=["production"]))
        path = write(tmp_path, entry(system, "drill", environment=live, experiment=experiment), entry(system, "a"))
        made = run(tmp_path, path)
        assert ran(made) == [("a", 0)]
        (why,) = made.held.values()
        assert why == "drill: not run: live is production; start it by hand, or give --confirm live"
        assert ran(run(tmp_path, path, confirmed=frozenset({"live"}))) == [("drill", 0)]


def test_an_entry_s_parameters_reach_the_run(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        experiment = str(system.experiment(parameters={"hold": {"default": "300ms"}}))
        path = write(tmp_path, entry(system, "a", experiment=experiment, **{"with": {"hold": "200ms"}}))
        assert ran(run(tmp_path, path)) == [("a", 0)]
        (record,) = records(tmp_path)
        assert record.parameters == {"hold": "200ms"}
        assert stands(tmp_path, path, NOW)["a"].state == "run"


def test_it_waits_for_what_is_due_soon(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        path = write(tmp_path, entry(system, "a", since="2030-01-07"))
        before = datetime(2030, 1, 7, 9, 59, 59, tzinfo=UTC)
        assert ran(run(tmp_path, path, before)) == []
        shift = before - datetime.now(UTC)

        def clock() -> datetime:
            return datetime.now(UTC) + shift

        assert ran(run(tmp_path, path, clock, wait=timedelta(minutes=1))) == [("a", 0)]


def test_what_has_been_due_for_too_long_is_left_alone(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        path = write(tmp_path, entry(system, "a"))
        assert ran(run(tmp_path, path, NOW, late=timedelta(minutes=29))) == []
        assert ran(run(tmp_path, path, NOW, late=timedelta(minutes=31))) == [("a", 0)]


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    folder.mkdir()
    (folder / index_file.FOLDER).write_text("in the way")
    yield


def test_runs_that_can_not_be_written_are_refused(tmp_path: Path) -> None:
    with running(tmp_path) as system, unwritable(tmp_path / "runs"):
        path = write(tmp_path, entry(system, "a"))
        with pytest.raises(errors.Refused, match="choose another place with --runs"):
            run(tmp_path, path)
