"""A small process that outlives the runner and takes out what the journal holds open.

The runner starts it before anything is injected and keeps one end of a pipe: when the runner dies, however it dies, the
pipe closes. A runner that hangs beyond a fault's expiry is killed first; the journal has one writer at a time.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from veloz_chaos.core import event as ev
from veloz_chaos.engine import child
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine.clock import now
from veloz_chaos.engine.hand import Backends
from veloz_chaos.engine.revert import revert
from veloz_chaos.errors import Error, Refused
from veloz_chaos.mechanisms import proc

#: How often the guardian looks whether a fault has outlived its expiry. Seconds.
TICK = 1.0
#: A guardian that is not ready by then is no guardian. Seconds.
READY = 20.0
#: Beyond a step's longest time, the runner is taken for hung. Nanoseconds.
GRACE = 60_000_000_000


class Guardian:
    """The runner's side."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    def start(cls, folder: Path, lock: int) -> Guardian:
        return cls(child.start(["_guardian", str(folder.resolve())], folder / "guardian.log", lock))

    def await_ready(self) -> None:
        """Blocks. Raises Refused if it does not come up: nothing is injected without a guardian."""
        assert self._process.stdout is not None
        if select.select([self._process.stdout], [], [], READY)[0] and self._process.stdout.read(1):
            return
        raise Refused("the guardian did not start; see guardian.log in the run's folder")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def await_end(self, seconds: float) -> None:
        """After `dismiss`: wait until it has taken out what was open."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def dismiss(self) -> None:
        """Close the pipe. A guardian that finds nothing open ends at once; nobody waits for it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def main(folder: Path, backends: Backends) -> int:
    """The guardian's side. Ends when the run has ended and nothing is open."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    events = journals.read(folder)
    started = next(event for event in events if isinstance(event, ev.RunStarted))
    _warm_up(started, backends)
    os.write(1, b"r")
    _await_end(folder, started)
    left = _take_over(folder, started, backends) if _anything_open(folder) else []
    print("\n".join(left), file=sys.stderr)
    return 6 if left else 0


def _take_over(folder: Path, started: ev.RunStarted, backends: Backends) -> list[str]:
    if started.plan.cluster is None:
        return revert(folder, backends, "guardian")
    from veloz_chaos.engine import cluster

    with cluster.kept(started):
        return revert(folder, backends, "guardian")


def _warm_up(started: ev.RunStarted, backends: Backends) -> None:
    """Import now what a revert needs: every millisecond counts once the runner is dead."""
    for fault in started.plan.faults:
        backends.fault(fault.kind)
        with contextlib.suppress(Error):
            backends.backend(fault.reference.backend).reopen(fault.reference)
    if started.plan.cluster is not None:
        from veloz_chaos.engine import cluster

        with contextlib.suppress(Error):
            cluster.server(started.plan.cluster)


def _await_end(folder: Path, started: ev.RunStarted) -> None:
    """Until the pipe closes, or a fault outlives its expiry: then the runner hangs, and is killed."""
    about_faults: list[ev.Event] = []
    with (folder / journals.FILE).open("rb") as journal:
        while not select.select([0], [], [], TICK)[0]:
            about_faults += journals.about_faults(journal)
            if any(fault.expires < now() for fault in ev.open_faults(about_faults)) or _step_hangs(about_faults):
                with contextlib.suppress(Error):
                    proc.send(started.pid, started.pid_start, "KILL")
                return


def _step_hangs(events: list[ev.Event]) -> bool:
    steps = (event for event in reversed(events) if isinstance(event, ev.StepBegan | ev.StepEnded))
    last = next(steps, None)
    return isinstance(last, ev.StepBegan) and last.deadline + GRACE < now()


def _anything_open(folder: Path) -> bool:
    events = journals.read(folder)
    return bool(ev.open_faults(events)) or not any(isinstance(event, ev.RunEnded) for event in events)
