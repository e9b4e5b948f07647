"""The journal of one run: append-only, one event a line, written through at once and fsynced where it matters.

Whoever appends holds the file's lock. A torn last line (the writer died in it) is cut off under the lock before anyone
appends; readers leave it out.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from veloz_chaos.core import event as ev
from veloz_chaos.engine.journal_ends import FILE as FILE
from veloz_chaos.engine.journal_ends import end_of, refuse_newer, tail
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.errors import UsageError


class Journal:
    """Open for appending. Raises OSError where the disk does."""

    def __init__(self, folder: Path, descriptor: int, secrets: Secrets, observe: Callable[[ev.Event], None]) -> None:
        self.folder = folder
        self._descriptor = descriptor
        self.secrets = secrets
        self._observe = observe

    @classmethod
    def create(cls, folder: Path, secrets: Secrets, observe: Callable[[ev.Event], None]) -> Journal:
        folder.mkdir(parents=True)
        descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _sync_folder(folder.parent)
        _sync_folder(folder)
        return cls(folder, descriptor, secrets, observe)

    @classmethod
    def reopen(
        cls, folder: Path, observe: Callable[[ev.Event], None] = lambda _: None, *, wait: bool = True
    ) -> Journal:
        """To add to what another process left. Raises BlockingIOError if that one lives and `wait` is False.

        On a read-only disk nothing can be added; whoever has more to do than that goes on."""
        descriptor = _opened(folder / FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            raise
        with suppress(OSError):  # where nothing can be cut off, nothing can be added either
            _cut_torn_line(descriptor)
        return cls(folder, descriptor, Secrets(), observe)

    def append(self, event: ev.Event, *, sync: bool = False) -> None:
        text = ev.write(event)
        safe = self.secrets.redact_line(text)
        line = safe.encode() + b"\n"
        if (written := os.write(self._descriptor, line)) != len(line):
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise OSError("the journal's disk is full")
        if sync:
            os.fsync(self._descriptor)
        self._observe(event if safe == text else ev.read(safe))

    def close(self) -> None:
        os.close(self._descriptor)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cut_torn_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    whole = os.pread(descriptor, size, 0).rfind(b"\n") + 1
    if whole < size:
        os.ftruncate(descriptor, whole)


def read(folder: Path) -> list[ev.Event]:
    """All whole events. Raises UsageError for what is not a journal, or one of a newer version."""
    return list(lines(folder))


def lines(folder: Path) -> Iterator[ev.Event]:
    path = folder / FILE if folder.is_dir() else folder
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: no journal can be read there: {error.strerror}") from None
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        yield _event(line, path, number)


def _event(line: bytes, path: Path, number: int) -> ev.Event:
    if number == 1:
        refuse_newer(line, path)
    try:
        return ev.read(line)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{path}:{number}: not an event of a journal: {first['msg']}; the file was changed") from None


def about_faults(file: BinaryIO) -> list[ev.Event]:
    """What came since the last call about faults prepared and cleared, and about steps; a torn last line is left for
    the next call."""
    data = file.read()
    whole = data.rfind(b"\n") + 1
    file.seek(whole - len(data), os.SEEK_CUR)
    wanted = (b'"event":"fault-', b'"event":"step-')
    return [ev.read(line) for line in data[:whole].splitlines() if any(word in line for word in wanted)]


def finished(folder: Path) -> bool:
    """Does the journal say at its very end how the run ended? Reads no more than that."""
    return b'"event":"run-ended"' in _end(folder)


def ended_clean(folder: Path) -> bool:
    """Does it say so, and that nothing was left in place?"""
    end = _end(folder)
    return b'"event":"run-ended"' in end and b'"left":[]' in end


def _end(folder: Path) -> bytes:
    """The last whole line, but for what was judged then; empty if the file ends in a torn one."""
    with (folder / FILE).open("rb") as file:
        return end_of(tail(file))[0]


def find(runs: Path, name: str) -> Path:
    """The folder of a run: a path, a folder's name under `runs`, or the run's id. Raises UsageError."""
    for candidate in (Path(name), runs / name):
        if (candidate / FILE).is_file() or (candidate.is_file() and candidate.suffix == ".jsonl"):
            return candidate
    found = [path.parent for path in runs.glob(f"*-{name}/{FILE}")] if runs.is_dir() and "/" not in name else []
    if len(found) == 1:
        return found[0]
    raise UsageError(f"there is no run `{name}` under {runs}" + ("" if not found else f": {len(found)} match"))
