"""Experiments of steps: each kind, each way to fail, and what is left when a run breaks off, on a small system."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.engine.system import System, names, running, verdicts
from veloz_chaos import errors
from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.core.judge import judge
from veloz_chaos.engine import confirm, journal
from veloz_chaos.engine.conduct import Result
from veloz_chaos.engine.revert import revert
from veloz_chaos.errors import InvalidFile, Refused, UsageError
from veloz_chaos.registry import Registry
from veloz_chaos.targets import fake

LOSS: dict[str, Any] = {"name": "loss", "inject": [{"kill": {"service": "system"}}]}
NOTICED: dict[str, Any] = {"name": "noticed", "until": ["not healthy", "reported-down"], "within": "2s"}
BACK: dict[str, Any] = {"name": "back", "until": "steady-state", "within": "5s"}
CUT: dict[str, Any] = {"name": "cut", "inject": [{"pause": {"service": "system", "for": "20s"}}]}
UNTIL = {"until": "decided", "at-most": "1s"}


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with running(tmp_path, restarts_after=0.8) as made:
        yield made


def experiment(system: System, steps: list[dict[str, Any]], **changes: Any) -> Path:
    data = yaml.safe_load(system.experiment().read_text()) | {"name": "drill", "failure": "full-dr", "steps": steps}
    del data["fault"], data["expect"]["detection"]
    data |= {key.replace("_", "-"): value for key, value in changes.items()}
    path = system.folder / f"steps-{uuid4().hex[:6]}.yaml"
    path.write_text(json.dumps(data))
    return path


def python(*lines: str, **more: Any) -> dict[str, Any]:
    return {"command": [sys.executable, "-c", "\n".join(lines)], **more}


def procedures(system: System, **named: Any) -> Path:
    return system.environment(procedures={name.replace("_", "-"): said for name, said in named.items()})


def ended(events: list[ev.Event]) -> dict[str, str]:
    return {event.step: event.outcome for event in events if isinstance(event, ev.StepEnded)}


def reason(result: Result, title: str) -> str:
    return next(finding.reason for finding in result.judgement.findings if finding.expectation == title)


# --- as it should be -----------------------------------------------------------------------------------------------


def test_steps_are_taken_in_their_order_and_each_is_an_expectation(system: System, tmp_path: Path) -> None:
    told = tmp_path / "told"
    place = procedures(system, tell=python(f"open({str(told)!r}, 'w').write('x')", "print('told')"))
    steps: list[dict[str, Any]] = [
        {"name": "ready", "check": ["healthy"], "within": "2s"}, {"name": "pause", "wait": "100ms"}, LOSS, NOTICED,
        {"name": "tell", "procedure": "tell"}, BACK,
    ]  # fmt: skip
    result, events = system.run(experiment(system, steps, measure={"rto": {"from": "loss", "to": "back"}}), place)
    assert result.judgement.verdict == "passed", [f.as_json() for f in result.judgement.findings]
    assert list(verdicts(result)) == [f"step {step['name']}" for step in steps] + ["rto"]
    assert set(ended(events).values()) == {"done"} and told.read_text() == "x"
    rto = next(finding for finding in result.judgement.findings if finding.expectation == "rto")
    died, started = (e.at for e in events if isinstance(e, ev.TargetReported))
    assert rto.measured is not None and rto.measured.at_least < started - died + 0.1e9
    assert rto.measured.at_most >= 0.8e9
    assert rto.limit == 1800e9
    read = journal.read(result.folder)
    assert read[:-1] == events and isinstance(read[-1], ev.RunJudged)
    assert judge(of(read)) == result.judgement


def test_what_a_step_holds_a_later_one_takes_out(system: System) -> None:
    steps = [CUT, {"name": "seen", "until": ["not healthy"]}, {"name": "lift", "revert": ["cut"]}, BACK]
    result, events = system.run(experiment(system, steps))
    assert result.judgement.verdict == "passed", [f.as_json() for f in result.judgement.findings]
    assert verdicts(result)["reverted"] == "passed" and system.healthy
    order = [event.event for event in events]
    assert order.index("fault-cleared") < max(n for n, name in enumerate(order) if name == "step-began")


def test_what_a_step_holds_is_taken_out_when_its_time_is_over_or_at_the_end(system: System) -> None:
    briefly = {"name": "cut", "inject": [{"pause": {"service": "system", "for": "3s"}}]}
    back = {**BACK, "within": "15s"}
    result, _ = system.run(experiment(system, [briefly, {"name": "seen", "until": ["not healthy"]}, back]))
    assert result.judgement.verdict == "passed", [f.as_json() for f in result.judgement.findings]
    result, events = system.run(experiment(system, [CUT, {"name": "seen", "until": ["not healthy"]}]))
    assert result.judgement.verdict == "passed", [f.as_json() for f in result.judgement.findings]
    assert names(events)[-4:] == ["revert-began", "revert-returned", "fault-cleared", "run-ended"]


@pytest.mark.parametrize(("may", "verdict"), [([], "inconclusive"), (["target-restarted"], "passed")])
def test_what_a_step_holds_must_last_until_it_is_taken_out(system: System, may: list[str], verdict: str) -> None:
    def die(event: ev.Event) -> None:
        if isinstance(event, ev.StepBegan) and event.step == "back":
            fake.WORLD[system.name].die()

    steps = [CUT, {"name": "seen", "until": ["not healthy"]}, BACK]
    expect = {"may": may, "recovery": {"hold": "300ms"}}
    result, _ = system.run(experiment(system, steps, expect=expect), observe=die)
    assert verdicts(result)["step cut"] == verdict == result.judgement.verdict
    early = "it ended early: the target restarted under the fault (exit 137)"
    assert may or reason(result, "step cut") == early


def test_a_step_is_a_window_of_its_own(system: System) -> None:
    steps = [LOSS, {**NOTICED, "name": "dark"}, {"name": "look", "wait": "3s"}, BACK]
    windows = {"look": {"eventually": ["healthy"]}, "dark": {"eventually": ["reported-down"]}}
    result, _ = system.run(experiment(system, steps, expect={"while": windows, "recovery": {"hold": "300ms"}}))
    assert verdicts(result)["while look: eventually healthy"] == "passed"


def test_a_costly_probe_looks_only_while_it_is_checked(system: System) -> None:
    steps = [{"name": "ready", "check": ["alarm-off"], "within": "2s"}, LOSS, BACK]
    look = {"http": {"get": "${url}/alarm"}, "ok": "status == 200", "every": "1m", "timeout": "500ms"}
    probes = yaml.safe_load(system.environment().read_text())["probes"] | {"alarm-off": look}
    result, events = system.run(experiment(system, steps), system.environment(probes=probes))
    assert result.judgement.verdict == "passed", [f.as_json() for f in result.judgement.findings]
    assert sum(isinstance(event, ev.LookTaken) and event.probe == "alarm-off" for event in events) == 1


# --- people --------------------------------------------------------------------------------------------------------


def declared(within: str) -> dict[str, Any]:
    return {"name": "declare", "manual": {"do": "Declare the disaster", "by": "commander", "within": within}}


def confirming(system: System, step: str) -> Callable[[ev.Event], None]:
    """Confirms as `drill confirm` does, a little after it is asked for."""

    def observe(event: ev.Event) -> None:
        if isinstance(event, ev.StepBegan) and event.step == step:
            (folder,) = (system.folder / "runs").iterdir()
            threading.Timer(0.3, confirm.confirm, (folder, step, "ada")).start()

    return observe


def test_a_manual_step_is_confirmed_and_timed(system: System) -> None:
    steps = [LOSS, declared("10s"), BACK]
    result, _events = system.run(experiment(system, steps), observe=confirming(system, "declare"))
    assert result.judgement.verdict == "passed", [f.as_json() for f in result.judgement.findings]
    finding = next(f for f in result.judgement.findings if f.expectation == "step declare")
    assert finding.reason == "confirmed by ada" and finding.limit == 10e9
    assert finding.measured is not None and 0.2e9 < finding.measured.at_least < 10e9
    with pytest.raises(UsageError, match="the run has ended"):
        confirm.confirm(result.folder, "declare", "ada")
    with pytest.raises(UsageError, match="no manual step of this run; its manual steps: declare"):
        confirm.confirm(result.folder, "loss", "ada")


def test_a_step_of_drills_only_is_left_out_elsewhere_and_that_is_told(system: System) -> None:
    steps = [LOSS, {**declared("10s"), "drills-only": True}, BACK]
    result, events = system.run(experiment(system, steps))
    assert result.judgement.verdict == "passed", [f.as_json() for f in result.judgement.findings]
    assert list(ended(events)) == ["loss", "back"]
    assert result.history.plan is not None
    assert "step declare is left out: only a drill asks commander" in result.history.plan.warnings


def test_what_was_confirmed_before_it_began_is_not_confirmed(system: System) -> None:
    def observe(event: ev.Event) -> None:
        if isinstance(event, ev.BaselineBegan):
            (folder,) = (system.folder / "runs").iterdir()
            with pytest.raises(UsageError, match="has not begun"):
                confirm.confirm(folder, "declare", "ada")
            with pytest.raises(UsageError, match="nothing waits for a go for `loss` now"):
                confirm.confirm(folder, "loss", "ada")
            confirm.place(folder, "declare").write_text("{}")

    result, events = system.run(experiment(system, [declared("500ms"), LOSS]), observe=observe)
    assert ended(events) == {"declare": "failed"}
    assert "injection-began" not in names(events)
    assert verdicts(result) == {"step declare": "failed", "step loss": "inconclusive"}


def test_an_operator_who_never_answers_fails_at_the_deadline_and_the_system_is_mended(
    system: System, tmp_path: Path
) -> None:
    place = procedures(system, mend=python(f"open({str(tmp_path / 'mended')!r}, 'a').write('x')"))
    path = experiment(system, [LOSS, declared("500ms"), BACK], on_abort="mend")
    result, _events = system.run(path, place)
    assert result.judgement.exit_code == errors.FAILED
    assert verdicts(result) == {"step loss": "passed", "step declare": "failed", "step back": "inconclusive"}
    assert reason(result, "step declare") == "nobody confirmed it within 0.5 s"
    assert reason(result, "step back") == "not run: `declare` failed before it"
    assert (tmp_path / "mended").read_text() == "x"
    assert system.healthy


# --- steps that fail -----------------------------------------------------------------------------------------------


def test_after_a_step_that_failed_none_is_taken_and_nothing_is_hurt(system: System) -> None:
    result, events = system.run(experiment(system, [{"name": "ready", "check": ["alarm"], "within": "2s"}, LOSS]))
    assert result.judgement.exit_code == errors.FAILED
    assert verdicts(result) == {"step ready": "failed", "step loss": "inconclusive"}
    assert reason(result, "step ready").startswith("alarm was not shown: 200")
    assert "injection-began" not in names(events)


def test_a_condition_that_never_comes_fails(system: System) -> None:
    result, _ = system.run(experiment(system, [LOSS, {"name": "alarm", "until": ["not alarm"], "within": "10s"}]))
    assert verdicts(result)["step alarm"] == "passed"
    path = experiment(
        system, [LOSS, {"name": "gone", "until": [{"any-of": ["alarm", "reported-down"]}], "within": "2s"}]
    )
    assert verdicts(system.run(path)[0])["step gone"] == "passed"
    silent = {"name": "silent", "until": ["reported-down"], "within": "1s"}
    result, _ = system.run(experiment(system, [{"name": "pause", "wait": "10ms"}, silent, LOSS]))
    assert verdicts(result)["step silent"] == "failed"


def test_a_steady_state_that_comes_back_too_late_fails(tmp_path: Path) -> None:
    with running(tmp_path, restarts_after=2.0) as system:
        result, _ = system.run(experiment(system, [LOSS, {**BACK, "within": "1s"}]))
    assert verdicts(result)["step back"] == "failed"
    assert result.judgement.exit_code == errors.FAILED


def test_a_fault_that_is_not_found_in_place_is_inconclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veloz_chaos.engine.run.CONFIRM", 500_000_000)
    with running(tmp_path, flaw="does-nothing") as system:
        result, _ = system.run(experiment(system, [LOSS, BACK]))
    assert result.judgement.exit_code == errors.INCONCLUSIVE
    assert set(verdicts(result).values()) == {"inconclusive"}


# --- procedures ----------------------------------------------------------------------------------------------------


def run_procedure(system: System, said: dict[str, Any], **changes: Any) -> tuple[Result, ev.ProcedureEnded]:
    path = experiment(system, [{"name": "do", "procedure": "do"}, LOSS], **changes)
    result, events = system.run(path, procedures(system, do=said))
    return result, next(event for event in events if isinstance(event, ev.ProcedureEnded))


def test_a_procedure_that_hangs_is_killed_with_all_that_it_started(system: System, tmp_path: Path) -> None:
    file = tmp_path / "beats"
    child = f"import time\nwhile True: open({str(file)!r}, 'a').write('x'); time.sleep(0.02)"
    hanging = python(
        "import subprocess, sys, time", f"subprocess.Popen([sys.executable, '-c', {child!r}])", "time.sleep(60)",
        timeout="6s",
    )  # fmt: skip
    result, told = run_procedure(system, hanging)
    assert verdicts(result) == {"step do": "failed", "step loss": "inconclusive"}
    assert not told.succeeded and told.status is None and "killed after 6 s" in told.output
    beats = file.stat().st_size
    time.sleep(0.3)
    assert beats == file.stat().st_size > 0


def test_of_a_flood_only_the_end_is_kept(system: System) -> None:
    flood = python("import sys", "for n in range(100000): print('line', n, 'x' * 60)", "sys.exit(3)")
    result, told = run_procedure(system, flood)
    assert told.status == 3 and len(told.output) <= 4000 and "line 99999" in told.output
    assert reason(result, "step do").endswith("x" * 60) and len(reason(result, "step do")) < 300
    assert max(map(len, (result.folder / "journal.jsonl").read_text().splitlines()[1:])) < 10_000


def test_a_procedure_that_leaves_a_service_behind_is_not_waited_for(system: System) -> None:
    child = "import time; time.sleep(20)"
    starts = python(
        "import subprocess, sys", f"subprocess.Popen([sys.executable, '-c', {child!r}])", "print('started')"
    )
    result, told = run_procedure(system, starts)
    assert told.succeeded and told.output == "started"
    length = next(f.measured for f in result.judgement.findings if f.expectation == "step do")
    assert length is not None and length.at_most < 15e9


def test_a_procedure_that_fails_half_way_or_is_not_there_fails_its_step(system: System) -> None:
    result, told = run_procedure(system, python("print('half of it')", "raise SystemExit(7)"))
    assert (told.status, told.output) == (7, "half of it")
    assert reason(result, "step do") == "do failed (exit 7): half of it"
    result, told = run_procedure(system, {"command": ["./no-such-program"]})
    assert told.output == "./no-such-program: No such file or directory"
    assert result.judgement.exit_code == errors.FAILED


def test_what_a_procedure_says_of_a_secret_is_not_written(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_TOKEN", "hunter2-hunter2")
    result, told = run_procedure(
        system, {"command": [sys.executable, "-c", "import sys; print('key', sys.argv[1])", "${env:DR_TOKEN}"]}
    )
    assert told.output == "key [secret]"
    assert all("hunter2" not in path.read_text() for path in result.folder.iterdir())


# --- broken off ----------------------------------------------------------------------------------------------------


def abort_at(step: str, under_way: Callable[[], bool]) -> Callable[[ev.Event], None]:
    """Once what the step starts is seen to be under way."""
    import os
    import signal

    def abort() -> None:
        deadline = time.monotonic() + 25
        while not under_way() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    def observe(event: ev.Event) -> None:
        if isinstance(event, ev.StepBegan) and event.step == step:
            threading.Thread(target=abort).start()

    return observe


def test_an_abort_in_the_midst_of_a_procedure_kills_it_and_mends(system: System, tmp_path: Path) -> None:
    log = tmp_path / "log"
    place = procedures(
        system,
        slow=python("import time", f"open({str(log)!r}, 'a').write('began ')", "time.sleep(30)"),
        mend=python(f"open({str(log)!r}, 'a').write('mended ')"),
    )
    path = experiment(system, [CUT, {"name": "slow", "procedure": "slow", "within": "1m"}, BACK], on_abort="mend")
    began = abort_at("slow", lambda: log.exists() and log.read_text() == "began ")
    result, events = system.run(path, place, observe=began)
    assert result.judgement.exit_code == errors.ABORTED
    assert log.read_text() == "began mended "
    assert ended(events) == {"cut": "done", "slow": "aborted"} and system.healthy
    told = names(events)
    assert told.index("fault-cleared") < max(n for n, name in enumerate(told) if name == "procedure-began")


def test_a_procedure_that_does_not_mend_is_left_behind_and_run_by_revert(system: System, tmp_path: Path) -> None:
    good, log = tmp_path / "good", tmp_path / "log"
    lines = (
        "import os, sys",
        f"open({str(log)!r}, 'a').write('x')",
        f"sys.exit(0 if os.path.exists({str(good)!r}) else 1)",
    )
    place = procedures(system, mend=python(*lines))
    path = experiment(system, [LOSS, declared("300ms")], on_abort="mend")
    result, _ = system.run(path, place)
    assert result.judgement.exit_code == errors.LEFT_BEHIND
    assert "`mend` has not mended what the steps did" in result.judgement.reasons[0]
    with pytest.raises(Refused, match="an earlier run still owes `mend`"):
        system.run(experiment(system, [LOSS, BACK]), place)
    (said,) = revert(result.folder, Registry(), "revert")
    assert said.startswith("`mend` failed")
    good.touch()
    assert revert(result.folder, Registry(), "revert") == []
    assert revert(result.folder, Registry(), "revert") == [] and log.read_text() == "xxx"
    assert judge(of(journal.read(result.folder))).exit_code == errors.FAILED
    fake.restart(system.name)


@pytest.mark.timeout(60)
def test_a_runner_killed_in_the_midst_is_ended_and_mended_by_revert(system: System, tmp_path: Path) -> None:
    """Its journal is cut where it died: a procedure goes on, and a receipt is open."""
    import subprocess

    log = tmp_path / "log"
    place = procedures(system, slow=python("pass"), mend=python(f"open({str(log)!r}, 'a').write('mended')"))
    path = experiment(system, [LOSS, {"name": "slow", "procedure": "slow"}, BACK], on_abort="mend")
    result, events = system.run(path, place)
    assert not log.exists()
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(50)"], start_new_session=True)
    from veloz_chaos.mechanisms import proc

    cut: list[ev.Event] = []
    for event in events:
        if isinstance(event, ev.ProcedureBegan):
            cut.append(event.model_copy(update={"pid": orphan.pid, "pid_start": proc.start_time(orphan.pid)}))
            break
        cut.append(event)
    (result.folder / "journal.jsonl").write_text("".join(ev.write(event) + "\n" for event in cut))
    assert revert(result.folder, Registry(), "guardian") == []
    assert orphan.wait(5) == -9
    assert log.read_text() == "mended"
    judged = judge(of(journal.read(result.folder)))
    assert judged.exit_code == errors.ABORTED
    assert judged.reasons == ("the runner died; what it had injected was taken out, and `mend` was run",)


def test_a_step_that_takes_too_long_by_far_is_a_runner_that_hangs() -> None:
    from veloz_chaos.engine import guardian
    from veloz_chaos.engine.clock import moment, now

    late = ev.StepBegan(step="x", deadline=now() - guardian.GRACE - 1, **moment())
    assert guardian._step_hangs([late])
    assert not guardian._step_hangs([late, ev.StepEnded(step="x", outcome="done", **moment())])
    assert not guardian._step_hangs([ev.StepBegan(step="x", deadline=now(), **moment())])
    assert not guardian._step_hangs([])


def test_steps_that_all_ended_owe_nothing(system: System, tmp_path: Path) -> None:
    place = procedures(system, mend=python(f"open({str(tmp_path / 'log')!r}, 'a').write('x')"))
    result, _events = system.run(experiment(system, [LOSS, BACK], on_abort="mend"), place)
    assert result.judgement.verdict == "passed" and not (tmp_path / "log").exists()
    (end,) = [event for event in journal.read(result.folder) if isinstance(event, ev.RunEnded)]
    assert end.left == []


# --- what nobody can take out --------------------------------------------------------------------------------------

WIPE: dict[str, Any] = {"name": "loss", "inject": [{"wipe": {"service": "system", "volume": "data"}}]}


def test_what_is_wiped_is_mended_by_the_procedure_and_by_nothing_else(system: System, tmp_path: Path) -> None:
    log = tmp_path / "log"
    place = procedures(system, mend=python(f"open({str(log)!r}, 'a').write('x')"))
    path = experiment(system, [WIPE, {"name": "never", "until": ["alarm"], "within": "500ms"}],
                      irreversible=True, on_abort="mend")  # fmt: skip
    result, events = system.run(path, place)
    assert verdicts(result) == {"step loss": "passed", "step never": "failed"}
    assert reason(result, "step loss") == "volume data is empty (before: 3 entries)"
    assert log.read_text() == "x" and "revert-began" not in names(events)
    fake.restart(system.name)
    log.unlink()
    result, _ = system.run(experiment(system, [WIPE], irreversible=True, on_abort="mend"), place)
    assert result.judgement.verdict == "passed" and not log.exists()


def test_that_it_is_wiped_is_on_disk_before_it_is(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that dies at once must still owe the procedure."""
    synced, fsync, on_disk = list[bytes](), os.fsync, list[bool]()

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        synced[:] = [path.read_bytes() for path in (system.folder / "runs").glob(f"*/{journal.FILE}")]

    monkeypatch.setattr(os, "fsync", noted)
    wipes = b'"event":"injection-began"'
    monkeypatch.setattr(fake.Fake, "wipe", lambda *_: on_disk.append(wipes in b"".join(synced)))
    environment = procedures(system, mend=python("pass"))
    system.run(experiment(system, [WIPE], irreversible=True, on_abort="mend"), environment)
    assert on_disk == [True]


def test_what_can_not_be_undone_wants_to_be_meant(system: System) -> None:
    with pytest.raises(InvalidFile, match="write irreversible: true, if that is meant"):
        system.run(experiment(system, [WIPE], on_abort="mend"), procedures(system, mend=python("pass")))
    with pytest.raises(InvalidFile, match="write on-abort: and the procedure that mends it"):
        system.run(experiment(system, [WIPE], irreversible=True))
    with pytest.raises(InvalidFile, match="only an experiment of `steps` may use it"):
        system.run(system.experiment({"wipe": {"service": "system", "volume": "data"}}))


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "changes", "said"),
    [
        ([LOSS, LOSS], {}, "`loss` is the name of an earlier step"),
        ([{**LOSS, "name": "fault"}], {}, "`fault` is the name of a window"),
        ([LOSS, {"name": "lift", "revert": ["loss"]}], {}, "no step before holds anything as `loss`"),
        ([CUT, {**CUT, "name": "again"}], {}, "`cut` may still hold pause on system: nobody could tell"),
        ([LOSS], {"measure": {"rto": {"from": "los", "to": "loss"}}}, "there is no step `los`; did you mean `loss`?"),
        ([LOSS, BACK], {"measure": {"rto": {"from": "back", "to": "loss"}}}, "`loss` does not come after `back`"),
        ([LOSS, BACK], {"measure": {"rpo": {"at": "loss"}}}, "what was lost is told by the orders of a workload"),
        ([LOSS, BACK], {"measure": {"rto": {"from": "loss", "at": "back"}}}, "a measure is either"),
        ([LOSS, BACK], {"measure": {"rto": {"from": "loss", "to": "back"}}, "objectives": {"rto": "31m"}},
         "the limit of full-dr is stricter (1800s)"),
        ([LOSS], {"objectives": {"rto": "1m"}}, "nothing measures `rto`"),
        ([LOSS], {"on-abort": "mend"}, "has no procedure `mend`"),
        ([{"name": "do", "procedure": "do"}], {}, "has no procedure `do`"),
        ([{"name": "ready", "check": ["helthy"]}], {}, "has no probe `helthy`; did you mean `healthy`?"),
        ([{"name": "ready", "check": ["healthy"], "within": "100ms"}], {}, "a look of healthy may take 0.5s"),
        ([{"name": "x", "wait": "1s", "within": "2s"}], {}, "a `wait` says itself how long"),
        ([{**LOSS, "drills-only": True}], {}, "only a manual step can be left to drills"),
        ([{**declared("1m"), "drills-only": True}, LOSS], {"expect": {"while": {"declare": {"always": ["healthy"]}}}},
         "only drills have the step `declare`"),
        ([LOSS, {**declared("1m"), "drills-only": True}], {"measure": {"rto": {"from": "loss", "to": "declare"}}},
         "only drills have the step `declare`"),
        ([{"name": "x", "inject": [{"pause": {"service": "system", "for": UNTIL}}]}], {},
         "a step holds a fault for a length"),
    ],
)  # fmt: skip
def test_steps_that_are_wrong_are_errors_of_the_file(
    system: System, steps: list[dict[str, Any]], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidFile) as told:
        system.run(experiment(system, steps, **changes))
    assert any(said in str(problem) for problem in told.value.problems), told.value


def test_steps_have_no_placebo(system: System) -> None:
    with pytest.raises(Refused, match="steps have no placebo"):
        system.run(experiment(system, [LOSS, BACK]), placebo=True)
