"""The helper that strains what a process may use: burns its CPU, takes its memory, fills its volume.

    python -m veloz_chaos.mechanisms.strain SIGN PID START EXPIRES KIND ARGUMENTS

ARGUMENTS is a JSON object; EXPIRES is a boot-time instant in ns. It joins the target's control groups first, then says
`r` on stdout, then strains. It ends at EXPIRES, when its target is gone, or when it is killed; and whatever it holds is
free again when it ends, however it ends: memory in a memfd (charged to the group but to nobody's resident set, so that
the kernel kills the application and not us), space in a file without a name. What the kernel does not free by itself (a
file with a name, a lowered limit) a second process undoes that waits for the death of the first.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from veloz_chaos.errors import Gone
from veloz_chaos.mechanisms import cgroup, proc

MEGABYTE = 1 << 20
#: Seconds between two corrections of what is held.
TICK = 0.05
HOLDER = "VELOZ_CHAOS_HOLDER"
_PR_SET_PDEATHSIG = 1


class Watch:
    """Tells when to end: the target is gone, or the time is over; or whoever holds us (a helper container's program,
    which names itself in HOLDER) is gone."""

    def __init__(self, pid: int, start: int, expires: int) -> None:
        holder = os.environ.get(HOLDER)
        self._fds = [os.pidfd_open(one) for one in ((pid, int(holder)) if holder else (pid,))]
        self._expires = expires
        if not proc.alive(pid, start):
            sys.exit(0)

    def over(self, seconds: float = 0.0) -> bool:
        """Waits for at most so long."""
        left = (self._expires - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) / 1e9
        poll = select.poll()
        for fd in self._fds:
            poll.register(fd, select.POLLIN)
        return bool(poll.poll(max(0.0, min(seconds, left)) * 1000)) or left <= 0


def burn(watch: Watch, burners: int, duty: float, cpus: list[int] | None) -> None:
    """`burners` processes, each busy for the share `duty` of the time; they die with this one."""
    if cpus:
        os.sched_setaffinity(0, cpus)
    parent, libc = os.getpid(), ctypes.CDLL(None)
    for _ in range(burners):
        if os.fork() == 0:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() == parent:  # else it died before we asked to be told
                _burn(duty)
            os._exit(0)
    while not watch.over(10.0):
        pass
    os.killpg(0, signal.SIGKILL)


def _burn(duty: float) -> None:
    while True:
        until = time.perf_counter() + 0.01 * duty
        while time.perf_counter() < until:
            pass
        if duty < 1:
            time.sleep(0.01 * (1 - duty))


class Ballast:
    """Memory that is charged to our control group and to no process."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("ballast")
        self.size = 0

    def grow(self, size: int) -> None:
        """Pages are taken by writing them. Raises OSError if there are none."""
        while size > 0:
            self.size += os.pwrite(self._fd, bytes(min(size, MEGABYTE)), self.size)
            size -= MEGABYTE

    def shrink(self, size: int) -> None:
        self.size = max(0, self.size - size)
        os.ftruncate(self._fd, self.size)


def press(watch: Watch, group: cgroup.Memory, upto: float) -> None:
    """Keep the group's use at that share of its limit, also when the target itself takes more or less."""
    ballast, goal = Ballast(), int(group.limit * upto)
    while not watch.over(TICK):
        missing = goal - group.used()
        if missing > MEGABYTE:
            ballast.grow(min(missing, 16 * MEGABYTE))
        elif missing < -MEGABYTE:
            ballast.shrink(-missing)


def exhaust(watch: Watch, group: cgroup.Memory, over: float) -> None:
    """Raise the group's use to its limit in `over` seconds, and beyond it, until the kernel has killed the target; but
    never hold more than the limit, should the kernel have swap to put it in."""
    with suppress(OSError):  # where we may not, the kernel still takes the one with the larger resident set
        Path("/proc/self/oom_score_adj").write_text("-1000")
    ballast, began, used = Ballast(), time.monotonic(), group.used()
    while not watch.over(0.01):
        share = (time.monotonic() - began) / over if over else 2.0
        due = min(int((group.limit - used) * share), group.limit) - ballast.size
        for _ in range(max(0, due) // MEGABYTE):
            if watch.over():
                return
            ballast.grow(MEGABYTE)


def fill(watch: Watch, path: str, free: int, name: str, size: int | None) -> None:
    """Keep no more than `free` bytes of a volume free. Without a declared `size`, by a file that has no name.
    Should the volume turn out to take the machine's memory, the kernel is to kill us first."""
    Path("/proc/self/oom_score_adj").write_text("1000")
    file = Path(path) / name
    if size is not None:
        _at_death(lambda: file.unlink(missing_ok=True))
    fd = _named(file) if size is not None else _nameless(file)
    while True:
        _take(watch, fd, room(Path(path), size)[1] - free)
        if watch.over(TICK):
            return


def _named(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _nameless(file: Path) -> int:
    try:
        return os.open(file.parent, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    fd = _named(file)
    file.unlink()
    return fd


def _at_death(undo: Callable[[], object]) -> None:
    """Undo something when this process has ended, however it ended."""
    ended, held = os.pipe()
    if os.fork():
        os.close(ended)
        return
    os.close(held)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.read(ended, 1)
    undo()
    os._exit(0)


def _take(watch: Watch, fd: int, missing: int) -> None:
    """Real blocks, in pieces that get smaller near the end; no longer than it may last, however slow the volume is."""
    piece = MEGABYTE
    while missing > 0 and piece >= 1 and not watch.over():
        try:
            os.posix_fallocate(fd, os.fstat(fd).st_size, min(piece, missing))
            missing -= piece
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            piece //= 16


def room(folder: Path, size: int | None) -> tuple[int, int]:
    """(size, free) in bytes: of the file system, or of a folder that declares its own size."""
    if size is None:
        found = os.statvfs(folder)
        return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return size, max(0, size - sum(_bytes(Path(top) / name) for top, _, names in os.walk(folder) for name in names))


def _bytes(file: Path) -> int:
    try:
        return file.lstat().st_size
    except OSError:  # removed meanwhile
        return 0


def squeeze(watch: Watch, pid: int, start: int, upto: float, over: float, then_kill: bool) -> None:
    """The emulation where there is no control group: the soft limit of the address space comes down until the use is
    that share of it, and never goes up again, or a target that takes more and more would not meet it."""
    began, (soft, hard) = time.monotonic(), resource.prlimit(pid, resource.RLIMIT_AS)
    _at_death(lambda: proc.alive(pid, start) and resource.prlimit(pid, resource.RLIMIT_AS, (soft, hard)))
    lowest = min((old for old in (soft, hard) if old != resource.RLIM_INFINITY), default=sys.maxsize)
    with suppress(Gone, ProcessLookupError):
        while not watch.over(TICK):
            share = min(1.0, (time.monotonic() - began) / over) if over else 1.0
            lowest = min(lowest, int(proc.address_space(pid) / max(upto * share, 0.4)))
            resource.prlimit(pid, resource.RLIMIT_AS, (lowest, hard))
            if then_kill and share == 1.0 and not watch.over(0.5):
                proc.send(pid, start, "KILL")


def main(arguments: list[str]) -> None:
    _, pid, start, expires, kind, text = arguments
    given: dict[str, Any] = json.loads(text)
    watch = Watch(int(pid), int(start), int(expires))
    for folder in given.pop("join", []):
        (Path(folder) / "cgroup.procs").write_text("0")
    group = given.pop("group", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.write(1, b"r")
    os.close(1)
    memory = cgroup.Memory(Path(group["leaf"]), Path(group["folder"]), group["unified"]) if group else None
    if memory is not None:
        given["group"] = memory
    KINDS[kind](watch, **given)


KINDS: dict[str, Callable[..., None]] = {
    "cpu": burn,
    "memory": press,
    "out-of-memory": exhaust,
    "volume": fill,
    "squeeze": squeeze,
}


if __name__ == "__main__":
    main(sys.argv[1:])
