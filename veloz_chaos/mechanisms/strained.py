"""What can be used up of a process on this machine: CPU, memory, volumes; for every backend that knows its pid.

CPU: the quota of its control group, else the CPUs that it alone is pinned to. Memory: the limit of its control group,
else (emulated) the soft limit of its address space. Volumes: file systems of their own, else (emulated) folders that
declare their size. The machine itself is never the limit: then the target does not offer the capability.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

from veloz_chaos.core.capability import CpuUse, Exhaustible, Fillable, Offer, Pressable, Room, Saturable, Use
from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms import cgroup, machine, proc, strain, straining

_EXPIRY = "its helper ends by itself a minute after the longest hold, and with its target"
#: Seconds over which the use of the CPU is measured.
MOMENT = 0.25
#: If the kernel has killed somebody else, the target's memory is given back so long after the ramp.
TRYING = timedelta(seconds=10)
#: A file system in memory of more than this share of the machine's is the machine's, not the target's.
OWN_MEMORY = 0.25
#: More than this share of the memory that the machine can spare is never taken.
MOST_MEMORY = 0.7


#: In the order of their capabilities; the real ones.
STRAINS = (
    Offer(
        capability="Saturable",
        mechanism="busy processes use up its CPU quota from inside its control group",
        touches="whatever shares this allowance",
        undo="the busy processes are killed",
        expiry=_EXPIRY,
    ),
    Offer(
        capability="Pressable",
        mechanism="pages held within the limit of its control group",
        touches="whatever shares this limit",
        undo="the pages are given back",
        expiry=_EXPIRY,
    ),
    Offer(
        capability="Exhaustible",
        mechanism="pages beyond the limit of its control group, until the kernel kills",
        touches="whatever shares this limit; the kernel chooses the largest",
        undo="nothing to undo: the pages go with the helper, which ends with its target",
    ),
    Offer(
        capability="Fillable",
        mechanism="a file without a name holds the space of its volume",
        touches="the volume",
        undo="the space is free when the helper is dead",
        expiry=_EXPIRY,
    ),
)


@dataclass(frozen=True)
class Volume:
    """`path` as the target sees it; `size` in bytes only for a folder that declares its own."""

    path: str
    size: int | None = None


class Strained(Saturable, Pressable, Exhaustible, Fillable):
    pid: int
    start: int
    volumes: Mapping[str, Volume]

    @cached_property
    def _memory(self) -> cgroup.Memory | None:
        """A limit that the machine has no memory for is the machine's."""
        found = cgroup.memory_of(self.pid)
        if not found or found.limit - found.used() > MOST_MEMORY * machine.available():
            return None
        return found if os.access(found.leaf / "cgroup.procs", os.W_OK) else None

    @cached_property
    def _cpu(self) -> cgroup.Cpu | None:
        found = cgroup.cpu_of(self.pid)
        return found if found and os.access(found.leaf / "cgroup.procs", os.W_OK) else None

    @cached_property
    def _own_cpus(self) -> list[int]:
        """The CPUs it is pinned to, if others are left for everybody else."""
        try:
            allowed = os.sched_getaffinity(self.pid)
        except ProcessLookupError:
            raise Gone(f"process {self.pid} no longer exists") from None
        return sorted(allowed) if len(allowed) < (os.cpu_count() or 1) else []

    def strains(self) -> Iterator[Offer]:
        """What of all this can be done to it here, and how."""
        cpu, press, exhaust, fill = STRAINS
        if self._cpu:
            yield cpu
        elif self._own_cpus:
            pinned = f"busy processes use up CPU {', '.join(map(str, self._own_cpus))}, to which it is pinned"
            yield cpu.model_copy(update={"mechanism": pinned})
        if self._memory:
            yield from (press, exhaust)
        else:
            squeeze = {"mechanism": "the soft limit of its address space comes down", "emulated": True}
            yield press.model_copy(update=squeeze)
            yield exhaust.model_copy(update=squeeze | {"mechanism": f"{squeeze['mechanism']}, then SIGKILL"})
        if any(volume.size is not None for volume in self.volumes.values()):
            yield fill.model_copy(update={"mechanism": "a file in a folder of declared size", "emulated": True})
        elif self.volumes:
            yield fill

    def strain_lacks(self) -> dict[str, str]:
        cpu = {
            "Saturable": "it may use every CPU of this machine, so that the runner would starve with it; "
            "give it a CPU quota, or pin it to some of the CPUs"
        }
        disk = {"Fillable": "it names no volumes; write volumes: {logs: {path: …}} beside its selector"}
        return (cpu if not (self._cpu or self._own_cpus) else {}) | (disk if not self.volumes else {})

    # --- CPU ---------------------------------------------------------------------------------------------------

    def saturate(self, sign: str, load: float, expires: timedelta) -> None:
        allowance = self._cpu.quota if self._cpu else len(self._own_cpus)
        burners = ceil(allowance) + 1
        duty = 1.0 if load >= 1 else load * allowance / burners
        join = {"join": [str(self._cpu.leaf)]} if self._cpu else {}
        cpus = None if self._cpu else self._own_cpus
        self._start(sign, expires, "cpu", {"burners": burners, "duty": duty, "cpus": cpus, **join})

    def unsaturate(self, sign: str) -> None:
        straining.stop(sign)

    def cpu_use(self, sign: str) -> CpuUse:
        """Of a control group: what its members ran. Of CPUs it is pinned to: how busy they were."""
        self._require_alive()
        helpers, members = straining.find(sign), self._cpu.members() if self._cpu else []
        began, ours, used = time.monotonic(), proc.on_cpu(helpers), self._used(members)
        hungry = [straining.hungry(helpers) for _ in _moments()]
        took = time.monotonic() - began
        ran = max(0.0, proc.on_cpu(helpers) - ours) / took
        limit = self._cpu.quota if self._cpu else len(self._own_cpus)
        return CpuUse(max(0.0, self._used(members) - used) / took, limit, ran, all(hungry))

    def _used(self, members: list[int]) -> float:
        return proc.on_cpu(members) if self._cpu else proc.busy(self._own_cpus)

    # --- memory ------------------------------------------------------------------------------------------------

    def press(self, sign: str, upto: float, expires: timedelta) -> None:
        if self._memory is None:
            given = {"pid": self.pid, "start": self.start, "upto": upto, "over": 0.0, "then_kill": False}
            self._start(sign, expires, "squeeze", given)
        else:
            self._start(sign, expires, "memory", {"upto": upto, **self._inside(self._memory)})

    def release(self, sign: str, undo: dict[str, Any]) -> None:
        straining.stop(sign)
        if "soft" in undo and self.alive():
            self._set_address_space(int(undo["soft"]))

    def memory_settings(self) -> dict[str, Any]:
        if self._memory is not None:
            return {}
        return {"soft": self._address_space_limits()[0]}

    def memory_use(self) -> Use:
        self._require_alive()
        if self._memory is not None:
            return Use(self._memory.used(), self._memory.limit)
        soft, used = self._address_space_limits()[0], proc.address_space(self.pid)
        return Use(used, float("inf") if soft == resource.RLIM_INFINITY else soft)

    def exhaust(self, sign: str, over: timedelta, expires: timedelta) -> None:
        expires = min(expires, over + TRYING)
        if self._memory is None:
            given = {"pid": self.pid, "start": self.start, "upto": 1.1, "over": over.total_seconds(), "then_kill": True}
            self._start(sign, expires, "squeeze", given)
        else:
            given = {"over": over.total_seconds(), **self._inside(self._memory)}
            self._start(sign, expires, "out-of-memory", given)

    def oom_kills(self) -> int | None:
        return self._memory.oom_kills() if self._memory else None

    @staticmethod
    def _inside(memory: cgroup.Memory) -> dict[str, Any]:
        group = {"leaf": str(memory.leaf), "folder": str(memory.folder), "unified": memory.unified}
        return {"join": [group["leaf"]], "group": group}

    def _address_space_limits(self, *new: tuple[int, int]) -> tuple[int, int]:
        try:
            return resource.prlimit(self.pid, resource.RLIMIT_AS, *new)
        except ProcessLookupError:
            raise Gone(f"process {self.pid} no longer exists") from None
        except PermissionError:
            raise TargetError(f"process {self.pid} belongs to another user; run as that user or as root") from None

    def _set_address_space(self, soft: int) -> None:
        self._address_space_limits((soft, self._address_space_limits()[1]))

    # --- volumes -----------------------------------------------------------------------------------------------

    def fill(self, sign: str, volume: str, free: int, expires: timedelta) -> None:
        found, folder = self._volume(volume)
        given = {"path": str(folder), "free": free, "name": f".{sign}", "size": found.size}
        self._start(sign, expires, "volume", given)

    def empty(self, sign: str, volume: str) -> None:
        straining.stop(sign)
        found = self.volumes.get(volume)
        if found and found.size is not None:
            (self._folder(found) / f".{sign}").unlink(missing_ok=True)

    def room(self, sign: str, volume: str) -> Room:
        found, folder = self._volume(volume)
        try:
            size, free = strain.room(folder, found.size)
        except OSError as error:
            raise Unavailable(f"{found.path} can't be looked at: {error.strerror}") from None
        return Room(size, free, straining.held(sign))

    def _volume(self, name: str) -> tuple[Volume, Path]:
        """Raises Missing for one it does not have, TargetError for one whose end would be the machine's."""
        self._require_alive()
        if name not in self.volumes:
            raise Missing(f"it has no volume `{name}`; it names {', '.join(sorted(self.volumes)) or 'none'}")
        found = self.volumes[name]
        folder = self._folder(found)
        if not folder.is_dir():
            raise Missing(f"volume `{name}`: there is no folder {found.path} where the target looks for it")
        if found.size is None and folder.stat().st_dev in {
            Path("/").stat().st_dev,
            Path(f"/proc/{self.pid}/root").stat().st_dev,
        }:
            raise TargetError(
                f"volume `{name}` ({found.path}) is on the root file system, which is never filled; "
                "give it a file system of its own, or declare its size"
            )
        if found.size is None:
            self._refuse_shared(name, folder)
        return found, folder

    def _refuse_shared(self, name: str, folder: Path) -> None:
        """An overlay is as large as what is below it; a file system in memory takes it from the machine."""
        kind, size = proc.file_system(self.pid, folder), strain.room(folder, None)[0]
        if kind in ("overlay", "ramfs") or (kind == "tmpfs" and size > OWN_MEMORY * machine.memory()):
            raise TargetError(
                f"volume `{name}` is {kind} without a limit of its own, which is never filled; mount it with a size"
            )

    def _folder(self, volume: Volume) -> Path:
        return Path(f"/proc/{self.pid}/root{volume.path}") if volume.size is None else Path(volume.path)

    # --- all ---------------------------------------------------------------------------------------------------

    def strained_by(self) -> list[str]:
        """Leftovers in words."""
        return [
            f"helper of {sign} still strains it; end it by: {straining.by_hand(sign)}"
            for sign in straining.on(self.pid)
        ] + [f"{file} is left of a full volume; remove it by: rm {file}" for file in self.filled()]

    def filled(self) -> list[Path]:
        """Files of ours in folders that declare their size: these outlive the target, and a helper killed by force."""
        folders = [self._folder(volume) for volume in self.volumes.values() if volume.size is not None]
        return sorted(file for folder in folders for file in folder.glob(".vc-*"))

    def _start(self, sign: str, expires: timedelta, kind: str, given: dict[str, Any]) -> None:
        self._require_alive()
        try:
            straining.start(sign, self.pid, self.start, expires, kind, given)
        except Unavailable:
            self._require_alive()
            raise

    def _require_alive(self) -> None:
        if not self.alive():
            raise Gone(f"process {self.pid} no longer exists")


def _moments() -> Iterator[None]:
    for _ in range(5):
        time.sleep(MOMENT / 5)
        yield
