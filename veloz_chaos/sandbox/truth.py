"""The truth log `<directory>/truth/<process>.jsonl`: what really happened and when, for tests to check measurements by.

A line is written in one unbuffered write at the very moment of the change. `at` is CLOCK_BOOTTIME in nanoseconds,
the clock that every process of one machine shares and that counts suspend.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path


class TruthLog:
    def __init__(self, directory: Path, process: str) -> None:
        (directory / "truth").mkdir(exist_ok=True)
        path = directory / "truth" / f"{process}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, event: str, **fields: object) -> None:
        at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        line = json.dumps({"at": at, "event": event, **fields}, separators=(",", ":"))
        os.write(self._file, line.encode() + b"\n")
