"""The workload's own process: it places orders beside the runner, so that neither disturbs the other's timing.

One line of JSON on its standard input says what to do; then words: `halt` (no more orders), `settle` (read both sides
back, leave nothing open), `leave` (leave nothing open, at once). When the pipe closes the runner is dead: it cancels
what is open and ends. Whatever happens, an alarm ends it. On its standard output: one line of counts every 100 ms.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

from veloz_chaos.core.session import Session
from veloz_chaos.core.workload import PlannedWorkload
from veloz_chaos.engine.order_books import Books
from veloz_chaos.engine.order_file import OrderFile
from veloz_chaos.engine.order_flow import Flow
from veloz_chaos.engine.patience import longest
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.engine.sessions import Sessions
from veloz_chaos.engine.tally import Tally
from veloz_chaos.errors import Error
from veloz_chaos.mechanisms import haste

#: Counts are told, and the history is flushed, so often. Seconds.
EVERY = 0.1
#: A runner that has not read its pipe for so long hangs; it counts as dead. Seconds.
HUNG = 60.0


class Runner:
    """The other end of the pipes."""

    def __init__(self) -> None:
        self.halted, self.decided = asyncio.Event(), asyncio.Event()
        self.word = ""
        self._rest = b""
        self._silent = 0.0
        for descriptor in (0, 1):
            os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(0, self._hear)

    def _hear(self) -> None:
        data = os.read(0, 4096)
        self._rest += data
        for word in self._rest.decode().split():
            self._obey(word)
        self._rest = b""
        if not data:
            self._obey("gone")

    def _obey(self, word: str) -> None:
        """The first word that decides counts."""
        self.halted.set()
        if word != "halt" and not self.decided.is_set():
            self.word = word
            self.decided.set()
        if word == "gone":
            asyncio.get_running_loop().remove_reader(0)

    def tell(self, **line: Any) -> None:
        """Never waits. A runner that is gone, or does not read for too long, counts as dead."""
        try:
            os.write(1, json.dumps(line).encode() + b"\n")
            self._silent = 0.0
        except BlockingIOError:
            self._silent += EVERY
            if self._silent > HUNG:
                self._obey("gone")
        except OSError:
            self._obey("gone")


def main() -> int:
    """The whole life of the process; returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    haste.take()
    _many_descriptors()
    asked = json.loads(_first_line())
    try:
        asyncio.run(_work(PlannedWorkload.model_validate(asked["workload"]), asked))
    except (Error, OSError) as error:
        os.write(1, json.dumps({"error": f"{error}"}).encode() + b"\n")
        return 1
    return 0


def _first_line() -> bytes:
    """Byte by byte, so that no word behind it is swallowed."""
    line = b""
    while not line.endswith(b"\n") and (data := os.read(0, 1)):
        line += data
    return line


def _many_descriptors() -> None:
    """Each order under way has a connection of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _work(workload: PlannedWorkload, asked: dict[str, Any]) -> None:
    secrets, tally, runner = Secrets(), Tally(), Runner()
    sessions = Sessions({name: Session.model_validate(one) for name, one in asked["sessions"].items()}, secrets)
    await sessions.open()
    file = OrderFile(Path(asked["file"]))
    flow = Flow(workload, asked["run"], asked["seed"], file, tally, secrets)
    books = Books(workload, asked["run"], flow, file, secrets)
    runner.tell(ready=True)
    flow.start()
    telling, keeping = asyncio.create_task(_tell(runner, tally, file)), asyncio.create_task(sessions.keep())
    try:
        await _until(runner.halted, flow, telling)
        flow.stop()
        await flow.drained()
        haste.give_back()  # reading back is much work, and none that must be on time
        await _until(runner.decided, flow, telling)
        signal.alarm(int(longest(workload)) + 1)
        await (books.settle() if runner.word == "settle" else books.leave())
    except (Error, OSError):
        signal.alarm(int(longest(workload)) + 1)
        await books.leave()
        raise
    finally:
        telling.cancel()
        keeping.cancel()
    digest = file.close()
    runner.tell(counts=tally.counts())
    runner.tell(ended={"sha256": digest, "left": books.left})


async def _until(said: asyncio.Event, flow: Flow, telling: asyncio.Future[None]) -> None:
    """Wait for the runner's word; raises what broke the flow, or the disk."""
    waiting: asyncio.Future[Any] = asyncio.create_task(said.wait())
    breaking: set[asyncio.Future[Any]] = {flow.broken, telling}
    done, _ = await asyncio.wait(breaking | {waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for broken in done & breaking:
        await broken


async def _tell(runner: Runner, tally: Tally, file: OrderFile) -> None:
    while True:
        await asyncio.sleep(EVERY)
        file.flush()
        runner.tell(counts=tally.counts())
