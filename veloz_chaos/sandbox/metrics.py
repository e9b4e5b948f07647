"""Metrics in Prometheus's text format: how they are written, and the gateway's own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
STATUSES = ("ok", "slow", "rate-limited", "unavailable")


class Metrics:
    def __init__(self) -> None:
        self._started = time.time()
        self._orders: Counter[str] = Counter()
        self._buckets: Counter[float] = Counter()
        self._latency_sum, self._latency_count = 0.0, 0

    def count_order(self, result: str) -> None:
        self._orders[result] += 1

    def observe_latency(self, seconds: float) -> None:
        self._latency_sum += seconds
        self._latency_count += 1
        self._buckets.update(bound for bound in BUCKETS if seconds <= bound)

    def text(self, engine_connected: bool, exchange_status: str, sse_clients: int, parts: Mapping[str, bool]) -> str:
        lines = [
            *series("process_start_time_seconds", "gauge", [("", round(self._started, 3))]),
            *series("veloz_gateway_up", "gauge", [("", 1)]),
            *series("veloz_engine_connected", "gauge", [("", int(engine_connected))]),
            *series("veloz_exchange_status", "gauge", _one_hot(exchange_status)),
            *series("veloz_sse_clients", "gauge", [("", sse_clients)]),
            *series("veloz_part_ok", "gauge", [(f'{{part="{name}"}}', int(well)) for name, well in parts.items()]),
            *series(
                "veloz_orders_total", "counter", [(f'{{result="{r}"}}', n) for r, n in sorted(self._orders.items())]
            ),
            *self._latency(),
        ]
        return "\n".join(lines) + "\n"

    def _latency(self) -> list[str]:
        name = "veloz_exchange_latency_seconds"
        bounds = [(f'_bucket{{le="{bound}"}}', self._buckets[bound]) for bound in BUCKETS]
        total = [('_bucket{le="+Inf"}', self._latency_count)]
        return [
            *series(name, "histogram", [*bounds, *total]),
            f"{name}_sum {self._latency_sum}",
            f"{name}_count {self._latency_count}",
        ]


def _one_hot(status: str) -> list[tuple[str, float]]:
    return [(f'{{status="{name}"}}', int(name == status)) for name in STATUSES]


def series(name: str, kind: str, samples: Sequence[tuple[str, float | str]]) -> list[str]:
    """Lines; a sample is its labels as they are written, and its value."""
    return [f"# TYPE {name} {kind}", *(f"{name}{suffix} {value}" for suffix, value in samples)]
