"""Whether the gateway is short of CPU: its own loop comes too late too often. Only the flaw refuses-when-slow asks."""

from __future__ import annotations

import asyncio
from collections import deque

#: Seconds: how often it looks, and what counts as late. So many late ones of the last that it keeps are too many.
LOOK_EVERY, LATE, TOO_MANY, KEPT = 0.02, 0.03, 4, 40


class LoadWatch:
    def __init__(self) -> None:
        self._late: deque[bool] = deque(maxlen=KEPT)
        self._asked = 0

    def sheds(self) -> bool:
        """Of the orders that come while it is slow, every third."""
        if sum(self._late) < TOO_MANY:
            return False
        self._asked += 1
        return self._asked % 3 == 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_EVERY
            await asyncio.sleep(LOOK_EVERY)
            self._late.append(loop.time() - due > LATE)
