"""The limits that the supervisor sets its gateway: memory, CPU and log volume, real where we may, else emulated.

Without a control group the gateway is kept to one CPU, so that a CPU fault has to hurt that one only, and whoever
lowers its soft RLIMIT_AS below what it uses gets it killed by the supervisor, as the kernel would have done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from veloz_chaos.sandbox import cgroup, volume
from veloz_chaos.sandbox.cpu_demand import CpuDemand, kept_to_the_same_cpu
from veloz_chaos.sandbox.settings import Settings

#: Bytes, and CPUs. When all is well the gateway uses some 30 MB and, at 60 requests a second, 15 % of a CPU; with two
#: busy processes in its group it has a third of its quota left, and answers slowly but in time for the liveness check.
MEMORY, CPU = 160 << 20, 1.0
LIMITED = "gateway"
OOM = "oom-killed"
#: Seconds. An OOM kill counts as the cause of a death if it was no longer ago than twice this.
COUNT_EVERY = 0.5
LOOK_EVERY = 0.05


def new_group() -> str:
    return f"veloz-sandbox-{secrets.token_hex(4)}"


class Used(NamedTuple):
    """How far the gateway has used up its limits: bytes (None: no limit); CPU seconds that were wanted, and CPUs."""

    memory: int
    memory_limit: int | None
    cpu: float
    cpu_limit: float
    free: int
    size: int


class Limits:
    """`group` is None where there are no control groups for us."""

    def __init__(self, directory: Path, group: cgroup.Group | None) -> None:
        self._directory, self._group = directory, group
        self._volume = volume.Volume(directory)
        self._cpu = CpuDemand(self._members)
        self._pid: int | None = None
        self._before = self._lately = 0
        self._killed: int | None = None

    @property
    def cgroups(self) -> bool:
        return self._group is not None

    def command(self, service: str, command: Sequence[str]) -> Sequence[str]:
        return self._group.launched(command) if self._group and service == LIMITED else command

    async def watch(self, service: str, pid: int) -> None:
        """Beside a running service: know in the end whether it was memory that killed it."""
        if service != LIMITED:
            return
        if self._group is None:
            _keep_to_one_cpu(pid)
            await self._kill_at_limit(pid)
        while True:
            self._before, self._lately = self._lately, self._oom_kills()
            await asyncio.sleep(COUNT_EVERY)

    def ended(self, service: str, pid: int, code: int) -> str:
        """How a service ended: "oom-killed", "killed" or "exit N"."""
        if service == LIMITED and code < 0 and (self._oom_kills() > self._before or self._killed == pid):
            self._before = self._lately = self._oom_kills()
            return OOM
        return "killed" if code < 0 else f"exit {code}"

    def used(self, pid: int | None) -> Used:
        """By the gateway, which runs as `pid` or not at all."""
        self._pid = pid
        return Used(*self._memory(pid), self._cpu.seconds(), CPU, self._volume.free(), self._volume.size())

    def _members(self) -> Iterable[int]:
        if self._group:
            return self._group.members()
        return kept_to_the_same_cpu(self._pid) if self._pid else ()

    def _memory(self, pid: int | None) -> tuple[int, int | None]:
        if self._group:
            return self._group.usage() or (0, None)
        if pid is None:
            return 0, None
        try:
            soft, _ = resource.prlimit(pid, resource.RLIMIT_AS)
            used = address_space(pid)
        except OSError:  # it has just ended
            return 0, None
        return used, None if soft == resource.RLIM_INFINITY else soft

    def _oom_kills(self) -> int:
        return self._group.oom_kills() if self._group else 0

    async def _kill_at_limit(self, pid: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            while not _beyond_limit(pid):
                await asyncio.sleep(LOOK_EVERY)
            self._killed = pid
            os.kill(pid, 9)

    def release(self) -> None:
        """Safe twice; the processes must have ended."""
        volume.unmount(self._directory)
        if self._group:
            self._group.remove()


def used_inside(volume_used: volume.Volume) -> Used:
    """The same, by who is alone in a container: its limits are the platform's."""
    around = cgroup.around()
    memory, cpu = (around.usage(), around.demand()) if around else (None, None)
    used, limit = memory or (0, None)
    wanted, cpus = cpu or (0.0, float("inf"))
    return Used(used, limit, wanted, cpus, volume_used.free(), volume_used.size())


@contextlib.contextmanager
def applied(settings: Settings) -> Iterator[Limits]:
    """Once the supervisor runs, and before it starts anything."""
    may = os.geteuid() == 0 and not settings.emulated
    if may:
        volume.mount(settings.directory)
    volume.fill_with_old_logs(settings.directory)
    limits = Limits(settings.directory, _create(settings.group) if may else None)
    try:
        yield limits
    finally:
        limits.release()


def remove_leftover(group: str) -> None:
    """The control group of a sandbox whose supervisor was killed, if it has one."""
    found = cgroup.find(group)
    if found:
        found.remove()


def _create(name: str) -> cgroup.Group | None:
    group = cgroup.find(name)
    try:
        if group:
            group.create(MEMORY, CPU)
    except OSError:
        assert group
        group.remove()
        return None
    return group


def _keep_to_one_cpu(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.sched_setaffinity(pid, {max(os.sched_getaffinity(pid))})


def _beyond_limit(pid: int) -> bool:
    soft, _ = resource.prlimit(pid, resource.RLIMIT_AS)
    return soft != resource.RLIM_INFINITY and address_space(pid) > soft


def address_space(pid: int | str) -> int:
    """Bytes. Raises OSError if there is no such process."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()
