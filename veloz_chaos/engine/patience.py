"""How long the end of a workload may take: its own process and the runner that waits for it must agree."""

from __future__ import annotations

from veloz_chaos.core.workload import Workload

#: Cancelling what is still open, all of it. Seconds.
CLEAN_UP = 20.0
#: One reading of a side: a list of all orders may take longer than an order. Seconds.
READ_TIMEOUT = 5.0


def longest(workload: Workload) -> float:
    """Seconds that its end may take: answers under way, settling, a reading beyond it, cancelling, a last one."""
    return workload.timeout.total_seconds() + workload.settle.total_seconds() + 2 * CLEAN_UP + 3 * READ_TIMEOUT


def abandoned(workload: Workload) -> float:
    """Seconds that it may take once nobody waits for a history: answers under way, cancelling."""
    return workload.timeout.total_seconds() + CLEAN_UP
