"""The gateway's log volume, `<directory>/volume`: 8 MB, and full when they are used up.

Where we may mount, it is a tmpfs in a mount namespace that only the supervisor and its children live in: it is gone
with the last of them, whatever kills them, and from outside it is `/proc/<supervisor>/root/<directory>/volume`.
Elsewhere it is an ordinary directory of a declared size, which the gateway keeps to by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path

NAME = "volume"
SIZE = 8 << 20
LOG = "gateway.log"
#: Logs of "earlier days" at the start, so that there is something to remove when the volume is full.
OLD_LOGS, OLD_LOG_BYTES = 3, 1 << 20
_OLD_LINE = b"2024-01-01 00:00:00,000 INFO alive: 3 orders (an old log that rotation may remove)\n"

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_SLAVE = 2, 4, 16384, 1 << 19
_MNT_DETACH = 2


class Volume:
    """The volume as the gateway uses it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self.real = _is_mounted(self.path)

    def free(self) -> int:
        """Bytes."""
        if self.real:
            status = os.statvfs(self.path)
            return status.f_bavail * status.f_frsize
        return max(SIZE - _bytes_in(self.path), 0)

    def size(self) -> int:
        """Bytes."""
        status = os.statvfs(self.path)
        return status.f_blocks * status.f_frsize if self.real else SIZE

    def append(self, file: Path, data: bytes) -> int:
        """How many bytes could be written. Raises OSError, ENOSPC if none could."""
        if not self.real and self.free() < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            return os.write(descriptor, data)
        finally:
            os.close(descriptor)

    def begin_anew(self, file: Path, data: bytes) -> None:
        """The file holds these bytes and nothing else. It takes no more space than it has, if that is a block."""
        with open(file, "r+b", buffering=0) as opened:
            opened.write(data)
            opened.truncate(len(data))


def mount(directory: Path) -> bool:
    """Mount it, for this process and those it will start; False where we may not. Before any thread is started."""
    try:
        _call("unshare", _CLONE_NEWNS)
        _call("mount", None, b"/", None, _MS_REC | _MS_SLAVE, None)
        options = f"size={SIZE},mode=0755".encode()
        _call("mount", b"veloz-sandbox", bytes(directory / NAME), b"tmpfs", _MS_NOSUID | _MS_NODEV, options)
    except OSError:
        return False
    return True


def unmount(directory: Path) -> None:
    with contextlib.suppress(OSError):
        _call("umount2", bytes(directory / NAME), _MNT_DETACH)


def fill_with_old_logs(directory: Path) -> None:
    text = _OLD_LINE * (OLD_LOG_BYTES // len(_OLD_LINE))
    for number in range(1, OLD_LOGS + 1):
        (directory / NAME / f"{LOG}.{number}").write_bytes(text)


def from_outside(directory: Path, supervisor: int) -> Path:
    """Where everybody else finds the volume of a running sandbox."""
    within = Path(f"/proc/{supervisor}/root{directory / NAME}")
    try:
        return within if within.stat().st_dev != (directory / NAME).stat().st_dev else directory / NAME
    except OSError:
        return directory / NAME


def _is_mounted(path: Path) -> bool:
    return path.stat().st_dev != path.parent.stat().st_dev


def _bytes_in(path: Path) -> int:
    total = 0
    with os.scandir(path) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat().st_size
    return total


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*(_c(argument) for argument in arguments)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _c(argument: object) -> object:
    return ctypes.c_ulong(argument) if isinstance(argument, int) else argument
