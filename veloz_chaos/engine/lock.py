"""One run at a time on an environment. The guardian inherits the lock, so that nobody starts before it is done."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from veloz_chaos.errors import Refused

#: The guardian of the run before may need a moment to leave. Seconds.
PATIENCE = 1.0
_IN_USE = "this environment is in use by {holder}; wait for it, or end it with `{end}`"
_AT_WORK = "another scheduler is at work on these runs: {holder}"
#: Where the holder does not say how it is ended.
_END = "veloz-chaos abort --runs THE-ONE-IT-WAS-STARTED-WITH"


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / "veloz-chaos-locks"
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)
    return folder


@contextmanager
def held(key: str, holder: str, end: str = "") -> Iterator[int]:
    """Yields the lock's file descriptor, inheritable. Raises Refused with the holder's name, and with the command that
    ends it, as the holder has given it."""
    with _held(_folder() / f"{key}.lock", f"{holder}\n{end}", _IN_USE) as descriptor:
        os.set_inheritable(descriptor, True)
        yield descriptor


@contextmanager
def scheduler(folder: Path, holder: str, patience: float) -> Iterator[None]:
    """One scheduler at a time for a folder of runs, also over a shared disk. Raises Refused with the holder's name if
    that is not over in `patience` seconds."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "schedule.lock").touch()
    except OSError as error:
        raise Refused(f"{folder}: can't be written: {error.strerror}; choose another place with --runs") from None
    with _held(folder / "schedule.lock", holder, _AT_WORK, patience):
        yield


@contextmanager
def _held(path: Path, holder: str, refusal: str, patience: float = PATIENCE) -> Iterator[int]:
    descriptor = _opened(path)
    try:
        deadline = time.monotonic() + patience
        while not _taken(descriptor):
            if time.monotonic() > deadline:
                holder, end = _holder(descriptor)
                raise Refused(refusal.format(holder=holder, end=end))
            time.sleep(0.02)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """Whoever made it: several users may be on one environment, whatever their umask. (An existing file of somebody
    else's is not opened with O_CREAT, which a kernel may refuse in such a folder.)"""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with suppress(PermissionError):
            os.fchmod(descriptor, 0o666)
        return descriptor


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> tuple[str, str]:
    """Its name, and the command that ends it."""
    holder, _, end = os.pread(descriptor, 8192, 0).decode(errors="replace").partition("\n")
    return holder.strip() or "another run", end.strip() or _END
