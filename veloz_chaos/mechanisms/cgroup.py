"""The control group of a process: what it may use of memory and of the CPU, what it does use, who else is in it.

Version 1 of the kernel's interface has a tree per controller, version 2 one tree for all. A limit may stand further up
than the process itself: the tightest one counts. One that holds for ourselves too is no limit of its own: whoever used
it up would starve or kill the runner.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from veloz_chaos.errors import Unavailable

MOUNT, PROC = Path("/sys/fs/cgroup"), Path("/proc")
#: A memory limit of version 1 that is larger than any machine means that there is none.
NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Memory:
    """`folder` has the limit; a process that joins `leaf` is charged to it."""

    leaf: Path
    folder: Path
    unified: bool

    @property
    def limit(self) -> int:
        """Bytes."""
        return _limit(self.folder, self.unified) or 0

    def used(self) -> int:
        """Bytes, without the file cache that the kernel can drop at once. Raises Unavailable."""
        name, idle = ("current", "inactive_file") if self.unified else ("usage_in_bytes", "total_inactive_file")
        total = int(_required(self.folder / f"memory.{name}"))
        return max(0, total - _fields(self.folder / "memory.stat").get(idle, 0))

    def oom_kills(self) -> int:
        """How many processes the kernel has killed for want of memory, where it keeps the leaf's account: in version 1
        that is where the victim was, not where the limit is; in version 2 it may be further up. Raises Unavailable."""
        name = "memory.events" if self.unified else "memory.oom_control"
        above = [folder for folder in self.leaf.parents if self.folder == folder or self.folder in folder.parents]
        file = next((file for folder in (self.leaf, *above) if (file := folder / name).exists()), self.leaf / name)
        _required(file)
        return _fields(file).get("oom_kill", 0)


@dataclass(frozen=True)
class Cpu:
    """`quota` in CPUs: 1.5 is one and a half. `folder` has it, for all that is in it or below."""

    leaf: Path
    folder: Path
    quota: float

    def members(self) -> list[int]:
        """Groups below it come and go meanwhile."""
        tops = (Path(top) for top, _, _ in os.walk(self.folder))
        return [int(pid) for top in tops for pid in _read(top / "cgroup.procs").split()]


def memory_of(pid: int, mount: Path = MOUNT, proc: Path = PROC) -> Memory | None:
    """None if no limit holds for it and not for us."""
    for leaf, unified in places(pid, "memory", mount, proc):
        found = [(limit, folder) for folder in _own(leaf, "memory", mount, proc) if (limit := _limit(folder, unified))]
        if found:
            return Memory(leaf, min(found)[1], unified)
    return None


def cpu_of(pid: int, mount: Path = MOUNT, proc: Path = PROC) -> Cpu | None:
    """None if it has no quota that is not ours too."""
    for leaf, unified in places(pid, "cpu", mount, proc):
        found = [(quota, folder) for folder in _own(leaf, "cpu", mount, proc) if (quota := _quota(folder, unified))]
        if found:
            quota, folder = min(found)
            return Cpu(leaf, folder, quota)
    return None


def _own(leaf: Path, controller: str, mount: Path, proc: Path) -> Iterator[Path]:
    """The folder and those above it that we are not in."""
    ours = {
        folder for place, _ in places("self", controller, mount, proc) for folder in _upwards(place, mount, controller)
    }
    return (folder for folder in _upwards(leaf, mount, controller) if folder not in ours)


def places(pid: int | str, controller: str, mount: Path = MOUNT, proc: Path = PROC) -> Iterator[tuple[Path, bool]]:
    """The folder of the process in the tree that has the controller, and whether that is version 2."""
    for line in _read(proc / str(pid) / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            yield mount / controller / path.lstrip("/"), False
        elif not controllers and (mount / "cgroup.controllers").exists():
            yield mount / path.lstrip("/"), True


def _upwards(leaf: Path, mount: Path, controller: str) -> Iterator[Path]:
    """Without the top of the tree, which is the machine."""
    folder = leaf
    while folder not in (mount, mount / controller) and mount in folder.parents:
        yield folder
        folder = folder.parent


def _limit(folder: Path, unified: bool) -> int | None:
    text = _read(folder / ("memory.max" if unified else "memory.limit_in_bytes")).strip()
    return int(text) if text.isdigit() and int(text) < NO_LIMIT else None


def _quota(folder: Path, unified: bool) -> float | None:
    if unified:
        quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    else:
        quota, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _required(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise Unavailable(f"{file} can't be read: {error.strerror}") from None


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _fields(file: Path) -> Mapping[str, int]:
    pairs = (line.split() for line in _read(file).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
