"""Linux processes, each named by its incarnation: pid, start time and boot id.

A pid alone is reused; together with the start time (clock ticks since boot, proc(5)) it is not. Signals go through a
pidfd that was opened before the start time was compared, so that they can never reach a successor.
"""

from __future__ import annotations

import os
import re
import select
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from veloz_chaos.errors import Gone, TargetError

PROC = Path("/proc")
LISTEN = "0A"  # state of a listening socket in /proc/net/tcp
#: Fields of /proc/PID/stat counted from the one after the command's last ')', which is number 3.
STATE, PARENT, START = 3 - 3, 4 - 3, 22 - 3


def boot_id() -> str:
    """The kernel's name for this boot."""
    return _read(PROC / "sys/kernel/random/boot_id").strip()


def start_time(pid: int) -> int:
    """Clock ticks from boot to the start of `pid`. Raises Gone if there is no such process."""
    return int(_stat(pid)[START])


def state(pid: int) -> str:
    """The kernel's letter: R S D running or asleep, T stopped, Z X dead. Raises Gone."""
    return _stat(pid)[STATE]


def parent(pid: int) -> int:
    return int(_stat(pid)[PARENT])


def alive(pid: int, start: int) -> bool:
    """Is this incarnation there and not merely a zombie?"""
    try:
        fields = _stat(pid)
    except Gone:
        return False
    return int(fields[START]) == start and fields[STATE] not in "ZX"


def stopped(pid: int) -> bool:
    """Is every thread of `pid` stopped, by the kernel's word? Raises Gone."""
    state(pid)
    threads = _entries(PROC / str(pid) / "task")
    try:
        return bool(threads) and all(_stat_of(PROC / str(pid) / "task" / thread)[STATE] in "Tt" for thread in threads)
    except Gone:  # a thread that has just ended, as no stopped one does
        return False


def send(pid: int, start: int, name: str) -> None:
    """Send signal `name` ("KILL") to this incarnation. Raises Gone, or TargetError where we may not."""
    with _opened(pid, start) as fd:
        try:
            signal.pidfd_send_signal(fd, signal.Signals[f"SIG{name}"])
        except ProcessLookupError:
            raise _gone(pid) from None
        except PermissionError:
            raise TargetError(f"process {pid} belongs to another user; run as that user or as root") from None


def await_exit(pid: int, start: int, seconds: float) -> bool:
    """Wait until this incarnation has exited; False if it is still there after `seconds`."""
    try:
        with _opened(pid, start) as fd:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return bool(poll.poll(seconds * 1000))
    except Gone:
        return True


def await_stopped(pid: int, seconds: float) -> bool:
    """Wait until every thread is stopped. The kernel offers no event for it to a process that is not the parent."""
    deadline = time.monotonic() + seconds
    while not stopped(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def started_at(pid: int) -> float:
    """Wall-clock time of the start, in seconds since the epoch, by today's clock."""
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - start_time(pid) / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def listening(port: int) -> list[int]:
    """The pids that hold a TCP socket listening on `port`, at any address of our network namespace.

    Raises TargetError if there is one but its process is hidden from us.
    """
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    pids = [pid for pid in _pids() if inodes and inodes & _links(pid)]
    if inodes and not pids:
        raise TargetError(f"port {port} is listened on, but by a process we may not look into; run as root")
    return pids


def matching(pattern: str) -> list[int]:
    """The pids whose command line (words joined by blanks) matches; never ourselves or an ancestor of ours."""
    wanted, ours = re.compile(pattern), _ancestry(os.getpid())
    return [pid for pid in _pids() if pid not in ours and wanted.search(command_line(pid))]


def require_expression(key: str, pattern: str) -> None:
    """Of a selector's key, for `matching`. Raises ValueError."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{key} is no regular expression: {error}") from None


def command_line(pid: int) -> str:
    """Empty for kernel threads and for the dead."""
    with suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


@contextmanager
def _opened(pid: int, start: int) -> Iterator[int]:
    """A pidfd of this very incarnation: opened first, compared afterwards."""
    fd = _pidfd(pid)
    try:
        if not alive(pid, start):
            raise _gone(pid)
        yield fd
    finally:
        os.close(fd)


def _pidfd(pid: int) -> int:
    if not hasattr(os, "pidfd_open"):
        raise TargetError("processes can only be reached on Linux 5.3 or later: pidfd_open is missing")
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise _gone(pid) from None
    except OSError as error:
        raise TargetError(f"process {pid} cannot be opened: {error.strerror}; Linux 5.3 or later is needed") from error


def _stat(pid: int) -> list[str]:
    return _stat_of(PROC / str(pid))


def _stat_of(folder: Path) -> list[str]:
    """From the state on; the command before it may hold blanks and parentheses."""
    try:
        text = (folder / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        _require_proc()
        raise _gone(int(folder.name)) from None
    return text.rpartition(")")[2].split()


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        for line in _read(PROC / "net" / table, missing="").splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _links(pid: int) -> set[str]:
    """Where the file descriptors of `pid` point to; empty if we may not look."""
    folder, found = PROC / str(pid) / "fd", set()
    for name in _entries(folder):
        with suppress(OSError):
            found.add(str((folder / name).readlink()))
    return found


def _ancestry(pid: int) -> set[int]:
    found = set()
    while pid > 0:
        found.add(pid)
        try:
            pid = parent(pid)
        except Gone:  # not in our pid namespace
            break
    return found


def _pids() -> list[int]:
    _require_proc()
    return sorted(int(name) for name in _entries(PROC) if name.isdigit())


def _entries(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _read(path: Path, missing: str | None = None) -> str:
    try:
        return path.read_text()
    except OSError as error:
        if missing is not None:
            return missing
        raise TargetError(
            f"{path} cannot be read ({error.strerror}); processes can only be reached on Linux"
        ) from error


def _require_proc() -> None:
    if not (PROC / "self/stat").exists():
        raise TargetError(f"{PROC} is not mounted; processes can only be reached on Linux")


def _gone(pid: int) -> Gone:
    return Gone(f"process {pid} no longer exists, or the pid is another's now")


def address_space(pid: int) -> int:
    """Bytes of virtual memory. Raises Gone."""
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        raise _gone(pid) from None


def on_cpu(pids: Iterable[int]) -> float:
    """Seconds that all threads of these processes have run, so far as they still exist."""
    total = 0
    for pid in pids:
        for thread in _entries(PROC / str(pid) / "task"):
            total += int(_read(PROC / str(pid) / "task" / thread / "schedstat", missing="0").split()[0])
    return total / 1e9


def busy(cpus: Iterable[int]) -> float:
    """Seconds that these CPUs have been busy since boot, together."""
    wanted = {f"cpu{cpu}" for cpu in cpus}
    lines = [line.split() for line in _read(PROC / "stat").splitlines()]
    times = [[int(field) for field in line[1:9]] for line in lines if line[0] in wanted]
    return sum(sum(one) - one[3] - one[4] for one in times) / os.sysconf("SC_CLK_TCK")


def file_system(pid: int, folder: Path) -> str:
    """The type ("ext4", "tmpfs") of what a folder is on, where `pid` has it mounted; empty if that can't be told."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    lines = [line.split() for line in _read(PROC / str(pid) / "mountinfo", missing="").splitlines()]
    return next((line[line.index("-") + 1] for line in lines if line[2] == wanted), "")
