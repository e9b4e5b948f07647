"""Follow a log, a file or the output of containers, and count the lines that match.

What was there before the run does not count (unless `previous`). Rotation and truncation are survived: the file
that had the name before is read along with its successor, for its writer may still be at it. A line counts once it is
complete.

With `before: struck` only lines count that were in the file when the fault was found in place, some ms after it struck:
what is written later, also into a file that takes the name later, does not.

With `docker` the same holds of stdout and stderr of all containers of a selector, over their restarts and over those
made in their place. What a container wrote before the run does not count; one that is made during the run is read from
its start. With `kubernetes` of the containers of pods, of each start of them.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.errors import TargetError, UsageError
from veloz_chaos.mechanisms.docker_log import Logs
from veloz_chaos.mechanisms.docker_look import Containers, Engine
from veloz_chaos.mechanisms.kube_log import Logs as PodLogs
from veloz_chaos.mechanisms.kube_look import Objects, Server
from veloz_chaos.mechanisms.log_tail import Source, Tail

LIMIT = 1 << 20  # bytes read in one look, of each file; the rest is the next look's


@dataclass(config=ConfigDict(extra="forbid"))
class Pods(Objects):
    """`container`: which one of each pod, if not its default or first one."""

    container: str | None = None


@dataclass(config=ConfigDict(extra="forbid"))
class Log(Probe):
    """`value`: matches so far; `status` 1 once they are enough; `text`: the last; `error`: missing, unreadable, or why
    the platform did not answer. Exactly one of `path`, `docker` and `kubernetes`."""

    default_ok: ClassVar[str] = "status == 1"

    match: re.Pattern[str]
    path: str | None = None
    docker: Containers | None = None
    kubernetes: Pods | None = None
    count: Annotated[int, Field(ge=1)] = 1
    previous: bool = False
    #: only lines that were there by then count
    before: Literal["struck"] | None = None

    def __post_init__(self) -> None:
        if sum(way is not None for way in (self.path, self.docker, self.kubernetes)) != 1:
            raise ValueError("write exactly one of path, docker and kubernetes")
        if self.kubernetes is not None and self.kubernetes.node is not None:
            raise ValueError("a node has no log of its own; write owner, selector or pod")
        self._tail: _Tail | None = None
        self._containers: Tail | None = None
        self._found, self._last = 0, ""

    async def open(self, eye: Eye) -> None:
        """Remember where it ends; what is missing now is read from its start. Raises UsageError, TargetError."""
        self._found, self._last = 0, ""
        if self.path is not None:
            self._tail = _Tail(Path(eye.fill(self.path)), from_start=self.previous)
            return
        self._containers = Tail(await self._source(eye), self._take, previous=self.previous)
        async with asyncio.timeout(eye.timeout.total_seconds()):
            await self._containers.open()

    async def _source(self, eye: Eye) -> Source:
        if self.docker is not None:
            wanted = self.docker.filled(eye.fill)
            engine = await asyncio.to_thread(Engine.of, wanted)
            await engine.way.open(engine.url)
            return Logs(wanted, engine)
        assert self.kubernetes is not None
        pods = self.kubernetes.filled(eye.fill)
        server = await asyncio.to_thread(Server.of, pods.place)
        await server.open()
        return PodLogs(pods, server, pods.container)

    def struck(self) -> None:
        for tail in (self._tail, self._containers) if self.before is not None else ():
            if tail is not None:
                tail.end_here()

    async def close(self) -> None:
        if self._containers is not None:
            await self._containers.close()

    async def look(self, eye: Eye) -> Seen:
        if self._tail is None and self._containers is None:
            await self.open(eye)
        if self._containers is not None:
            error = await self._asked(self._containers, eye.timeout.total_seconds())
        else:
            error = self._read()
        enough = int(self._found >= self.count)
        return Seen(status=enough, text=self._last, error=error, value=self._found)

    def _take(self, line: str) -> None:
        if self.match.search(line):
            self._found, self._last = self._found + 1, line

    async def _asked(self, containers: Tail, seconds: float) -> str:
        """What was found stays found, though the engine gives no answer: it has none while a container ends."""
        try:
            async with asyncio.timeout(seconds):
                return "" if await containers.look() else "missing"
        except TimeoutError:
            if self._found < self.count:
                raise
            return ""
        except TargetError as error:
            return str(error)

    def _read(self) -> str:
        try:
            for line in self._tail.lines() if self._tail else ():
                self._take(line)
        except FileNotFoundError:
            return "missing"
        except OSError:
            return "unreadable"
        return ""


class _Tail:
    """The file of a name and the one that had the name before."""

    def __init__(self, path: Path, *, from_start: bool) -> None:
        self._path = path
        self._ended = False
        try:
            self._files = [_Followed(path, from_start=from_start)]
        except FileNotFoundError:
            self._files = []
        except OSError as error:
            raise UsageError(f"log: {path}: {error.strerror}") from None

    def lines(self) -> Iterator[str]:
        """Raises OSError, after what can still be read."""
        for followed in self._files:
            yield from followed.lines()
        if not self._ended and self._replaced():
            self._succeed()
            yield from self._files[-1].lines()

    def end_here(self) -> None:
        """What is not in the files by now is never read."""
        with suppress(OSError):
            if self._replaced():
                self._succeed()
        for followed in self._files:
            followed.end_here()
        self._ended = True

    def _succeed(self) -> None:
        self._files = [*self._files[-1:], _Followed(self._path, from_start=True)]

    def _replaced(self) -> bool:
        now = self._path.stat()
        return not self._files or not self._files[-1].same(now)


class _Followed:
    """One incarnation of the file: held open, it stays ours when its name is given away."""

    def __init__(self, path: Path, *, from_start: bool) -> None:
        self._file = open(path, "rb", buffering=0, opener=_opened)  # noqa: SIM115
        self._partial = b"" if from_start else self._skipped()
        self._end: int | None = None

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def same(self, now: os.stat_result) -> bool:
        return os.path.samestat(now, os.fstat(self._file.fileno()))

    def end_here(self) -> None:
        self._end = os.fstat(self._file.fileno()).st_size

    def lines(self) -> list[str]:
        if os.fstat(self._file.fileno()).st_size < self._file.tell():  # truncated
            self._file.seek(0)
            self._partial = b""
            self._end = None if self._end is None else 0
        *whole, rest = (self._partial + self._file.read(self._left())).split(b"\n")
        self._partial = rest[-LIMIT:]
        return [line.decode("utf-8", "replace").removesuffix("\r") for line in whole]

    def _left(self) -> int:
        return LIMIT if self._end is None else max(0, min(LIMIT, self._end - self._file.tell()))

    def _skipped(self) -> bytes:
        """To the end; returns the beginning of a line that is being written."""
        end = self._file.seek(0, os.SEEK_END)
        start = self._file.seek(max(0, end - LIMIT))
        return self._file.read(end - start).rpartition(b"\n")[2]


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe in the file's place must not hold us up


PROBE = Log
