"""Starting, finding and ending the helpers that strain a process (`strain.py`); each carries the run's sign."""

from __future__ import annotations

import json
import os
import re
import select
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from veloz_chaos.errors import Gone, TargetError, Unavailable
from veloz_chaos.mechanisms import proc

_CODE = Path(__file__).parents[2]
_MODULE = "veloz_chaos.mechanisms.strain"
#: Seconds until a helper must have joined its target, and until a killed one must have ended.
READY, PROMPT = 10.0, 2.0
#: Those that this very process started and has not reaped. (Nobody else's child may be: its exit code is awaited.)
_CHILDREN: set[int] = set()


def start(sign: str, pid: int, begun: int, expires: timedelta, kind: str, arguments: dict[str, Any]) -> None:
    """Returns when the helper is about to strain. Raises Unavailable with its own words if it can't."""
    until = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(expires.total_seconds() * 1e9)
    command = [sys.executable, "-S", "-P", "-m", _MODULE, sign, str(pid), str(begun), str(until), kind]
    ready, error = os.pipe(), os.pipe()
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, ready[1], 1),
        (os.POSIX_SPAWN_DUP2, error[1], 2),
    ]
    environment = {**os.environ, "PYTHONPATH": str(_CODE)}
    try:
        command.append(json.dumps(arguments))
        _CHILDREN.add(os.posix_spawn(sys.executable, command, environment, file_actions=files, setsid=True))
        os.close(ready[1])
        os.close(error[1])
        _await(ready[0], error[0])
    finally:
        os.close(ready[0])
        os.close(error[0])


def _await(ready: int, error: int) -> None:
    if select.select([ready], [], [], READY)[0] and os.read(ready, 1) == b"r":
        return
    said = os.read(error, 4000).decode(errors="replace").strip() if select.select([error], [], [], 0.1)[0] else ""
    raise Unavailable(f"the helper did not start: {said.splitlines()[-1] if said else 'it said nothing'}")


def find(sign: str) -> list[int]:
    """The living helpers of this sign."""
    return [pid for pid in proc.matching(f"{re.escape(_MODULE)} {re.escape(sign)} ") if _lives(pid)]


def stop(sign: str) -> None:
    """Kill them all and wait until they have ended, those too that they start meanwhile. Raises Unavailable if one does
    not."""
    while helpers := find(sign):
        for pid in helpers:
            with suppress(Gone):
                begun = proc.start_time(pid)
                proc.send(pid, begun, "KILL")
                if not proc.await_exit(pid, begun, PROMPT):
                    raise Unavailable(f"helper {pid} has not died of KILL in {PROMPT} s")
    _reap()


def on(pid: int) -> list[str]:
    """The signs of the helpers that strain this process."""
    found = (proc.command_line(one) for one in proc.matching(rf"{re.escape(_MODULE)} \S+ {pid} "))
    return sorted({line.split(f"{_MODULE} ", 1)[1].split()[0] for line in found if _MODULE in line})


def by_hand(sign: str) -> str:
    """By TERM, so that what it changed is changed back. (The brackets keep it from hitting the shell it runs in.)"""
    return f"pkill -f '[{_MODULE[0]}]{_MODULE[1:]} {sign} '"


def hungry(helpers: list[int]) -> bool:
    """Every helper but the one that waits for the end wants to run: nothing of the allowance is left for others."""
    states = []
    for pid in helpers:
        with suppress(Gone):
            states.append(proc.state(pid))
    return len(states) > 1 and states.count("R") >= len(states) - 1


def held(sign: str) -> int:
    """Bytes on file systems that the helpers of this sign hold."""
    return sum(_held(Path(f"/proc/{pid}/fd")) for pid in find(sign))


def _held(folder: Path) -> int:
    total = 0
    with suppress(OSError):
        for entry in folder.iterdir():
            with suppress(OSError):
                status = entry.stat()
                total += status.st_blocks * 512 if (status.st_mode & 0o170000) == 0o100000 else 0
    return total


def _lives(pid: int) -> bool:
    try:
        return proc.alive(pid, proc.start_time(pid))
    except TargetError:
        return False


def _reap() -> None:
    """No zombie of ours stays."""
    for pid in list(_CHILDREN):
        with suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
        _CHILDREN.discard(pid)
