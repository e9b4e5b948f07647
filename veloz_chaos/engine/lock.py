"""One run at a time on an environment. The guardian inherits the lock, so that nobody starts before it is done."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from veloz_chaos.errors import Refused

#: The guardian of the run before may need a moment to leave. Seconds.
PATIENCE = 1.0


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / "veloz-chaos-locks"
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)
    return folder


@contextmanager
def held(key: str, holder: str) -> Iterator[int]:
    """Yields the lock's file descriptor, inheritable. Raises Refused with the holder's name."""
    path = _folder() / f"{key}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _taken(descriptor):
            if time.monotonic() > deadline:
                raise Refused(_refusal(descriptor))
            time.sleep(0.02)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
        os.set_inheritable(descriptor, True)
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refusal(descriptor: int) -> str:
    holder = os.pread(descriptor, 500, 0).decode(errors="replace").strip() or "another run"
    return f"this environment is in use by {holder}; wait for it, or end it with `veloz-chaos abort`"
