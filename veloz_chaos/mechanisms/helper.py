"""The program inside a helper container: does on the daemon's host what a runner elsewhere asks for.

    python -m veloz_chaos.mechanisms.helper SIGN PID
    python -m veloz_chaos.mechanisms.helper SIGN --container ID [UID]
    python -m veloz_chaos.mechanisms.helper SIGN --within ID
    python -m veloz_chaos.mechanisms.helper SIGN --network

PID is the target container's first process, as the host counts; by ID it is found, and its network joined, or that of
the pod with that UID if the container has ended. `--within`: it is found in the pid namespace that we share with it.
`--network`: its network is ours already, and nothing else of it is meant; then there is no target but ourselves.

One JSON object a line: `{"id": 1, "call": "signal", "arguments": {…}}` is answered, in whatever order calls end, by
`{"id": 1, "value": …}` or `{"id": 1, "error": "Gone", "text": "…"}`. The first line it writes has the id 0: it is
ready, and this is the process it found. The last one, where the target ended, has the id -1: that it did, and what the
kernel's count of its kills for memory was then.

It undoes all that it holds and ends at the end of stdin (the runner is gone), at SIGTERM or the call "end", with its
target, at the latest instant that it was told, and where nothing is held and nobody calls. `OPERATIONS` of every
module in `ROOMS` are what can be called; each gets the `Here` of this helper first.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from veloz_chaos.errors import TargetError, Unavailable
from veloz_chaos.mechanisms import cgroup, joining, proc, strain

#: Operation -> what does it: `operation(here, **arguments)` returns JSON, or dataclasses of it.
Operation = Callable[..., Any]
ROOMS = tuple(f"veloz_chaos.mechanisms.helper_{room}" for room in ("signals", "strains", "links", "files"))
#: Seconds until it looks again whether its time is over: calls change that meanwhile.
LOOK = 0.5
#: Seconds for calls that are under way when the target ends: one of them may be what ended it.
LAST = 1.0
#: Seconds for whoever started us to ask why we refuse.
LISTENING = 5.0
#: Seconds without a call after which it ends: before anything was undone, and afterwards.
IDLE, DONE = 600.0, 30.0


@dataclass
class Held:
    """`undo` is safe twice. `until` in seconds of the boot-time clock. `there`: has it not ended by itself?"""

    words: str
    undo: Callable[[], object]
    until: float
    there: Callable[[], object]


@dataclass
class Here:
    """This helper: whose it is, which container it is for, and what it holds."""

    sign: str
    pid: int
    start: int
    held: dict[str, Held] = field(default_factory=dict)
    idle: float = IDLE
    called: float = field(default_factory=lambda: _now())
    calls: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    answered: threading.Event = field(default_factory=threading.Event)
    #: What the memory of the target is counted in; it can be found out only as long as that lives.
    memory: cgroup.Memory | None = None
    #: Are we ending, or has somebody else told us to?
    over: bool = False

    def which(self, pid: int | None, start: int | None) -> tuple[int, int]:
        """The process that a call means: the container's first one, unless it says another."""
        return (self.pid, self.start) if pid is None or start is None else (pid, start)

    def count(self, more: int) -> None:
        """A call has come (1) or has been answered (-1)."""
        with self.lock:
            self.calls, self.called = self.calls + more, _now()
            (self.answered.clear if self.calls else self.answered.set)()

    def oom_kills(self) -> int | None:
        with suppress(TargetError):
            return self.memory.oom_kills() if self.memory else None
        return None

    def hold(
        self,
        key: str,
        words: str,
        undo: Callable[[], object],
        expires: float,
        there: Callable[[], object] = lambda: True,
    ) -> None:
        """Told before the thing is done, so that nothing is ever forgotten; under `lock` until it is done, where it
        would outlive us if it were undone in the midst of it. `expires`: seconds from now. Raises Unavailable when we
        end."""
        with self.lock:
            if self.over:
                raise Unavailable("this helper is about to end")
            self.held[key] = Held(words, undo, _now() + expires, there)

    def undo(self, key: str | None = None) -> None:
        """One, or everything, newest first. What fails stays held, and is raised when all has been tried."""
        with self.lock:
            failed: list[Exception] = []
            for name in [name for name in reversed(self.held) if key in (None, name)]:
                try:
                    self.held[name].undo()
                    del self.held[name]
                except Exception as error:  # noqa: BLE001 -- the others must be undone all the same
                    failed.append(error)
            self.idle = DONE
        if failed:
            raise failed[0]

    def close(self) -> None:
        """Everything is undone, and nothing is done any more."""
        with self.lock:
            self.over = True
            self.undo()

    def seconds_left(self) -> float:
        """Until it ends by itself."""
        with self.lock:
            if self.over:
                return 0.0
            latest = max((one.until for one in self.held.values()), default=self.called + self.idle)
            return max(latest - _now(), 1.0 if self.calls and not self.held else 0.0)


def ping(here: Here) -> dict[str, Any]:
    """Which process it is for, by the host's word, and what of it is held."""
    return {"pid": here.pid, "start": here.start, "boot_id": proc.boot_id(), "sign": here.sign, "held": held(here)}


def held(here: Here) -> list[str]:
    with here.lock:
        return [one.words for one in here.held.values() if one.there()]


def undo(here: Here, key: str | None = None) -> None:
    here.undo(key)


def end(here: Here) -> None:
    """As SIGTERM does; for whoever reaches our stdin and can send no signal."""
    here.over = True


OPERATIONS: dict[str, Operation] = {"ping": ping, "held": held, "undo": undo, "end": end}


def operations() -> Mapping[str, Operation]:
    """All there are."""
    rooms = [importlib.import_module(room) for room in ROOMS if importlib.util.find_spec(room)]
    return {name: does for room in rooms for name, does in room.OPERATIONS.items()} | OPERATIONS


def answer(here: Here, known: Mapping[str, Operation], line: bytes) -> dict[str, Any]:
    """Whatever goes wrong is an answer too."""
    number: Any = None
    try:
        asked = json.loads(line)
        number = asked["id"]
        does = known.get(asked["call"])
        if does is None:
            raise Unavailable(f"this helper cannot {asked['call']}; its image is another version's")
        return {"id": number, "value": does(here, **asked.get("arguments", {}))}
    except TargetError as error:
        return {"id": number, "error": type(error).__name__, "text": str(error)}
    except Exception as error:  # noqa: BLE001 -- the other side has to be told
        return {"id": number, "error": "Unavailable", "text": f"the helper failed: {type(error).__name__}: {error}"}


class Ended(Exception):
    """Time to undo everything."""


def serve(here: Here, known: Mapping[str, Operation], target: int) -> bool:
    """Until it is time to end; says whether the target (a pidfd) has ended."""
    buffer, writing = b"", threading.Lock()
    poll = select.poll()
    for file in (0, target):
        poll.register(file, select.POLLIN)
    while (left := here.seconds_left()) > 0:
        ready = [file for file, _ in poll.poll(min(left, LOOK) * 1000)]
        if target in ready:
            return True
        if 0 not in ready:
            continue
        piece = os.read(0, 65536)
        if not piece:
            return False
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in lines:
            here.count(1)
            threading.Thread(target=_one, args=(here, known, line, writing), daemon=True).start()
    return False


def _one(here: Here, known: Mapping[str, Operation], line: bytes, writing: threading.Lock) -> None:
    write(answer(here, known, line), writing)
    here.count(-1)


def write(said: Mapping[str, Any], writing: threading.Lock) -> None:
    """Nobody listens any more: the end of stdin will say so."""
    line = json.dumps(said, default=_plain).encode() + b"\n"
    with writing:
        while line:
            try:
                line = line[os.write(1, line) :]
            except OSError:
                return


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _end(*_: object) -> None:
    raise Ended


def refuse(error: str, text: str, *, late: bool) -> int:
    """`late`: a platform attaches us after the start, so it is said again to who asks."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    for _ in range(2):
        write({"id": 0, "error": error, "text": text}, threading.Lock())
        if not late or not poll.poll(LISTENING * 1000) or not os.read(0, 4096):
            break
    return 0


def meant(kind: str, *group: str) -> int:
    """The target's process, by what follows the sign. Raises Gone, Unavailable."""
    if kind == "--network":
        return os.getpid()
    if kind not in ("--container", "--within"):
        return int(kind)
    pid = joining.first_process(*group)
    if kind == "--container":
        joining.join(pid)
    return pid


def main(arguments: list[str]) -> int:
    sign, writing, pid = arguments[1], threading.Lock(), 0
    late = arguments[2].startswith("--")
    try:
        pid = meant(*arguments[2:])
        target = os.pidfd_open(pid)
        here = Here(sign, pid, proc.start_time(pid), memory=cgroup.memory_of(pid))
    except TargetError as error:
        return refuse(type(error).__name__, str(error), late=late)
    except ProcessLookupError:
        return refuse("Gone", f"process {pid} no longer exists", late=late)
    os.environ[strain.HOLDER] = str(os.getpid())  # what we start must not survive us
    known = operations()
    try:
        signal.signal(signal.SIGTERM, _end)
        write({"id": 0, "value": ping(here)}, writing)
        if serve(here, known, target):
            kills = here.oom_kills()  # its control group is about to go
            here.answered.wait(LAST if here.calls else 0)
            write({"id": -1, "value": {"ended": "target", "oom_kills": kills}}, writing)
    except Ended:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        here.close()
        if arguments[2] == "--network":  # our entry stays, and shall say by its 0 that nothing of our sign is left
            known["clear"](here, left=sign)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
