"""The gateway's log: rotated at 1 MB, and going on when its volume is full, as long as there is anything to remove.

A heartbeat line shows that logging goes on. Nothing here ever raises or blocks: a line that cannot be written is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from veloz_chaos.sandbox.settings import Settings
from veloz_chaos.sandbox.volume import LOG, Volume

log = logging.getLogger("gateway")
FORMAT = "%(asctime)s %(levelname)s %(message)s"
ROTATE_AT, KEPT = 1 << 20, 3
BEAT_EVERY, DISK_EVERY = 0.1, 0.2
#: Bytes, and seconds: full is said at once, and taken back once there has been room for so long.
FULL_BELOW, ROOM_FOR = 256 << 10, 1.0


class LogFile(logging.Handler):
    """Opens the file for every line, so that an operator may move or remove it at any time.

    When the volume is full it removes the oldest rotated file (`on_removed(name)`), and when there is none, begins the
    present one anew in the place that it has. With `rotates` false, for the flaw, the file grows, and when
    the volume is full lines are dropped: not even tried, for an attempt alone makes the file look freshly written.
    """

    def __init__(self, volume: Volume, on_removed: Callable[[str], None], rotates: bool = True) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT))
        self._volume, self._on_removed, self._rotates = volume, on_removed, rotates
        self.path = volume.path / LOG

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{self.format(record)}\n".encode()
        with contextlib.suppress(OSError):
            if self._rotates:
                self._write_somehow(line)
            elif self._volume.free() >= len(line):
                self._volume.append(self.path, line)

    def _write_somehow(self, line: bytes) -> None:
        if _size(self.path) + len(line) > ROTATE_AT:
            self._rotate()
        rest = self._append(line)
        while rest and self._remove_oldest():
            rest = self._append(rest)
        if rest:
            self._volume.begin_anew(self.path, line)

    def _append(self, data: bytes) -> bytes:
        """What did not fit."""
        try:
            return data[self._volume.append(self.path, data) :]
        except OSError as problem:
            if problem.errno != errno.ENOSPC:
                raise
            return data

    def _rotate(self) -> None:
        files = [*_rotated(self.path), self.path]
        for older, newer in itertools.pairwise(files):
            if newer.exists():
                newer.rename(older)

    def _remove_oldest(self) -> bool:
        """False if there is nothing to remove but the present file."""
        oldest = next((file for file in _rotated(self.path) if file.exists()), None)
        if oldest:
            oldest.unlink()
            self._on_removed(oldest.name)
        return oldest is not None


def _rotated(path: Path) -> list[Path]:
    """Oldest first."""
    return [path.with_name(f"{path.name}.{number}") for number in range(KEPT, 0, -1)]


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

    def told(self) -> str:
        return f"{self.free >> 10} KB free for logs"

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


def start(settings: Settings, volume: Volume, on_removed: Callable[[str], None]) -> None:
    log.addHandler(LogFile(volume, on_removed, rotates=not settings.has("no-log-rotation")))
    if settings.contained:
        log.addHandler(on_output())
    log.setLevel(logging.INFO)


def on_output() -> logging.Handler:
    """The same lines for whoever reads a container's log."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(FORMAT))
    return handler


async def beat(alive: Callable[[], str]) -> None:
    """Ten lines a second say that the gateway is alive, and that it can say so."""
    while True:
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
