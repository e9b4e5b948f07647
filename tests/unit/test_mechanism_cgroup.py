"""The control group of a process, in trees of both versions that are plain folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from veloz_chaos.errors import Unavailable
from veloz_chaos.mechanisms import cgroup

PID = 4711
NONE_V1 = "9223372036854771712"


class Machine:
    """A mount and a /proc; what is written under the mount is a file of the kernel's."""

    def __init__(self, folder: Path) -> None:
        self.mount, self.proc = folder / "cgroup", folder / "proc"

    def member(self, lines: str, pid: int | str = PID) -> None:
        folder = self.proc / str(pid)
        folder.mkdir(parents=True)
        (folder / "cgroup").write_text(lines)

    def write(self, file: str, text: str) -> Path:
        path = self.mount / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
        return path.parent

    def memory(self) -> cgroup.Memory | None:
        return cgroup.memory_of(PID, self.mount, self.proc)

    def cpu(self) -> cgroup.Cpu | None:
        return cgroup.cpu_of(PID, self.mount, self.proc)


@pytest.fixture
def separate(tmp_path: Path) -> Machine:
    """Version 1."""
    machine = Machine(tmp_path)
    machine.member("9:name=systemd:/x\n4:memory:/app/gateway\n2:cpu,cpuacct:/app\n0::/\n")
    return machine


@pytest.fixture
def unified(tmp_path: Path) -> Machine:
    """Version 2."""
    machine = Machine(tmp_path)
    machine.member("0::/app/gateway\n")
    machine.write("cgroup.controllers", "cpu memory")
    return machine


def test_memory_of_version_1(separate: Machine) -> None:
    leaf = separate.write("memory/app/gateway/memory.limit_in_bytes", "100")
    separate.write("memory/app/gateway/memory.usage_in_bytes", "70")
    separate.write("memory/app/gateway/memory.stat", "inactive_file 1\ntotal_inactive_file 20")
    separate.write("memory/app/gateway/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3")
    found = separate.memory()
    assert found == cgroup.Memory(leaf, leaf, False)
    assert (found.limit, found.used(), found.oom_kills()) == (100, 50, 3)


def test_memory_of_version_2(unified: Machine) -> None:
    leaf = unified.write("app/gateway/memory.max", "100")
    unified.write("app/gateway/memory.current", "70")
    unified.write("app/gateway/memory.stat", "inactive_file 20")
    unified.write("app/gateway/memory.events", "oom 4\noom_kill 3")
    found = unified.memory()
    assert found == cgroup.Memory(leaf, leaf, True)
    assert (found.limit, found.used(), found.oom_kills()) == (100, 50, 3)


def test_a_leaf_of_version_2_without_the_controller_is_accounted_for_further_up(unified: Machine) -> None:
    above = unified.write("app/memory.max", "100")
    unified.write("app/memory.events", "oom_kill 2")
    leaf = unified.write("app/gateway/cgroup.procs", "4711")
    found = unified.memory()
    assert found == cgroup.Memory(leaf, above, True)
    assert found.oom_kills() == 2


def test_the_tightest_limit_counts_and_kills_are_counted_at_the_leaf(separate: Machine) -> None:
    above = separate.write("memory/app/memory.limit_in_bytes", "100")
    leaf = separate.write("memory/app/gateway/memory.limit_in_bytes", "200")
    separate.write("memory/app/memory.oom_control", "oom_kill 0")
    separate.write("memory/app/gateway/memory.oom_control", "oom_kill 1")
    found = separate.memory()
    assert found == cgroup.Memory(leaf, above, False)
    assert found.oom_kills() == 1


@pytest.mark.parametrize("ours", ["/app", "/app/gateway", "/app/gateway/deeper"])
def test_a_limit_that_is_ours_too_is_not_its_own(separate: Machine, ours: str) -> None:
    separate.member(f"4:memory:{ours}\n2:cpu,cpuacct:{ours}\n", "self")
    separate.write("memory/app/memory.limit_in_bytes", "100")
    separate.write("cpu/app/cpu.cfs_quota_us", "50000")
    separate.write("cpu/app/cpu.cfs_period_us", "100000")
    assert separate.memory() is None
    assert separate.cpu() is None


def test_no_limit_of_version_1(separate: Machine) -> None:
    separate.write("memory/app/gateway/memory.limit_in_bytes", NONE_V1)
    separate.write("memory/memory.limit_in_bytes", "100")  # the machine's, never a target's
    separate.write("cpu/app/cpu.cfs_quota_us", "-1")
    separate.write("cpu/app/cpu.cfs_period_us", "100000")
    assert separate.memory() is None
    assert separate.cpu() is None


def test_no_limit_of_version_2(unified: Machine) -> None:
    unified.write("app/gateway/memory.max", "max")
    unified.write("app/gateway/cpu.max", "max 100000")
    assert unified.memory() is None
    assert unified.cpu() is None


def test_quotas_of_both_versions(separate: Machine, tmp_path: Path) -> None:
    folder = separate.write("cpu/app/cpu.cfs_quota_us", "150000")
    separate.write("cpu/app/cpu.cfs_period_us", "100000")
    separate.write("cpu/app/cgroup.procs", "1\n2")
    separate.write("cpu/app/other/cgroup.procs", "3")
    found = separate.cpu()
    assert found == cgroup.Cpu(folder, folder, 1.5)
    assert sorted(found.members()) == [1, 2, 3]
    other = Machine(tmp_path / "v2")
    other.member("0::/app\n")
    other.write("cgroup.controllers", "cpu memory")
    folder = other.write("app/cpu.max", "20000 100000")
    assert other.cpu() == cgroup.Cpu(folder, folder, 0.2)


def test_a_process_that_is_gone_has_no_group(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.memory() is None
    assert machine.cpu() is None


def test_a_group_that_is_gone_cannot_be_read(tmp_path: Path) -> None:
    group = cgroup.Memory(tmp_path / "gone", tmp_path / "gone", True)
    for read in (group.used, group.oom_kills):
        with pytest.raises(Unavailable):
            read()


def test_a_group_that_goes_while_the_members_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.procs").write_text("4\n7\n")
    (tmp_path / "going").mkdir()
    scan = os.scandir

    def goes(path: Any) -> Any:
        if Path(path).name == "going":
            Path(path).rmdir()
        return scan(path)

    monkeypatch.setattr(os, "scandir", goes)
    assert cgroup.Cpu(tmp_path, tmp_path, 1.0).members() == [4, 7]
    assert not (tmp_path / "going").exists()
