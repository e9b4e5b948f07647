"""A site's own command: an argument list, no shell, a time-out; the end of its output is kept.

It leads a process group of its own, which is killed when its time is up or the run is broken off. What it leaves behind
on purpose, once it has ended, is let be: a procedure may well start a service.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from veloz_chaos.errors import Gone
from veloz_chaos.mechanisms import proc

#: Characters of output kept: its end, where the error is.
KEPT = 4000
#: Bytes kept while it runs; a character has at most four.
_BUFFER = 4 * KEPT
#: Bytes in one read, and read at most of what is still there when it has ended.
_CHUNK, _REST = 1 << 16, 1 << 20
#: So long a killed process may take to be gone. Seconds.
_GONE = 5.0


@dataclass(frozen=True)
class Outcome:
    succeeded: bool
    output: str
    #: None: it never began, or was killed
    status: int | None = None


class Running:
    """A procedure under way. `finish` blocks, in whatever thread; `kill` may come from another one."""

    def __init__(self, command: Sequence[str], cwd: str | None) -> None:
        """Raises OSError."""
        arguments = [sys.executable if argument == "{python}" else argument for argument in command]
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.start = _start_time(self.pid)
        self._killed = ""

    def finish(self, timeout: timedelta) -> Outcome:
        deadline = time.monotonic() + timeout.total_seconds()
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            kept, ended = _read(pipe.fileno(), self.pid, deadline)
            if not ended:
                self.kill(f"killed after {timeout.total_seconds():g} s")
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GONE)
            kept += _rest(pipe.fileno())
        output = kept.decode(errors="replace")[-KEPT:].strip()
        if self._killed:
            return Outcome(False, f"{output}\n{self._killed}".strip())
        status = self._process.returncode
        return Outcome(status == 0, output or ("" if status == 0 else f"ended with {status}"), status)

    def kill(self, why: str) -> None:
        """It and all that is in its group."""
        self._killed = self._killed or why
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def run(command: list[str], timeout: timedelta, cwd: str | None) -> Outcome:
    """Blocks for at most `timeout`."""
    try:
        running = Running(command, cwd)
    except OSError as error:
        return not_started(command, error)
    return running.finish(timeout)


def not_started(command: Sequence[str], error: OSError) -> Outcome:
    return Outcome(False, f"{command[0]}: {error.strerror}")


def end(pid: int, start: int) -> None:
    """Of a procedure whose run died: kill what is left of its group, and see it gone. Nobody else's is ever hit."""
    if _start_time(pid) in (0, start):  # else the number is another's by now
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    proc.await_exit(pid, start, _GONE)


def _start_time(pid: int) -> int:
    """0: there is no such process."""
    try:
        return proc.start_time(pid)
    except Gone:
        return 0


def _read(pipe: int, pid: int, deadline: float) -> tuple[bytearray, bool]:
    """Its output so far and whether it has ended: whoever else holds the pipe open is not waited for."""
    os.set_blocking(pipe, False)
    kept = bytearray()
    process = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    poll.register(process, select.POLLIN)
    try:
        while (left := deadline - time.monotonic()) > 0:
            ready = dict(poll.poll(min(left, 60.0) * 1000))
            if pipe in ready and not _take(pipe, kept):
                poll.unregister(pipe)
            if process in ready:
                return kept, True
        return kept, False
    finally:
        os.close(process)


def _take(pipe: int, kept: bytearray) -> bool:
    """One read; False at the end of the output."""
    try:
        data = os.read(pipe, _CHUNK)
    except BlockingIOError:
        return True
    kept += data
    del kept[:-_BUFFER]
    return bool(data)


def _rest(pipe: int) -> bytearray:
    """What is still in the pipe; not for ever, if others go on writing to it."""
    kept = bytearray()
    for _ in range(_REST // _CHUNK):
        before = len(kept)
        if not _take(pipe, kept) or len(kept) == before < _BUFFER:
            break
    return kept
