"""What containers write to their output, each line once.

Every read is by the engine's own stamps (one clock, its own, compared with nothing else): it begins OVERLAP before the
last line known and leaves out what was had already, so that no reconnection loses a line or brings it twice, not even
one of stdout that was stamped before, but written after, one of stderr.

A look asks for itself what is new, so that what it does not show was not there. Beside that each container's stream is
followed: only thus its last lines are had if it is removed between two looks. A container that restarts goes on in
the same log; one that is made anew is found by its selector and read from its start.
"""

from __future__ import annotations

import asyncio
import calendar
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from veloz_chaos.errors import Gone, TargetError
from veloz_chaos.mechanisms.docker_look import Containers, Engine

#: Of the engine's clock, in nanoseconds.
OVERLAP = 1_000_000_000
#: Lines asked for in one read, and that many times more if those were not all.
LINES, MORE = 1000, 10
#: Between two attempts at a container's stream, and two looks at which containers there are. Seconds.
AGAIN, SEARCH = 0.1, 0.2
#: The stream of a container that is removed ends within this. Seconds.
LAST_WORDS = 1.0
#: Lines remembered, about: more only if more come within two overlaps.
KEPT = 50_000
#: A line is cut off beyond this. Bytes.
LONGEST = 1 << 20

Take = Callable[[str], None]
Key = tuple[int, int]


@dataclass
class Book:
    """Which lines of one container were had, by stream and stamp; lines up to `floor` never count."""

    floor: int = 0
    last: int = 0
    had: Counter[Key] = field(default_factory=Counter)

    @property
    def since(self) -> int:
        """Where the next read begins."""
        return max(0, self.last - OVERLAP, min(self.floor, self.last))

    def reading(self) -> Callable[[int, int], bool]:
        """One read from `since` on: says of each line whether it is news."""
        met: Counter[Key] = Counter()

        def is_new(stream: int, stamp: int) -> bool:
            met[stream, stamp] += 1
            if stamp <= self.floor or met[stream, stamp] <= self.had[stream, stamp]:
                return False
            self.had[stream, stamp] += 1
            self.last = max(self.last, stamp)
            for known in (met, self.had):
                if len(known) > KEPT:
                    self._forget(known)
            return True

        return is_new

    def _forget(self, known: Counter[Key]) -> None:
        """What no read brings again."""
        for key in [key for key in list(known)[: KEPT // 2] if key[1] < self.last - 2 * OVERLAP]:
            del known[key]


class Tail:
    """All containers of a selector, from its opening on; `take` gets each line, without its end."""

    def __init__(self, containers: Containers, engine: Engine, take: Take, *, previous: bool) -> None:
        self._wanted, self._engine, self._take = containers.wanted, engine, take
        self._previous, self._ended = previous, False
        self._books: dict[str, Book] = {}
        self._tty: dict[str, bool] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._search: asyncio.Task[None] | None = None
        self._last: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Remember where each log ends. Raises TargetError."""
        for one in await self._engine.listed(self._wanted):
            floor = 0 if self._previous else await self._end(one["Id"])
            self._books[one["Id"]] = Book(floor, floor)
        self._search = asyncio.create_task(self._keep_searching())

    async def look(self) -> bool:
        """Take what is new; says whether there is any container. Raises TargetError."""
        if self._last is not None:
            await asyncio.shield(self._last)
            return bool(self._books)
        return bool(await self._read_all())

    def end_here(self) -> None:
        """One more read, begun now; what is written after it is never taken."""
        self._last = asyncio.create_task(self._read_last())

    async def close(self) -> None:
        tasks = [task for task in (self._search, self._last, *self._tasks.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one read --------------------------------------------------------------------------------------------------

    async def _read_last(self) -> None:
        """Until the engine has answered, and the streams of those that are removed by now have come to their ends."""
        found: list[str] | None = None
        while found is None:
            try:
                found = await self._read_all()
            except TargetError:
                await asyncio.sleep(AGAIN)
        if removed := [task for container, task in self._tasks.items() if container not in found]:
            await asyncio.wait(removed, timeout=LAST_WORDS)
        self._ended = True

    async def _read_all(self) -> list[str]:
        """The containers that there are. Raises TargetError."""
        found = await self._find()
        await asyncio.gather(*map(self._read, found))
        return found

    async def _find(self) -> list[str]:
        """The same; each is followed from now on."""
        found = [one["Id"] for one in await self._engine.listed(self._wanted)]
        for container in found:
            if container not in self._tasks:
                self._tasks[container] = asyncio.create_task(self._follow(container))
        return found

    async def _read(self, container: str) -> None:
        """What is new of one container, all or nothing. One that is removed meanwhile has been followed."""
        book, lines = self._books.setdefault(container, Book()), LINES
        with suppress(Gone):
            while True:
                got = [line async for line in self._lines(container, since=book.since, tail=lines)]
                if len(got) < lines:
                    break
                lines *= MORE
            self._offer(book.reading(), got)

    def _offer(self, is_new: Callable[[int, int], bool], lines: Sequence[tuple[int, int, str]]) -> None:
        for stream, stamp, text in lines:
            if not self._ended and is_new(stream, stamp):
                self._take(text)

    async def _end(self, container: str) -> int:
        """The stamp of the last line; 0 if there is none."""
        with suppress(Gone):
            return max([stamp async for _, stamp, _ in self._lines(container, tail=1)], default=0)
        return 0

    # --- following -------------------------------------------------------------------------------------------------

    async def _keep_searching(self) -> None:
        while not self._ended:
            with suppress(TargetError, OSError):
                await self._find()
            await asyncio.sleep(SEARCH)

    async def _follow(self, container: str) -> None:
        """Over all its restarts, until it is removed."""
        book = self._books.setdefault(container, Book())
        while not self._ended:
            try:
                is_new = book.reading()
                async for line in self._lines(container, since=book.since, follow=1):
                    self._offer(is_new, [line])
            except Gone:
                return
            except (TargetError, OSError):
                pass  # the next look says so
            await asyncio.sleep(AGAIN)

    # --- lines -----------------------------------------------------------------------------------------------------

    async def _lines(self, container: str, since: int = 0, **query: Any) -> AsyncIterator[tuple[int, int, str]]:
        """Stream, stamp, text."""
        if container not in self._tty:
            told = await self._engine.get(f"/containers/{container}/json")
            self._tty[container] = bool(told["Config"]["Tty"])
        asked = {"stdout": 1, "stderr": 1, "timestamps": 1, **query}
        if since:
            asked["since"] = f"{since // 10**9}.{since % 10**9:09d}"
        parser = Parser(tty=self._tty[container])
        async with self._engine.asked("GET", f"/containers/{container}/logs", asked) as (_, body):
            async for data in body:
                for line in parser.feed(data):
                    yield line


class Parser:
    """Frames of [stream, 0, 0, 0, length (4)] of one message each, or with a TTY the bare lines; each message begins
    with its stamp. A message without an end of line is a part of one: it has the stamp of its first part."""

    def __init__(self, *, tty: bool) -> None:
        self._tty, self._data = tty, b""
        self._parts: dict[int, tuple[int, bytes]] = {}

    def feed(self, data: bytes) -> Iterator[tuple[int, int, str]]:
        self._data += data
        for stream, message in self._messages():
            stamp, text = _stamped(message)
            first, begun = self._parts.pop(stream, (stamp, b""))
            whole = (begun + text)[:LONGEST]
            if text.endswith(b"\n"):
                yield stream, first, whole.decode("utf-8", "replace").rstrip("\r\n")
            else:
                self._parts[stream] = first, whole

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        if self._tty:
            *whole, self._data = self._data.split(b"\n")
            yield from ((1, line + b"\n") for line in whole)
            return
        at = 0
        while len(self._data) - at >= 8:
            end = at + 8 + int.from_bytes(self._data[at + 4 : at + 8], "big")
            if end > len(self._data):
                break
            yield self._data[at], self._data[at + 8 : end]
            at = end
        self._data = self._data[at:]


def _stamped(message: bytes) -> tuple[int, bytes]:
    """2026-01-31T10:00:00.123456789Z and a blank, in nanoseconds; 0 for what bears none."""
    stamp, _, text = message.partition(b" ")
    head, _, fraction = stamp.rstrip(b"Z").partition(b".")
    try:
        whole = calendar.timegm(time.strptime(head.decode("ascii"), "%Y-%m-%dT%H:%M:%S"))
        return whole * 10**9 + int(fraction.ljust(9, b"0")[:9] or 0), text
    except ValueError:
        return 0, message
