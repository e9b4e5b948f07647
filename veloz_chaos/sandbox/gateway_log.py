"""The gateway's log: rotated at 1 MB, and going on when its volume is full, as long as there is anything to remove.

A heartbeat line shows that logging goes on. Nothing here ever raises or blocks: a line that cannot be written is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from veloz_chaos.sandbox.settings import Settings
from veloz_chaos.sandbox.volume import LOG, Volume

log = logging.getLogger("gateway")
ROTATE_AT, KEPT = 1 << 20, 3
BEAT_EVERY, DISK_EVERY = 0.25, 0.2
#: Bytes, and seconds: full is said at once, and taken back once there has been room for so long.
FULL_BELOW, ROOM_FOR = 256 << 10, 1.0


class LogFile(logging.Handler):
    """Opens the file for every line, so that an operator may move or remove it at any time.

    With `rotates` false, for the flaw of that name, the file grows, and with a full volume lines are dropped.
    """

    def __init__(self, volume: Volume, rotates: bool = True) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._volume, self._rotates, self._torn = volume, rotates, False
        self.path = volume.path / LOG
        self.removed: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{self.format(record)}\n".encode()
        with contextlib.suppress(OSError):
            self._put(b"\n" + line if self._torn else line)

    def _put(self, line: bytes) -> None:
        if self._rotates and _size(self.path) + len(line) > ROTATE_AT:
            self._rotate()
        rest = self._write(line)
        while rest and self._rotates and self._make_room():
            rest = self._write(rest)
        self._torn = 0 < len(rest) < len(line) or (self._torn and rest == line)

    def _write(self, data: bytes) -> bytes:
        """What did not fit."""
        try:
            return data[self._volume.append(self.path, data) :]
        except OSError as problem:
            if problem.errno != errno.ENOSPC:
                raise
            return data

    def _rotate(self) -> None:
        for older, newer in zip(_oldest_first(self.path), [*_oldest_first(self.path)][1:], strict=False):
            if newer.exists():
                newer.rename(older)

    def _make_room(self) -> bool:
        """Remove the oldest file there is, in the end the present one; False if there was nothing left to remove."""
        for file in _oldest_first(self.path):
            if _size(file):
                self.removed.append(file.name)
                file.unlink()
                return True
        return False


def _oldest_first(path: Path) -> Iterator[Path]:
    yield from (path.with_name(f"{path.name}.{number}") for number in range(KEPT, 0, -1))
    yield path


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


class DiskWatch:
    """`on_change(status, free)` is called when the volume is found full, and when it has had room for a second."""

    def __init__(self, volume: Volume, on_change: Callable[[str, int], None]) -> None:
        self._volume, self._on_change = volume, on_change
        self.status, self.free = "ok", volume.free()
        self._full_at = 0.0

    def part(self) -> dict[str, Any]:
        return {"status": self.status, "free_bytes": self.free}

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(DISK_EVERY)

    def look(self) -> None:
        self.free, now = self._volume.free(), time.monotonic()
        if self.free < FULL_BELOW:
            self._full_at = now
        status = "full" if self._full_at and now < self._full_at + ROOM_FOR else "ok"
        if status != self.status:
            self.status = status
            self._on_change(status, self.free)


def start(settings: Settings, volume: Volume) -> LogFile:
    handler = LogFile(volume, rotates=not settings.has("no-log-rotation"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    return handler


async def beat(handler: LogFile, alive: Callable[[], str]) -> None:
    """Four lines a second say that the gateway is alive, and what it had to remove to be able to say so."""
    while True:
        if handler.removed:
            log.warning("log volume full: removed %s", ", ".join(handler.removed))
            handler.removed.clear()
        log.info("alive: %s", alive())
        await asyncio.sleep(BEAT_EVERY)


@web.middleware
async def log_orders(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A line for every POST: its path, status and milliseconds."""
    if request.method != "POST":
        return await handler(request)
    begun = time.monotonic()
    response = await handler(request)
    log.info("%s %s %d %.1f ms", request.method, request.path, response.status, (time.monotonic() - begun) * 1000)
    return response
