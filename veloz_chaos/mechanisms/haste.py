"""Right of way on the processor for the little that must happen on time, where the system allows it (root).

On a machine that also runs what is hurt, a look or an order that is due must not queue behind it: else the machine's
load is measured, not the system. Children and helpers are not favoured: the kernel resets them when they are forked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def take() -> None:
    """For the calling thread: the lowest real-time priority, of which the kernel never gives more than 95 %."""
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def give_back() -> None:
    """The calling thread is one like any other again."""
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def haste() -> Iterator[None]:
    """The same for as long as the block lasts."""
    take()
    try:
        yield
    finally:
        give_back()
