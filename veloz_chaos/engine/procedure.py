"""A site's own command: an argument list, no shell, a time-out; the end of its output is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta

#: Characters of output kept: its end, where the error is.
KEPT = 4000


@dataclass(frozen=True)
class Outcome:
    succeeded: bool
    output: str


def run(command: list[str], timeout: timedelta, cwd: str | None) -> Outcome:
    """Blocks for at most `timeout`; then the command and all that it started in its session are killed."""
    arguments = [sys.executable if argument == "{python}" else argument for argument in command]
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        return Outcome(False, f"{command[0]}: {error.strerror}")
    try:
        output, _ = process.communicate(timeout=timeout.total_seconds())
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return Outcome(False, _end(output) + f"\nkilled after {timeout.total_seconds():g} s")
    return Outcome(process.returncode == 0, _end(output))


def _end(output: bytes) -> str:
    return output.decode(errors="replace")[-KEPT:].strip()
