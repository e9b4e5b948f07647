"""The gateway's eye on its own memory: ten times a second, against the limit that it would be killed at.

Above 80 % it says so in the log and collects garbage, a tenth of the time at most; below 75 % all is well again.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from veloz_chaos.sandbox import cgroup
from veloz_chaos.sandbox.cgroup import Usage
from veloz_chaos.sandbox.limits import address_space
from veloz_chaos.sandbox.settings import Settings

log = logging.getLogger("gateway")
LOOK_EVERY, WARN_EVERY = 0.1, 0.5
PRESSURE, RELIEF = 0.80, 0.75
#: The share of its time that the gateway spends with collecting garbage under pressure, at most.
COLLECTING = 0.1


class MemoryWatch:
    """`on_change(status)` is called at each change."""

    def __init__(self, use: Callable[[], Usage | None], on_change: Callable[[str], None]) -> None:
        self._use, self._on_change = use, on_change
        self.status, self.usage = "ok", use()
        self._warn_at = self._collect_at = 0.0

    @property
    def share(self) -> float | None:
        return self.usage.used / self.usage.limit if self.usage else None

    def part(self) -> dict[str, Any]:
        share = self.share
        return {"status": self.status, "used_share": None if share is None else round(share, 3)}

    def told(self) -> str:
        return "memory without a limit" if self.share is None else f"{self.share:.0%} of memory used"

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY)

    def look(self) -> None:
        self.usage = self._use()
        status = judged(self.share or 0.0, self.status)
        if status != self.status:
            self.status, self._warn_at = status, 0.0
            self._on_change(status)
        if self.status == "pressure" and self.usage:
            self._bear(self.usage)

    def _bear(self, usage: Usage) -> None:
        if time.monotonic() >= self._warn_at:
            self._warn_at = time.monotonic() + WARN_EVERY
            log.warning("memory usage %.0f%% of %d MB", 100 * usage.used / usage.limit, usage.limit >> 20)
        if time.monotonic() >= self._collect_at:
            began = time.monotonic()
            gc.collect()
            self._collect_at = began + (time.monotonic() - began) / COLLECTING


def judged(share: float, status: str) -> str:
    """Pressure begins above one share and ends below another."""
    if share > PRESSURE:
        return "pressure"
    return "ok" if share < RELIEF else status


def use_of(settings: Settings) -> Callable[[], Usage | None]:
    """What this process may be killed for: its own control group's use, else its address space."""
    if settings.contained:
        around = cgroup.around()
        return around.usage if around else address_space_used
    group = cgroup.find(settings.group)
    inside = f"/{settings.group}/" in Path("/proc/self/cgroup").read_text()
    return group.usage if group and inside else address_space_used


def address_space_used() -> Usage | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else Usage(address_space("self"), soft)
