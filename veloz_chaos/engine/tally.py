"""What a workload knows of itself at any moment: counts, and how late it sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: The lags are counted in steps of 0.1 ms, up to two seconds.
STEP, STEPS = 100_000, 20_000


@dataclass
class Tally:
    sent: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    cancels: int = 0
    cancels_accepted: int = 0
    in_flight: int = 0
    #: status and words of the latest answer of each kind
    refusal: str = ""
    doubt: str = ""
    _lags: list[int] = field(default_factory=lambda: [0] * (STEPS + 1))
    _largest: int = 0

    def late(self, lag: int) -> None:
        """An order left so many nanoseconds after it was due."""
        self._lags[min(max(lag, 0) // STEP, STEPS)] += 1
        self._largest = max(self._largest, lag)

    def ended(self, outcome: str, status: int, why: str) -> None:
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome == "refused":
            self.refusal = f"{status} {why}".strip()
        if outcome == "unknown":
            self.doubt = f"{status or ''} {why}".strip()

    def lag(self, share: float) -> float:
        """The quantile of the lags, in milliseconds, rounded up to the step."""
        left = share * sum(self._lags)
        for step, count in enumerate(self._lags):
            left -= count
            if left <= 0:
                return (step + 1) * STEP / 1e6 if count else 0.0
        return self._largest / 1e6

    def counts(self) -> dict[str, Any]:
        shown = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        lags = {"p50_ms": self.lag(0.5), "p99_ms": self.lag(0.99), "max_ms": round(self._largest / 1e6, 3)}
        return shown | {"lag": lags}
