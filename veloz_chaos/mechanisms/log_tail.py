"""What containers write to their output, each line once, whatever platform keeps it.

Every read is by the platform's own stamps (one clock, its own, compared with nothing else): it begins OVERLAP before
the last line known and leaves out what was had already, so that no reconnection loses a line or brings it twice, not
even one of stdout that was stamped before, but written after, one of stderr.

A look asks for itself what is new, so that what it does not show was not there. Beside that each container's stream is
followed: only thus its last lines are had if it is removed between two looks. A container that restarts goes on in
the same log, or is another one; one that is made anew is found by its selector and read from its start.
"""

from __future__ import annotations

import asyncio
import calendar
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from veloz_chaos.errors import Gone, TargetError

#: Of the platform's clock, in nanoseconds.
OVERLAP = 1_000_000_000
#: Lines and parts of lines asked for in one read, and that many times more if those were not all.
LINES, MORE = 1000, 10
#: Between two attempts at a container's stream, and two looks at which containers there are. Seconds.
AGAIN, SEARCH = 0.1, 0.2
#: The stream of a container that is removed ends within this. Seconds.
LAST_WORDS = 1.0
#: Lines remembered, about: more only if more come within two overlaps.
KEPT = 50_000
#: No platform keeps a line in smaller parts. Bytes.
PART = 1 << 10
#: A line is cut off beyond this. Bytes.
LONGEST = 1 << 20

Take = Callable[[str], None]
Key = tuple[int, int]
#: Stream, stamp, text; no text: a part of a line, which a platform counts as one of those asked for.
Line = tuple[int, int, str | None]


class Source(Protocol):
    """The containers of a selector. All raise TargetError."""

    async def listed(self) -> list[str]:
        """Each under a name that stays its own; those of several starts of one container begin alike, up to a slash."""

    def lines(
        self, container: str, since: int = 0, tail: int | None = None, *, follow: bool = False
    ) -> AsyncIterator[Line]:
        """From that stamp on; of the last so many, parts counted; those to come too. Raises Gone if there are none any
        more."""


@dataclass
class Book:
    """Which lines of one container were had, by stream and stamp; lines up to `floor` never count.

    `whose`: which of its starts had them first. A kubelet may know of more starts than its API server, and so give the
    lines of a later one for those of an earlier one.
    """

    floor: int = 0
    last: int = 0
    had: Counter[Key] = field(default_factory=Counter)
    whose: dict[Key, Book] = field(default_factory=dict)

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
            first = self.whose.setdefault((stream, stamp), self)
            for known in (met, self.had, self.whose):
                if len(known) > KEPT:
                    self._forget(known)
            return first is self

        return is_new

    def _forget(self, known: dict[Key, Any]) -> None:
        """What no read brings again."""
        for key in [key for key in list(known)[: KEPT // 2] if key[1] < self.last - 2 * OVERLAP]:
            del known[key]


class Tail:
    """All containers of a selector, from its opening on; `take` gets each line, without its end."""

    def __init__(self, source: Source, take: Take, *, previous: bool) -> None:
        self._source, self._take = source, take
        self._previous, self._ended = previous, False
        self._books: dict[str, Book] = {}
        self._whose: dict[str, dict[Key, Book]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._search: asyncio.Task[None] | None = None
        self._last: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Remember where each log ends. Raises TargetError."""
        for one in await self._source.listed():
            floor = 0 if self._previous else await self._end(one)
            self._book(one, floor)
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

    def _book(self, container: str, floor: int = 0) -> Book:
        whose = self._whose.setdefault(container.rpartition("/")[0] or container, {})
        return self._books.setdefault(container, Book(floor, floor, whose=whose))

    # --- one read --------------------------------------------------------------------------------------------------

    async def _read_last(self) -> None:
        """Until the platform has answered, and the streams of those that are removed by now have come to their ends."""
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
        found = await self._source.listed()
        for container in found:
            if container not in self._tasks:
                self._tasks[container] = asyncio.create_task(self._follow(container))
        return found

    async def _read(self, container: str) -> None:
        """What is new of one container, all or nothing. One that is removed meanwhile has been followed."""
        book, lines = self._book(container), LINES
        with suppress(Gone):
            while True:
                got = [line async for line in self._source.lines(container, book.since, lines)]
                if len(got) < lines:
                    break
                lines *= MORE
            self._offer(book.reading(), got)

    def _offer(self, is_new: Callable[[int, int], bool], lines: Sequence[Line]) -> None:
        for stream, stamp, text in lines:
            if text is not None and not self._ended and is_new(stream, stamp):
                self._take(text)

    async def _end(self, container: str) -> int:
        """The stamp of the last line; 0 if there is none."""
        with suppress(Gone):
            return max([stamp async for _, stamp, _ in self._source.lines(container, tail=1)], default=0)
        return 0

    # --- following -------------------------------------------------------------------------------------------------

    async def _keep_searching(self) -> None:
        while not self._ended:
            with suppress(TargetError, OSError):
                await self._find()
            await asyncio.sleep(SEARCH)

    async def _follow(self, container: str) -> None:
        """Over all its restarts, until it is removed."""
        book = self._book(container)
        while not self._ended:
            try:
                is_new = book.reading()
                async for line in self._source.lines(container, book.since, follow=True):
                    self._offer(is_new, [line])
            except Gone:
                return
            except (TargetError, OSError):
                pass  # the next look says so
            await asyncio.sleep(AGAIN)


def parts(line: bytes) -> list[Line]:
    """As many as a line may have been kept in that a platform has joined; the last of them is the line, or, if it has
    no end yet, what there is of it."""
    return [(0, 0, None)] * -(-len(line) // PART)


def stamped(message: bytes) -> tuple[int, bytes]:
    """2026-01-31T10:00:00.123456789Z (or …+08:00) and a blank, in nanoseconds; 0 for what bears none."""
    stamp, _, text = message.partition(b" ")
    try:
        written = stamp.decode("ascii")
        zone = 0
        if written[-6:-5] in ("+", "-"):
            zone = int(written[-6] + "1") * (int(written[-5:-3]) * 3600 + int(written[-2:]) * 60)
            written = written[:-6]
        head, _, fraction = written.rstrip("Z").partition(".")
        whole = calendar.timegm(time.strptime(head, "%Y-%m-%dT%H:%M:%S")) - zone
        return whole * 10**9 + int(fraction.ljust(9, "0")[:9] or 0), text
    except ValueError:
        return 0, message
