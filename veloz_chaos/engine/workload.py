"""The runner's side of a workload: a process that places orders, is told when to stop, and leaves a history.

A workload that dies ends the run: a system without its load is not the one that the experiment asks about, and what it
would show from then on is no answer. What it left open is not known any more; the history up to then stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from veloz_chaos.core import event as ev
from veloz_chaos.core.plan import Plan
from veloz_chaos.core.session import planned
from veloz_chaos.core.workload import PlannedWorkload
from veloz_chaos.engine import child, order_file
from veloz_chaos.engine.clock import moment
from veloz_chaos.engine.patience import abandoned, longest
from veloz_chaos.errors import Refused

LOG = "workload.log"
#: A workload that is not ready by then is none. Seconds.
READY = 20.0
#: Beyond the longest that its end may take. Seconds.
GRACE = 5.0
#: What became of orders, and which of the counts says why.
_KINDS = (("refused", "refusal"), ("unknown", "doubt"))


class Workload:
    def __init__(self, process: subprocess.Popen[bytes], plan: PlannedWorkload, folder: Path) -> None:
        self.plan = plan
        self.pid = process.pid
        self._process, self._folder = process, folder
        self._rest = b""
        self._ready, self._over = asyncio.Event(), asyncio.Event()
        #: the latest counts; None before the first
        self.latest: Mapping[str, Any] | None = None
        self._error = ""
        self._ended: Mapping[str, Any] | None = None

    @classmethod
    def start(cls, made: Plan, run: str, folder: Path, lock: int) -> Workload | None:
        """None if the plan has no workload."""
        if made.workload is None:
            return None
        process = child.start(["_workload"], folder / LOG, lock)
        assert process.stdin is not None
        asked: dict[str, Any] = {"run": run, "seed": made.seed, "file": str((folder / order_file.NAME).resolve())}
        asked["workload"] = made.workload.model_dump(mode="json", by_alias=True)
        sessions = planned(made.sessions, [], made.workload)
        asked["sessions"] = {name: one.model_dump(mode="json", by_alias=True) for name, one in sessions.items()}
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
        return cls(process, made.workload, folder)

    def listen(self) -> None:
        """To all that it says, from now on."""
        assert self._process.stdout is not None
        asyncio.get_running_loop().add_reader(self._process.stdout.fileno(), self._hear)

    async def await_ready(self) -> ev.WorkloadStarted:
        """Raises Refused if it does not come up."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), READY)
        if not self._ready.is_set() or self._over.is_set():
            raise Refused(f"the workload did not start: {self._error or f'see {LOG} in the folder of the run'}")
        return ev.WorkloadStarted(name=self.plan.name, pid=self.pid, file=order_file.NAME, **moment())

    def _hear(self) -> None:
        assert self._process.stdout is not None
        data = os.read(self._process.stdout.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        if not data:
            asyncio.get_running_loop().remove_reader(self._process.stdout.fileno())
            self._ready.set()
            self._over.set()

    def _take(self, line: Mapping[str, Any]) -> None:
        self.latest = line.get("counts", self.latest)
        self._error = line.get("error", self._error)
        self._ended = line.get("ended", self._ended)
        if "ready" in line:
            self._ready.set()

    def placed(self, what: str) -> int:
        """So many orders so far were sent, accepted, refused, unknown."""
        return int((self.latest or {}).get(what, 0))

    def counts(self) -> Mapping[str, Any] | None:
        return self.latest

    def told(self) -> str:
        """What became of its orders so far, in words."""
        counts = self.latest or {}
        said = [f"{counts[kind]} {kind} ({counts[word]})" for kind, word in _KINDS if counts.get(kind)]
        return ", ".join(said) or f"{self.placed('sent')} sent, none answered"

    @property
    def death(self) -> str:
        """Why it is dead, though nobody asked it to end; empty while it lives."""
        if self._process.poll() is None or self._ended is not None:
            return ""
        return self._error or _exit(self._process.returncode)

    def halt(self) -> None:
        """No more orders."""
        self._say("halt")

    async def end(self, *, settle: bool) -> ev.WorkloadEnded:
        """Read both sides back if `settle`, leave nothing open; bounded, and the process is gone after it."""
        self._say("settle" if settle else "leave")
        try:
            await asyncio.wait_for(self._over.wait(), longest(self.plan) + GRACE)
        except TimeoutError:
            self._error = self._error or "it did not end in time"
            self._process.kill()
        await asyncio.to_thread(self._process.wait)
        digest = await asyncio.to_thread(order_file.digest, self._folder / order_file.NAME)
        return self._event(digest)

    def _event(self, digest: str) -> ev.WorkloadEnded:
        error = self._error
        if self._ended is None:
            error = error or f"the workload died: {_exit(self._process.returncode)}"
        elif self._ended["sha256"] != digest:
            error = error or "the history is not what the workload wrote"
        return ev.WorkloadEnded(
            name=self.plan.name,
            file=order_file.NAME,
            sha256=digest,
            operations=self.placed("sent") + self.placed("cancels"),
            accepted=self.placed("accepted"),
            refused=self.placed("refused"),
            unknown=self.placed("unknown"),
            left=int((self._ended or {}).get("left", self.placed("accepted"))),
            error=error,
            **moment(),
        )

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(word.encode() + b"\n")
            self._process.stdin.flush()

    def dismiss(self) -> None:
        """Blocks until it is gone: at once after `end`; else once it has cancelled what is open, or its time is up."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(abandoned(self.plan) + GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _exit(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit {code}, see {LOG}"
