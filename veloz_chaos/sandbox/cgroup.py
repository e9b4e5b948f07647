"""The gateway's control group: what it may use of memory and of a CPU, where we may make such groups.

Version 1 of the kernel's interface has a tree per controller, version 2 one tree for all; `find` says which is here.
The group is `<sandbox's name>/gateway`; `remove` takes the whole of it away, with whatever still runs in it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

MOUNT = Path("/sys/fs/cgroup")
MEMBER = "gateway"
#: Microseconds: the kernel gives out the CPU in rounds of this length.
PERIOD = 100_000
#: A limit of version 1 that is larger than any machine means that there is none.
NO_LIMIT = 1 << 60
#: Joins the groups whose `cgroup.procs` come before `--`, then becomes the command behind it, under the same pid.
LAUNCHER = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done; shift; exec "$@"'
_EMPTY_WITHIN = 2.0


class Usage(NamedTuple):
    """Bytes; what the kernel can drop at once (file cache that nobody used lately) is not counted."""

    used: int
    limit: int


class Demand(NamedTuple):
    """CPU seconds that its processes ran, or would have run on some CPU but for the limit; and the limit, in CPUs."""

    seconds: float
    limit: float


class Group(ABC):
    """The group of one sandbox's gateway. Nothing is read or written before a method is called."""

    #: The sandbox's folders, one per tree; the gateway's are within.
    tops: tuple[Path, ...]
    memory: Path
    cpu: Path

    @abstractmethod
    def create(self, memory: int, cpu: float) -> None:
        """Make it, with a limit in bytes and a share of one CPU. Raises OSError where we may not."""

    @abstractmethod
    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory."""

    @abstractmethod
    def usage(self) -> Usage | None:
        """None: no such group, or it has no limit."""

    @abstractmethod
    def demand(self) -> Demand | None:
        """None: no such group, or it has no limit."""

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(top / MEMBER for top in self.tops)

    def launched(self, command: Iterable[str]) -> list[str]:
        """The command, run so that it is inside from its first instruction."""
        joins = [str(folder / "cgroup.procs") for folder in self.folders]
        return ["/bin/sh", "-c", LAUNCHER, "sh", *joins, "--", *command]

    def members(self) -> set[int]:
        return {int(pid) for folder in self.folders for pid in _read(folder / "cgroup.procs").split()}

    def remove(self) -> None:
        """Safe twice, and where it was never made. What still runs in it (a fault's helper) is killed, as with any
        container that goes."""
        deadline = time.monotonic() + _EMPTY_WITHIN
        while (members := self.members()) and time.monotonic() < deadline:
            for pid in members:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        for folder in (*self.folders, *self.tops):
            with contextlib.suppress(OSError):
                folder.rmdir()


class SeparateTrees(Group):
    """Version 1: the controllers `memory` and `cpu`, each with a tree of its own."""

    def __init__(self, mount: Path, name: str) -> None:
        self.tops = (mount / "memory" / name, mount / "cpu" / name)
        self.memory, self.cpu = self.folders

    def create(self, memory: int, cpu: float) -> None:
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)
        (self.memory / "memory.limit_in_bytes").write_text(str(memory))
        swap = self.memory / "memory.memsw.limit_in_bytes"
        if swap.exists():
            swap.write_text(str(memory))
        (self.cpu / "cpu.cfs_period_us").write_text(str(PERIOD))
        (self.cpu / "cpu.cfs_quota_us").write_text(str(round(cpu * PERIOD)))

    def oom_kills(self) -> int:
        return _fields(self.memory / "memory.oom_control").get("oom_kill", 0)

    def usage(self) -> Usage | None:
        used, limit = (_read(self.memory / f"memory.{name}_in_bytes").strip() for name in ("usage", "limit"))
        if not used or not limit or int(limit) >= NO_LIMIT:
            return None
        idle = _fields(self.memory / "memory.stat").get("total_inactive_file", 0)
        return Usage(max(int(used) - idle, 0), int(limit))

    def demand(self) -> Demand | None:
        ran = _read(self.cpu / "cpuacct.usage") or _read(self.cpu.parent / "cpuacct" / "cpuacct.usage")
        quota, period = (_read(self.cpu / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
        if not ran or not period or int(quota) <= 0:
            return None
        held = _fields(self.cpu / "cpu.stat").get("throttled_time", 0)
        return Demand((int(ran) + held) / 1e9, int(quota) / int(period))


class OneTree(Group):
    """Version 2: a controller must be enabled in every folder above the one that uses it."""

    def __init__(self, mount: Path, name: str) -> None:
        self._mount = mount
        self.tops = (mount / name,)
        (self.memory,) = (self.cpu,) = self.folders

    def create(self, memory: int, cpu: float) -> None:
        (top,) = self.tops
        _enable(self._mount)
        top.mkdir(exist_ok=True)
        _enable(top)
        self.memory.mkdir(exist_ok=True)
        (self.memory / "memory.max").write_text(str(memory))
        swap = self.memory / "memory.swap.max"
        if swap.exists():
            swap.write_text("0")
        (self.memory / "cpu.max").write_text(f"{round(cpu * PERIOD)} {PERIOD}")

    def oom_kills(self) -> int:
        return _fields(self.memory / "memory.events").get("oom_kill", 0)

    def usage(self) -> Usage | None:
        used, limit = (_read(self.memory / f"memory.{name}").strip() for name in ("current", "max"))
        if not used or not limit or limit == "max":
            return None
        idle = _fields(self.memory / "memory.stat").get("inactive_file", 0)
        return Usage(max(int(used) - idle, 0), int(limit))

    def demand(self) -> Demand | None:
        quota, _, period = _read(self.cpu / "cpu.max").strip().partition(" ")
        if not period or quota == "max":
            return None
        times = _fields(self.cpu / "cpu.stat")
        return Demand((times.get("usage_usec", 0) + times.get("throttled_usec", 0)) / 1e6, int(quota) / int(period))


def find(name: str, mount: Path = MOUNT) -> Group | None:
    """The group of the sandbox of that name, made or not; None where the kernel offers no limits at all."""
    if (mount / "memory" / "memory.limit_in_bytes").exists() and (mount / "cpu" / "cgroup.procs").exists():
        return SeparateTrees(mount, name)
    if {"cpu", "memory"} <= set(_read(mount / "cgroup.controllers").split()):
        return OneTree(mount, name)
    return None


def around(mount: Path = MOUNT) -> Group | None:
    """The group of the container that we are in: within, its folders are the kernel's topmost ones."""
    group = find("", mount)
    if group:
        apart = isinstance(group, SeparateTrees)
        group.memory, group.cpu = (mount / "memory", mount / "cpu") if apart else (mount, mount)
    return group


def _enable(folder: Path) -> None:
    control = folder / "cgroup.subtree_control"
    if not {"cpu", "memory"} <= set(_read(control).split()):
        control.write_text("+cpu +memory")


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _fields(file: Path) -> Mapping[str, int]:
    pairs = (line.split() for line in _read(file).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
