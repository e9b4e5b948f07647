"""Look whether a process is there, by the kernel's word.

`value` is {alive, pid, start, count, state}: of the oldest of those that match, while `count` says how many are alive.
`start` (clock ticks since boot) differs for a successor, even under the same pid. A zombie is dead.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.errors import Gone, TargetError
from veloz_chaos.mechanisms import proc

NOBODY = {"alive": False, "pid": 0, "start": 0, "count": 0, "state": ""}
#: Clocks are set: a pidfile that is older than its process by less than these seconds still counts.
SLACK = 2.0


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Process(Probe):
    """`error`: missing (no pidfile), unreadable (no number in it), or why the kernel would not tell."""

    default_ok: ClassVar[str] = "value.alive"

    pidfile: str | None = None
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    #: a regular expression, searched for in the words of the command line joined by blanks
    command: re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.pidfile, self.port, self.command)) != 1:
            raise ValueError("give exactly one of pidfile, port, command")

    async def open(self, eye: Eye) -> None:  # noqa: ARG002
        """Raises TargetError where processes can't be seen, or not that of the port."""
        if self.pidfile is None:
            await asyncio.to_thread(self._scan)

    async def look(self, eye: Eye) -> Seen:
        if self.pidfile is not None:
            return _told(partial(_pids, Path(eye.fill(self.pidfile))))
        async with asyncio.timeout(eye.timeout.total_seconds()):
            return await asyncio.to_thread(_told, self._scan)

    def _scan(self) -> list[int]:
        if self.port is not None:
            return proc.listening(self.port)
        return proc.matching(self.command.pattern) if self.command else []


def _told(found: Callable[[], list[int]]) -> Seen:
    """A process that dies while we look is not ours to complain of."""
    try:
        return Seen(value=_value(found()))
    except FileNotFoundError:
        return Seen(value=NOBODY, error="missing")
    except (OSError, ValueError):
        return Seen(value=NOBODY, error="unreadable")
    except TargetError as error:
        return Seen(value=NOBODY, error=str(error))


def _pids(pidfile: Path) -> list[int]:
    """None if the process is dead, or began after the file was written: then the pid was given to another."""
    written = pidfile.stat().st_mtime
    pid = int((pidfile.read_text().split() or [""])[0])
    if pid <= 0:
        raise ValueError(pid)
    with suppress(Gone):
        return [pid] if proc.started_at(pid) - written < SLACK else []
    return []


def _value(pids: list[int]) -> dict[str, Any]:
    known = [one for pid in pids if (one := _known(pid))]
    living = sorted((one for one in known if one["alive"]), key=lambda one: (one["start"], one["pid"]))
    return {**NOBODY, **(living or known or [{}])[0], "count": len(living)}


def _known(pid: int) -> dict[str, Any]:
    """Empty if there is no such process."""
    try:
        start, state = proc.start_time(pid), proc.state(pid)
    except Gone:
        return {}
    return {"alive": proc.alive(pid, start), "pid": pid, "start": start, "state": state}


PROBE = Process
