"""The run's clock: boot time, which counts suspend, so that no sleep of the machine hides in a measured length."""

from __future__ import annotations

import time
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
