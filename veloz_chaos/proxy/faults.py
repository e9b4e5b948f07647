"""The faults that are on a proxy now: each ends by itself, and hits exactly the share that was asked for."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Generic, TypeVar

from veloz_chaos.core.effect import DnsEffect, HttpEffect

Effect = TypeVar("Effect", HttpEffect, DnsEffect)
#: Its multiples fill the interval from 0 to 1 evenly, every second or third of them too: no pattern of calls escapes.
GOLDEN = (math.sqrt(5) - 1) / 2


class Taken(Exception):
    """There is a fault of that name already."""


class Installed(Generic[Effect]):
    """One fault. `hits`: how often it has struck, our own looks not counted."""

    def __init__(self, name: str, effect: Effect, expires: float) -> None:
        self.name, self.expires = name, expires
        self.effect: Effect = effect
        self.until = time.monotonic() + expires
        self.hits = 0
        self._met = {True: 0, False: 0}
        self._over = asyncio.Event()

    def left(self) -> float:
        """Seconds until it ends by itself."""
        return max(0.0, self.until - time.monotonic())

    def struck(self, share: float, look: bool) -> bool:
        """Is the next one hit? Looks have a sequence of their own, so that they take nobody's place."""
        number = self._met[look]
        self._met[look] += 1
        hit = number * GOLDEN % 1 < share
        self.hits += hit and not look
        return hit

    def end(self) -> None:
        self._over.set()

    async def over_within(self, length: timedelta) -> bool:
        """Wait so long, or until the fault has ended: was that it?"""
        if length and not self._over.is_set():
            try:
                async with asyncio.timeout(length.total_seconds()):
                    await self._over.wait()
            except TimeoutError:
                return False
        return self._over.is_set()


class Faults(Generic[Effect]):
    """In the order they came; the first that fits strikes. `changed(event, fault)` is told of each."""

    def __init__(self, changed: Callable[..., None]) -> None:
        self._changed = changed
        self._all: dict[str, Installed[Effect]] = {}
        self._ends: dict[str, asyncio.TimerHandle] = {}

    def __iter__(self) -> Iterator[Installed[Effect]]:
        return iter(list(self._all.values()))

    def get(self, name: str) -> Installed[Effect] | None:
        return self._all.get(name)

    def add(self, name: str, effect: Effect, expires: float) -> Installed[Effect]:
        """For `expires` seconds. Raises Taken."""
        if name in self._all:
            raise Taken(name)
        self._all[name] = Installed(name, effect, expires)
        self._ends[name] = asyncio.get_running_loop().call_later(expires, self.remove, name, "expired")
        self._changed("fault-added", fault=name)
        return self._all[name]

    def remove(self, name: str, why: str = "deleted") -> bool:
        """False if there is none."""
        fault = self._all.pop(name, None)
        if fault is None:
            return False
        self._ends.pop(name).cancel()
        fault.end()
        self._changed("fault-removed", fault=name, why=why)
        return True

    def clear(self) -> None:
        for name in list(self._all):
            self.remove(name, "the proxy ended")
