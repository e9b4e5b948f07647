"""What a helper leaves when it, or everybody else, is killed; and what it never touches."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import Start
from tests.conformance.pairs import SIGN, until
from tests.conformance.rigs import LimitedRig, Rig, UnlimitedRig
from veloz_chaos.core.capability import Fillable, Pressable, Saturable
from veloz_chaos.errors import TargetError
from veloz_chaos.faults.cpu import Cpu
from veloz_chaos.faults.disk import Disk
from veloz_chaos.faults.memory import Memory
from veloz_chaos.faults.out_of_memory import OutOfMemory
from veloz_chaos.mechanisms import machine, proc, straining
from veloz_chaos.targets import process

LONG = timedelta(seconds=30)
HELD = (Cpu(), Memory(), Disk(volume="logs"))

#: Injects in a process of its own, which is then killed.
RUNNER = """
import json, sys
from veloz_chaos.core.capability import Reference
from veloz_chaos.registry import Registry
reference, name, arguments, receipt = json.loads(sys.argv[1])
fault = Registry().fault(name)(**arguments)
fault.inject(Registry().backend("process").reopen(Reference(**reference)), receipt)
print("injected", flush=True)
sys.stdin.read()
"""


def eventually(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_a_helper_starts_as_it_is_ended_is_ended_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """It forks one that waits for its death, to unlink the file."""
    rig, helpers, send = start(UnlimitedRig), list[int](), proc.send
    target = rig.target()
    assert isinstance(target, Fillable)
    while len(helpers) != 1:  # it was quicker than we
        target.empty(SIGN, "logs")
        target.fill(SIGN, "logs", 64_000, LONG)
        os.kill(min(straining.find(SIGN)), signal.SIGSTOP)
        helpers = straining.find(SIGN)

    def late(pid: int, *words: Any) -> None:
        if pid == helpers[0]:
            os.kill(pid, signal.SIGCONT)
            eventually(lambda: len(straining.find(SIGN)) == 2)
            (other,) = set(straining.find(SIGN)) - {pid}
            os.kill(other, signal.SIGSTOP)  # so slow
        send(pid, *words)

    monkeypatch.setattr(proc, "send", late)
    target.empty(SIGN, "logs")
    assert rig.traces() == []


@pytest.mark.parametrize("rig", [LimitedRig, UnlimitedRig])
@pytest.mark.parametrize("fault", HELD, ids=["cpu", "memory", "disk"])
def test_the_runner_is_killed_and_the_helper_ends_by_itself(
    rig: type[Rig], fault: Cpu | Memory | Disk, start: Start
) -> None:
    running = start(rig)
    target = running.target()
    receipt = {**fault.prepare(target, SIGN), "expires": 12.0}  # type: ignore[arg-type]
    arguments = {"volume": "logs"} if isinstance(fault, Disk) else {}
    text = json.dumps([target.reference.model_dump(), type(fault).__name__.lower(), arguments, receipt])
    command = [sys.executable, "-c", RUNNER, text]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as runner:
        assert runner.stdout
        assert runner.stdout.readline() == b"injected\n"
        until(fault, target, receipt, shown=True)
        runner.kill()
    eventually(lambda: not target.leftovers())
    assert running.traces() == []
    until(fault, target, receipt, shown=False)


@pytest.mark.parametrize("rig", [LimitedRig, UnlimitedRig])
def test_a_full_volume_is_free_again_when_the_filler_is_killed(rig: type[Rig], start: Start) -> None:
    target = start(rig).target()
    assert isinstance(target, Fillable)
    before = target.room(SIGN, "logs").free
    target.fill(SIGN, "logs", 0, LONG)
    eventually(lambda: target.room(SIGN, "logs").free < 5000)
    os.kill(min(straining.find(SIGN)), 9)
    eventually(lambda: target.room(SIGN, "logs").free == before)


def test_a_file_that_even_that_leaves_is_told_and_removed(start: Start) -> None:
    rig = start(UnlimitedRig)
    assert isinstance(rig, UnlimitedRig)
    target = rig.target()
    assert isinstance(target, Fillable)
    (rig.volume / f".{SIGN}").write_bytes(b"x" * 1000)
    assert f"rm {rig.volume}/.{SIGN}" in target.leftovers()[0]
    rig.remove()
    target.empty(SIGN, "logs")
    assert list(rig.volume.iterdir()) == []


def test_a_directory_of_declared_size_counts_what_is_below_it(start: Start) -> None:
    rig = start(UnlimitedRig)
    assert isinstance(rig, UnlimitedRig)
    target = rig.target()
    assert isinstance(target, Fillable)
    (rig.volume / "old").mkdir()
    (rig.volume / "old" / "log").write_bytes(b"x" * 300_000)
    assert target.room(SIGN, "logs").free == 700_000


@pytest.mark.parametrize("end", ["kill", "by hand"])
def test_a_lowered_limit_is_raised_again_however_the_helper_ends(end: str, start: Start) -> None:
    rig = start(UnlimitedRig)
    assert isinstance(rig, UnlimitedRig)
    target = rig.target()
    assert isinstance(target, Pressable)
    before = resource.prlimit(rig.child.pid, resource.RLIMIT_AS)
    target.press(SIGN, 0.9, LONG)
    eventually(lambda: resource.prlimit(rig.child.pid, resource.RLIMIT_AS) != before)
    if end == "kill":
        os.kill(min(straining.find(SIGN)), 9)
    else:
        subprocess.run(target.by_hand("Pressable", SIGN), shell=True, check=True)
    eventually(lambda: resource.prlimit(rig.child.pid, resource.RLIMIT_AS) == before)
    eventually(lambda: not straining.find(SIGN))


def test_a_limit_beyond_what_the_machine_can_spare_is_not_used_up(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = start(LimitedRig)
    offers = {offer.capability: offer.emulated for offer in rig.target().offered()}
    assert offers["Exhaustible"] is offers["Pressable"] is False
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 200000 kB\nMemAvailable: 50000 kB\n")
    monkeypatch.setattr(machine, "MEMINFO", meminfo)
    offers = {offer.capability: offer.emulated for offer in rig.target().offered()}
    assert offers["Exhaustible"] is offers["Pressable"] is True


GROWING = """
import time
held = []
print("ready", flush=True)
while True:
    held.append(bytearray(1 << 18))
    time.sleep(0.02)
"""


def test_a_lowered_limit_does_not_give_way_to_a_target_that_grows(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", GROWING], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stderr
        child.stdout.readline()
        target = _of(child, tmp_path)
        target.press(SIGN, 0.9, LONG)
        assert child.wait(60) == 1
        assert b"MemoryError" in child.stderr.read()


def _of(child: subprocess.Popen[bytes], folder: Path, **volumes: process.OwnVolume) -> process.Process:
    (folder / "pid").write_text(str(child.pid))
    return process.find("child", process.Selector(pidfile=str(folder / "pid"), volumes=volumes))[0]


def test_a_helper_that_is_stopped_at_once_leaves_no_burner(start: Start) -> None:
    target = start(UnlimitedRig).target()
    assert isinstance(target, Saturable)
    for number in range(20):
        target.saturate(f"{SIGN}-{number}", 1.0, LONG)
        target.unsaturate(f"{SIGN}-{number}")
    eventually(lambda: not target.leftovers())


def test_only_our_own_children_are_reaped() -> None:
    with subprocess.Popen(["false"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        straining.stop(SIGN)
        assert child.wait() == 1


@pytest.mark.parametrize("path", ["/", "/dev/shm"])
def test_what_is_the_machines_is_never_filled(path: str, start: Start, tmp_path: Path) -> None:
    rig = start(UnlimitedRig)
    assert isinstance(rig, UnlimitedRig)
    target = _of(rig.child, tmp_path, it=process.OwnVolume(path=path))
    with pytest.raises(TargetError, match="never filled"):  # only asked: were it not refused, filling it would hurt
        target.room(SIGN, "it")


class NestedRig(LimitedRig):
    """The limit is the parent's group; version 1 counts the kill where the victim is, version 2 only where it has the
    limit: nobody has told it to account for the leaf apart."""

    def _group(self, parent: Path, limits: Mapping[str, str]) -> Path:
        leaf = super()._group(parent, limits) / "leaf"
        leaf.mkdir()
        self.stack.callback(self._remove, leaf)
        return leaf


def test_an_oom_kill_by_a_limit_further_up_is_counted(start: Start) -> None:
    target, fault = start(NestedRig).target(), OutOfMemory(ramp=timedelta(milliseconds=200))
    receipt = fault.prepare(target, SIGN)  # type: ignore[arg-type]
    fault.inject(target, receipt)  # type: ignore[arg-type]
    assert until(fault, target, receipt, shown=True)
