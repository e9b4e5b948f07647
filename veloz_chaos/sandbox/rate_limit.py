"""What the exchange has said of being called too often (429, 418), and how long it is therefore left alone.

The pause is Retry-After, or a back-off that doubles with each refusal after a pause (1 s to 30 s) where that is longer.
When it has passed, one request may try; the limit is over with the first other answer. Refusals of requests that were
on their way when the pause began do not count as further ones.
"""

from __future__ import annotations

import asyncio
import math
import time

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
STATUSES = (418, 429)


class RateLimit:
    """`obeyed=False` is the flaw ignores-retry-after: it is known and told, and nothing waits for it."""

    def __init__(self, obeyed: bool = True) -> None:
        self.limited = False
        self._obeyed = obeyed
        self._until = 0.0
        self._in_a_row = 0
        self._news = asyncio.Event()

    @property
    def retry_after(self) -> float:
        """Seconds for which the exchange is still to be left alone."""
        return max(self._until - time.monotonic(), 0.0)

    @property
    def pausing(self) -> bool:
        """Nothing at all may be sent."""
        return self._obeyed and self.retry_after > 0

    @property
    def blocks(self) -> bool:
        """Nothing but a trial may be sent."""
        return self._obeyed and self.limited

    def refused(self, retry_after: str, asked: float) -> None:
        """A request that was sent at `asked` (monotonic seconds) was answered 429 or 418 with this Retry-After."""
        further = asked >= self._until
        self._in_a_row += further
        backoff = min(FIRST_PAUSE * 2.0 ** (self._in_a_row - 1), LONGEST_PAUSE) if further else 0.0
        told = float(retry_after) if retry_after.isdigit() else 0.0
        self._until = max(self._until, time.monotonic() + max(told, backoff))
        self.limited = True
        self._tell()

    def answered(self, asked: float) -> None:
        """A request that was sent at `asked` was answered otherwise, or not at all."""
        if self.limited and asked >= self._until:
            self.limited, self._in_a_row = False, 0
            self._tell()

    async def passes(self, patience: float) -> bool:
        """Whether one may call: at once, or after waiting for at most `patience` seconds if the pause ends by then."""
        if not self.blocks:
            return True
        if self.retry_after > patience:
            return False
        try:
            await asyncio.wait_for(self._news.wait(), patience)
        except TimeoutError:
            return False
        return not self.limited

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def whole_seconds(self) -> int:
        """For a Retry-After header."""
        return max(math.ceil(self.retry_after), 1)
