"""The gateway's limits, real and emulated: OOM kills are told, a full volume stops no log, nothing is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.infra import require
from tests.sandbox.conftest import Start
from tests.sandbox.hurt import Filler, cgroups, filling, group_of, lower_limit
from tests.sandbox.stack import Stack, let_pass, processes_of, until
from veloz_chaos.sandbox import cgroup, control, limits, volume

pytestmark = pytest.mark.sandbox


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        require.absent("root", "limits of the kernel's are for root to set")
    if not any(os.access(tree, os.W_OK) for tree in (cgroup.MOUNT / "memory", cgroup.MOUNT / "cgroup.procs")):
        require.absent("root", "no control group can be made here")


@pytest.fixture(params=["real", "emulated"])
def emulated(request: pytest.FixtureRequest) -> bool:
    if request.param == "real":
        request.getfixturevalue("root")
    return bool(request.param == "emulated")


def health(stack: Stack, part: str) -> str:
    answer = stack.gateway("/health", seconds=1)
    return str(answer.json[part]["status"]) if answer.status == 200 else ""


@pytest.mark.usefixtures("root")
def test_a_real_oom_kill_is_told(stack: Stack) -> None:
    assert cgroups(stack)
    gateway = stack.pid("gateway")
    with filling(stack, limits.MEMORY >> 20):
        until(lambda: stack.service("gateway")["last_exit"] == "oom-killed")
    until(stack.healthy)
    assert stack.pid("gateway") != gateway and stack.service("gateway")["restarts"] == 1
    killed, exited = stack.truth("supervisor", "oom")[0], stack.truth("supervisor", "exited")[0]
    assert killed["pid"] == exited["pid"] == gateway and exited["signal"] == signal.SIGKILL
    assert stack.truth("gateway", "memory-status")[0]["at"] < killed["at"]
    before_it, _, after_it = stack.log().rpartition("serving, ")
    assert "WARNING memory usage 8" in before_it and "of 160 MB" in before_it and "WARNING" not in after_it
    stack.kill("gateway", signal.SIGKILL)
    until(lambda: stack.service("gateway")["last_exit"] == "killed")


@pytest.mark.usefixtures("root")
def test_memory_pressure_is_told_and_passes(stack: Stack) -> None:
    assert stack.gateway("/health").json["memory"] == {"status": "ok", "used_share": pytest.approx(0.3, abs=0.29)}
    with filling(stack, int(0.7 * limits.MEMORY) >> 20):
        until(lambda: health(stack, "memory") == "pressure")
        assert stack.gateway("/health").json["status"] == "degraded" and stack.order("under-pressure").json["ok"]
        until(lambda: "WARNING memory usage 8" in stack.log())
    until(stack.healthy)
    assert [event["status"] for event in stack.truth("gateway", "memory-status")] == ["pressure", "ok"]
    assert stack.service("gateway")["restarts"] == 0


@pytest.mark.usefixtures("root")
def test_the_cpu_quota_holds_for_all_in_the_group(stack: Stack) -> None:
    group = group_of(stack)
    assert stack.pid("gateway") in group.members()
    group.create(limits.MEMORY, 0.2)  # of a CPU: so much is to be had on a busy machine too
    busy = [subprocess.Popen(group.launched([sys.executable, "-c", "while True: pass"]))]
    try:
        until(lambda: throttled(group) > 3)
        assert stack.order("while-busy").json["ok"]
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert stack.service("gateway")["restarts"] == 0


def throttled(group: cgroup.Group) -> int:
    text = (group.folders[-1] / "cpu.stat").read_text()
    return int(text.split("nr_throttled ")[1].split()[0])


def test_without_root_one_cpu_and_an_emulated_oom_kill(start: Start) -> None:
    stack = start(emulated=True)
    gateway = stack.pid("gateway")
    assert not cgroups(stack)
    until(lambda: len(os.sched_getaffinity(gateway)) == 1)
    assert stack.gateway("/health").json["memory"] == {"status": "ok", "used_share": None}
    lower_limit(gateway, 0.9)
    until(lambda: health(stack, "memory") == "pressure")
    until(lambda: "WARNING memory usage 9" in stack.log())
    lower_limit(gateway, 1.1)
    until(lambda: stack.service("gateway")["last_exit"] == "oom-killed")
    until(stack.healthy)
    assert stack.truth("supervisor", "oom")[0]["pid"] == gateway
    stack.kill("gateway", signal.SIGKILL)
    until(lambda: stack.service("gateway")["last_exit"] == "killed")


def removed(stack: Stack) -> list[str]:
    return [event["file"] for event in stack.truth("gateway", "log-removed")]


def lines_come(stack: Stack, within: float = 10.0) -> bool:
    """Whether the gateway logs something new; ten times a second it does."""
    before, deadline = stack.log(), time.monotonic() + within
    while time.monotonic() < deadline:
        if stack.log() not in ("", before):
            return True
        let_pass(0.05)
    return False


def test_a_full_volume_stops_no_log(start: Start, emulated: bool) -> None:
    stack = start(emulated=emulated)
    filler = Filler(stack)
    until(lambda: filler.fill() and health(stack, "disk") == "full")
    assert stack.gateway("/health").json["status"] == "degraded" and lines_come(stack)
    until(lambda: filler.fill() and stack.order(f"fill-{time.monotonic_ns()}") and len(removed(stack)) == 3)
    assert removed(stack) == [f"{volume.LOG}.{number}" for number in (3, 2, 1)]
    until(lambda: filler.fill() and stack.order(f"fill-{time.monotonic_ns()}") and "serving, " not in stack.log())
    assert lines_come(stack) and stack.order("while-full").json["ok"]
    filler.file.unlink()
    until(stack.healthy)
    statuses = [event["status"] for event in stack.truth("gateway", "disk-status")]
    assert statuses[0] == "full" and statuses[-1] == "ok" and "log volume is ok" in stack.log()
    assert stack.service("gateway")["restarts"] == 0


def test_without_rotation_a_full_volume_stops_the_log(start: Start, emulated: bool) -> None:
    stack = start("no-log-rotation", emulated=emulated)
    filler = Filler(stack)
    until(lambda: filler.fill() and not lines_come(stack, 3.0))
    assert stack.order("while-full").json["ok"] and health(stack, "disk") == "full"
    assert time.time() - (stack.volume / volume.LOG).stat().st_mtime > 2
    names = sorted(file.name for file in stack.volume.glob(f"{volume.LOG}*"))
    assert names == [volume.LOG, *(f"{volume.LOG}.{number}" for number in (1, 2, 3))]
    filler.file.unlink()
    until(lambda: lines_come(stack) and health(stack, "disk") == "ok")


def left_of(group: cgroup.Group) -> list[Path]:
    return [folder for folder in (*group.tops, *group.folders) if folder.exists()]


@pytest.mark.usefixtures("root")
def test_nothing_is_left(stack: Stack) -> None:
    """Neither of what a fault's helper holds in the group: it goes with the group."""
    group = group_of(stack)
    assert str(stack.directory) not in Path("/proc/mounts").read_text()
    mounts = Path(f"/proc/{stack.pid('gateway')}/mounts").read_text()
    assert f"{stack.directory / volume.NAME} tmpfs" in mounts and left_of(group)
    with subprocess.Popen(group.launched(["sleep", "600"])) as helper:
        control.down(stack.directory)
        assert helper.wait(30) == -signal.SIGKILL
    assert not left_of(group) and not stack.directory.exists()


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("again", [True, False])
def test_nothing_is_left_of_one_whose_supervisor_was_killed(start: Start, again: bool) -> None:
    stack = start()
    group = group_of(stack)
    stack.kill("supervisor", signal.SIGKILL)
    until(lambda: not processes_of(stack.directory))
    assert left_of(group)
    if again:
        assert left_of(group_of(start()))
    else:
        control.down(stack.directory)
    assert not left_of(group)


@pytest.mark.usefixtures("root")
def test_a_root_that_may_not_mount_has_an_emulated_volume(start: Start) -> None:
    """As in a container: uid 0, and no capability."""
    if not shutil.which("setpriv"):
        require.absent("root", "no setpriv to give up the capabilities with")
    stack = start()
    control.down(stack.directory)
    up = (sys.executable, "-m", "veloz_chaos", "sandbox", "up", "--free-ports", "--dir", str(stack.directory))
    subprocess.run(["setpriv", "--bounding-set=-all", "--inh-caps=-all", *up], check=True, capture_output=True)
    found = control.find(stack.directory)
    assert found and Stack(found).healthy()
    assert Stack(found).volume == stack.directory / volume.NAME and "INFO alive" in Stack(found).log()
