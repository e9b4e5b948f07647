"""What has gone through a proxy: counts, gaps, and who called again before he was allowed to."""

from __future__ import annotations

import time
from collections import deque
from email.utils import parsedate_to_datetime

#: A request so soon after the answer that forbade it was under way already. Seconds.
GRACE = 0.25
#: The longest gaps are remembered for those who ask about a part of the time.
GAPS = 1000
BARRING = (429, 418, 503)


class Traffic:
    """Times in seconds of the monotonic clock. Our own looks are counted apart and change nothing else."""

    def __init__(self, now: float | None = None) -> None:
        self.born = self._last = time.monotonic() if now is None else now
        self.passed = self.answered = self.failed = self.early = self.looks = self.open = 0
        self._barred_from = self._barred_until = 0.0
        #: (end, length), each shorter than the one before it: whoever asks since when needs the first that ended since
        self._gaps: deque[tuple[float, float]] = deque(maxlen=GAPS)

    def arrived(self, now: float | None = None) -> bool:
        """A request has come; says whether it came too early."""
        now = time.monotonic() if now is None else now
        while self._gaps and self._gaps[-1][1] <= now - self._last:
            self._gaps.pop()
        self._gaps.append((now, now - self._last))
        self._last = now
        early = self._barred_from + GRACE <= now < self._barred_until
        self.early += early
        return early

    def said(self, status: int, retry_after: str, now: float | None = None) -> None:
        """An answer has been given: 429, 418 and 503 may say how long nobody is to call."""
        if status not in BARRING or not retry_after:
            return
        now = time.monotonic() if now is None else now
        if now >= self._barred_until:
            self._barred_from = now
        self._barred_until = max(self._barred_until, now + _seconds(retry_after))

    def figures(self, since: float = 0.0) -> dict[str, int | float]:
        """Counts from the proxy's start; gaps from `since`, in milliseconds after it, as `now_ms` tells them."""
        now, start = time.monotonic(), self.born + since / 1000
        ended = next(((end, length) for end, length in self._gaps if end > start), (now, 0.0))
        longest = max(min(ended[1], ended[0] - start), now - max(self._last, start))
        counts = {name: getattr(self, name) for name in ("passed", "answered", "failed", "early", "looks", "open")}
        return {
            **counts,
            "longest_gap_ms": round(longest * 1000, 3),
            "last_age_ms": round((now - self._last) * 1000, 3),
            "now_ms": round((now - self.born) * 1000, 3),
        }


def _seconds(retry_after: str) -> float:
    """A number of seconds or a date; 0 for what is neither."""
    if retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0
