"""Runs that are interrupted, killed or starved, on the real sandbox: nothing of theirs stays."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from veloz_chaos.core import event as ev
from veloz_chaos.engine import journal
from veloz_chaos.sandbox import control
from veloz_chaos.sandbox.control import Sandbox

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]
ROOT = Path(__file__).parent.parent.parent
PRODUCT = [sys.executable, "-m", "veloz_chaos"]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Sandbox]:
    base = ROOT / "environments" / "sandbox.yaml"
    yield control.up(tmp_path / "sandbox", free_ports=True, base=base)
    control.down(tmp_path / "sandbox")


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A latency that is held for a minute if nobody ends it, and not refused by a slow machine."""
    data = yaml.safe_load((ROOT / "experiments" / "network-latency.yaml").read_text())
    data |= {"baseline": "500ms", "steady-state": ["orders-served"]}
    del data["expect"]["detection"]
    data["fault"]["latency"]["for"] = "60s"
    path = tmp_path / "long.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def toxics(stack: Sandbox) -> list[str]:
    with urllib.request.urlopen(f"{stack.url('links')}/proxies", timeout=5) as answer:
        return [toxic["name"] for proxy in json.load(answer).values() for toxic in proxy["toxics"]]


def until(holds: Callable[[], object], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def start(stack: Sandbox, experiment: Path, *options: str, limit: int | None = None) -> subprocess.Popen[str]:
    """A run in a process of its own, quiet if no options are given. `limit`: no file may grow beyond so many bytes, as
    on a full disk."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    runs = stack.directory.parent / "runs"
    command = [*PRODUCT, "run", str(experiment), "-e", str(stack.environment), "--runs", str(runs)]
    command += options or ("--json", "-q")
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=prepare
    )


def folder(stack: Sandbox) -> Path:
    (found,) = (stack.directory.parent / "runs").glob("*")
    return found


def call(stack: Sandbox, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*PRODUCT, *arguments, "--runs", str(stack.directory.parent / "runs")]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_takes_the_fault_out_and_ends_as_aborted(
    stack: Sandbox, experiment: Path, number: signal.Signals
) -> None:
    run = start(stack, experiment)
    until(lambda: toxics(stack))
    run.send_signal(number)
    time_of_second = time.monotonic() + 0.1
    until(lambda: time.monotonic() > time_of_second)
    run.send_signal(number)  # a second one changes nothing
    output, _ = run.communicate(timeout=60)
    assert toxics(stack) == []
    assert run.returncode == 5
    document = json.loads(output)["runs"][0]
    assert document["verdict"] == "aborted"
    assert number.name in document["reasons"][0]


def test_a_run_that_has_ended_keeps_its_verdict(stack: Sandbox) -> None:
    """From its last line to the exit of the process, with a signal every few milliseconds."""
    run = start(stack, ROOT / "experiments" / "engine-crash.yaml", "--repeat", "1")
    assert run.stderr is not None
    assert any(line.endswith("completed\n") for line in run.stderr)
    pester(run)
    output, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (0, "")
    assert "PASSED engine-crash on sandbox" in output
    assert str(folder(stack)) in output.splitlines()[-1]


def test_a_signal_after_the_first_of_two_runs_ends_the_second_alone(stack: Sandbox) -> None:
    run = start(stack, ROOT / "experiments" / "engine-crash.yaml", "--repeat", "2")
    assert run.stderr is not None
    assert any(line.endswith("completed\n") for line in run.stderr)
    run.send_signal(signal.SIGINT)
    output, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (5, "interrupted\n")
    assert "PASSED engine-crash on sandbox" in output
    assert "1 passed, 1 not run" in output
    assert folder(stack).is_dir()


def pester(run: subprocess.Popen[str]) -> None:
    """SIGINT, SIGTERM and SIGHUP in turn, until it is gone."""
    numbers = itertools.cycle([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    deadline = time.monotonic() + 60
    while run.poll() is None and time.monotonic() < deadline:
        run.send_signal(next(numbers))
        with suppress(subprocess.TimeoutExpired):
            run.wait(0.002)


def test_abort_from_elsewhere_reverts_first(stack: Sandbox, experiment: Path) -> None:
    run = start(stack, experiment)
    until(lambda: toxics(stack))
    answer = call(stack, "abort", folder(stack).name)
    assert toxics(stack) == []
    run.communicate(timeout=60)
    assert run.returncode == 5
    assert answer.returncode == 0, answer.stderr


def test_a_killed_runner_is_cleaned_up_after_by_its_guardian(stack: Sandbox, experiment: Path) -> None:
    run = start(stack, experiment)
    until(lambda: toxics(stack))
    run.kill()
    run.communicate()
    until(lambda: not toxics(stack))
    until(lambda: journal.finished(folder(stack)))
    events = journal.read(folder(stack))
    assert isinstance(events[-1], ev.RunEnded)
    assert (events[-1].cause, events[-1].by, events[-1].left) == ("interrupted", "guardian", [])
    assert call(stack, "judge", folder(stack).name).returncode == 5


def test_a_sandbox_that_a_run_started_for_itself_ends_after_it(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [*PRODUCT, "run", "engine-crash", "--runs", str(tmp_path / "runs"), "-q"]
    run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    until(lambda: list(tmp_path.glob("runs/*/journal.jsonl")))
    assert list(tmp_path.glob("veloz-chaos-sandbox-*"))
    run.kill()
    run.wait()
    until(lambda: not list(tmp_path.glob("veloz-chaos-sandbox-*")))
    search = ["pgrep", "-f", f"veloz_chaos.sandbox.*{tmp_path}"]
    until(lambda: subprocess.run(search, stdout=subprocess.DEVNULL, check=False).returncode == 1)


def test_what_nobody_could_take_out_refuses_the_next_run_until_revert(stack: Sandbox, experiment: Path) -> None:
    run = start(stack, experiment)
    until(lambda: toxics(stack))
    guardian = next(e for e in journal.read(folder(stack)) if isinstance(e, ev.GuardianStarted))
    os.kill(run.pid, signal.SIGSTOP)  # so that it can't notice what happens to its guardian
    os.kill(guardian.pid, signal.SIGKILL)
    run.kill()
    run.communicate()
    assert toxics(stack)

    second = start(stack, experiment)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 4
    assert f"veloz-chaos revert {folder(stack)}" in output

    reverted = call(stack, "revert")
    assert reverted.returncode == 0, reverted.stderr
    assert toxics(stack) == []
    assert call(stack, "revert").returncode == 0, "safe twice"


def test_a_runner_without_its_guardian_takes_the_fault_out_and_stops(stack: Sandbox, experiment: Path) -> None:
    run = start(stack, experiment)
    until(lambda: toxics(stack))
    guardian = next(e for e in journal.read(folder(stack)) if isinstance(e, ev.GuardianStarted))
    os.kill(guardian.pid, signal.SIGKILL)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 5
    assert "guardian died" in output
    assert toxics(stack) == []


def test_a_runner_that_hangs_is_ended_by_a_guardian(stack: Sandbox, experiment: Path) -> None:
    """A guardian whose journal says that the fault has outlived its expiry, while the runner stands still."""
    run = start(stack, experiment)
    until(lambda: toxics(stack))
    first = next(e for e in journal.read(folder(stack)) if isinstance(e, ev.GuardianStarted))
    os.kill(run.pid, signal.SIGSTOP)
    os.kill(first.pid, signal.SIGKILL)
    path = folder(stack) / journal.FILE
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(_expired(line) if b'"fault-prepared"' in line else line for line in lines))
    command = [*PRODUCT, "_guardian", str(folder(stack))]
    guardian = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until(lambda: not toxics(stack))
    run.communicate(timeout=60)
    assert run.returncode == -signal.SIGKILL
    guardian.communicate(timeout=60)
    assert guardian.returncode == 0
    assert journal.finished(folder(stack))


def _expired(line: bytes) -> bytes:
    data = json.loads(line)
    data["expires"] = data["at"]
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def test_a_full_disk_ends_the_run_and_leaves_nothing(stack: Sandbox, experiment: Path) -> None:
    data = yaml.safe_load(experiment.read_text())
    del data["workload"], data["expect"]["impact"], data["expect"]["orders"]  # whose own file may be full before
    experiment.write_text(yaml.safe_dump(data))
    run = start(stack, experiment, limit=60_000)
    output, errors = run.communicate(timeout=90)
    assert toxics(stack) == []
    assert run.returncode == 5, errors
    assert "journal can't be written" in output


def test_a_target_that_is_not_there_is_named_and_nothing_starts(stack: Sandbox, tmp_path: Path) -> None:
    (stack.directory / "engine.pid").write_text("999999\n")
    run = start(stack, ROOT / "experiments" / "engine-crash.yaml")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 4
    assert "engine.pid" in output
    assert not (tmp_path / "runs").exists()
