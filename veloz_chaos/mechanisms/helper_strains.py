"""What a helper container uses up of its target: CPU, memory, volumes, each inside the target's own allowance."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from veloz_chaos.core.capability import CpuUse, Room, Use
from veloz_chaos.core.capability import Reference as Named
from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms import cgroup, proc, straining
from veloz_chaos.mechanisms.helper import Here
from veloz_chaos.mechanisms.strained import Strained, Volume


class Inside(Strained):
    """A process of a container. Nothing is emulated: what has no limit of its own is not strained."""

    def __init__(self, pid: int, start: int, volumes: Mapping[str, str]) -> None:
        super().__init__(Named(backend="helper", name=str(pid), identity={}))
        self.pid, self.start = pid, start
        self.volumes = {name: Volume(path) for name, path in volumes.items()}

    def alive(self) -> bool:
        return proc.alive(self.pid, self.start)

    def require_memory(self) -> None:
        self._require_alive()
        if self._memory is None:
            raise TargetError(
                "it has no memory limit of its own that this machine has the memory for; write mem_limit: 256m (or "
                "deploy.resources.limits.memory) for its service"
            )

    def require_cpu(self) -> None:
        self._require_alive()
        if self._cpu is None and not self._own_cpus:
            raise TargetError("it has no CPU limit of its own; write cpus: 1.0 (or cpuset) for its service")

    def _start(self, sign: str, expires: timedelta, kind: str, given: dict[str, Any]) -> None:
        """What fills a volume in memory is charged to the machine: within the helper's own limit it would be killed."""
        if kind == "volume":
            given = {**given, "join": [str(place) for place in _tops() if os.access(place / "cgroup.procs", os.W_OK)]}
        super()._start(sign, expires, kind, given)

    def _refuse_shared(self, name: str, folder: Path) -> None:
        super()._refuse_shared(name, folder)
        if self._is_part(folder):
            raise TargetError(
                f"volume `{name}` ({self.volumes[name].path}) is a folder of a file system that others use too, which "
                "is never filled; give it one of its own: tmpfs with a size, or a volume whose driver_opts say one"
            )

    def _is_part(self, folder: Path) -> bool:
        """Is only a part of the file system mounted there, or is it one that the daemon's host itself stands on?"""
        device = folder.stat().st_dev
        if device in _hosts():
            return True
        wanted = f"{os.major(device)}:{os.minor(device)}"
        lines = [line.split() for line in self._mounts.splitlines()]
        return any(line[3] != "/" for line in lines if line[2] == wanted)

    @cached_property
    def _mounts(self) -> str:
        return Path(f"/proc/{self.pid}/mountinfo").read_text()


def _hosts() -> set[int]:
    """The devices of the host's root, where we may look, and of the Engine's data, which is below our /etc/hostname."""
    found = set()
    for path in ("/proc/1/root/", "/etc/hostname", "/etc/resolv.conf"):
        with suppress(OSError):
            found.add(os.stat(path).st_dev)  # noqa: PTH116
    return found


def _tops() -> list[Path]:
    """The group of the whole machine in the tree that has the memory controller."""
    unified = (cgroup.MOUNT / "cgroup.controllers").exists()
    return [cgroup.MOUNT if unified else cgroup.MOUNT / "memory"]


def saturate(here: Here, load: float, expires: float, pid: int | None = None, start: int | None = None) -> None:
    inside = _with_cpu(here, pid, start)
    _hold(here, "cpu", "its CPU is used up", expires)
    inside.saturate(here.sign, load, timedelta(seconds=expires))


def cpu_use(here: Here, pid: int | None = None, start: int | None = None) -> CpuUse:
    return _with_cpu(here, pid, start).cpu_use(here.sign)


def press(here: Here, upto: float, expires: float, pid: int | None = None, start: int | None = None) -> None:
    inside = _with_memory(here, pid, start)
    _hold(here, "memory", "its memory is used up", expires)
    inside.press(here.sign, upto, timedelta(seconds=expires))


def memory_use(here: Here, pid: int | None = None, start: int | None = None) -> Use:
    return _with_memory(here, pid, start).memory_use()


def exhaust(here: Here, over: float, expires: float, pid: int | None = None, start: int | None = None) -> None:
    inside = _with_memory(here, pid, start)
    _hold(here, "memory", "its memory is used up until the kernel kills", expires)
    inside.exhaust(here.sign, timedelta(seconds=over), timedelta(seconds=expires))


def oom_kills(here: Here, pid: int | None = None, start: int | None = None) -> int | None:  # noqa: ARG001
    """The kernel's count for the container; None if it has no memory limit of its own."""
    return here.oom_kills()


def fill(
    here: Here, volume: str, path: str, free: int, expires: float, pid: int | None = None, start: int | None = None
) -> None:
    inside = Inside(*here.which(pid, start), {volume: path})
    inside.room(here.sign, volume)  # refuses what may not be filled
    _hold(here, f"volume {volume}", f"its volume {volume} is filled", expires)
    inside.fill(here.sign, volume, free, timedelta(seconds=expires))


def room(here: Here, volume: str, path: str, pid: int | None = None, start: int | None = None) -> Room:
    return Inside(*here.which(pid, start), {volume: path}).room(here.sign, volume)


def relieve(here: Here) -> None:
    """Ends what carries our sign, also where another helper began it."""
    for key in [key for key in here.held if key in ("cpu", "memory") or key.startswith("volume ")]:
        here.undo(key)
    straining.stop(here.sign)


def _with_cpu(here: Here, pid: int | None, start: int | None) -> Inside:
    inside = Inside(*here.which(pid, start), {})
    inside.require_cpu()
    return inside


def _with_memory(here: Here, pid: int | None, start: int | None) -> Inside:
    inside = Inside(*here.which(pid, start), {})
    inside.require_memory()
    return inside


def _hold(here: Here, key: str, words: str, expires: float) -> None:
    sign = here.sign
    here.hold(key, words, lambda: straining.stop(sign), expires, lambda: straining.find(sign))


OPERATIONS = {
    "saturate": saturate,
    "cpu_use": cpu_use,
    "press": press,
    "memory_use": memory_use,
    "exhaust": exhaust,
    "oom_kills": oom_kills,
    "fill": fill,
    "room": room,
    "relieve": relieve,
}
