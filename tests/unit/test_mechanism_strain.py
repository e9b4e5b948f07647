"""The filler stops when its time is over, also in the middle of filling."""

from __future__ import annotations

import os
import time
from pathlib import Path

from veloz_chaos.mechanisms import proc, strain


def _written(expires: int, file: Path) -> int:
    watch = strain.Watch(os.getpid(), proc.start_time(os.getpid()), expires)
    fd = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        strain._take(watch, fd, 3 << 20)
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def test_it_takes_what_is_missing(tmp_path: Path) -> None:
    assert _written(1 << 62, tmp_path / "file") == 3 << 20


def test_it_takes_nothing_when_its_time_is_over(tmp_path: Path) -> None:
    assert _written(time.clock_gettime_ns(time.CLOCK_BOOTTIME), tmp_path / "file") == 0
