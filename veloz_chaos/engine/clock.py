"""The run's clock: boot time, which counts suspend, so that no sleep of the machine hides in a measured length."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TypedDict

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Moment(TypedDict):
    at: int
    wall: float


def now() -> int:
    """Boot-time nanoseconds."""
    return time.clock_gettime_ns(_CLOCK)


def moment() -> Moment:
    """Both clocks, as every event carries them."""
    return {"at": now(), "wall": round(time.time(), 6)}


def slept() -> int:
    """Nanoseconds that the machine has spent suspended since boot; it changes only when it sleeps."""
    return now() - time.monotonic_ns()


def boot_id() -> str:
    """Two processes' clocks compare only within one boot id."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else f"{socket.gethostname()}-unknown"
