"""How much CPU the processes that share the gateway's limit have wanted: the time that they ran, and the time that they
were ready to run and had to wait. A count that only rises, whoever of them ends.

What they got alone would not tell a busy gateway from one that starves: on a machine that is busy elsewhere nobody gets
much. They are the members of its control group; without one, those that are kept to the same CPU and no other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


class CpuDemand:
    """`members` gives their pids. Each thread counts from the first look that found it to the last."""

    def __init__(self, members: Callable[[], Iterable[int]]) -> None:
        self._members = members
        self._seen: dict[str, int] = {}
        self._total = 0

    def seconds(self) -> float:
        """Of all their threads together, so far: more than pass if several want to run at once."""
        now = {thread: wanted for pid in self._members() for thread, wanted in _threads(pid)}
        self._total += sum(max(wanted - self._seen.get(thread, wanted), 0) for thread, wanted in now.items())
        self._seen = now
        return self._total / 1e9


def kept_to_the_same_cpu(pid: int) -> list[int]:
    """Itself and all others that may run where it may and nowhere else; itself alone where that is everywhere."""
    mine = _affinity(pid)
    if len(mine) == os.cpu_count():
        return [pid]
    others = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [one for one in others if mine and _affinity(one) == mine and _is_program(one)]


def _is_program(pid: int) -> bool:
    """And no thread of the kernel."""
    try:
        return bool(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return False


def _affinity(pid: int) -> set[int]:
    try:
        return os.sched_getaffinity(pid)
    except OSError:
        return set()


def _threads(pid: int) -> Iterator[tuple[str, int]]:
    """Each thread that still exists, by its id, and the nanoseconds that it ran and waited."""
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, ValueError):
                ran, waited, _ = (thread / "schedstat").read_text().split()
                yield thread.name, int(ran) + int(waited)
