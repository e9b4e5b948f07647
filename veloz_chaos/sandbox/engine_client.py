"""The gateway's line to the engine: connect, HELLO, a heartbeat, and again from the start whenever it is lost.

Lost is: the connection ended, or no PONG for a second. Connected is: the engine answered HELLO.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

from veloz_chaos.sandbox.settings import LOOPBACK

HEARTBEAT = RECONNECT_AFTER = 0.2
LOST_AFTER = 1.0
REQUEST_TIMEOUT = 1.5


class EngineAway(Exception):
    """There is no engine to ask, or it went away before it answered."""


class EngineClient:
    """`on_change(connected, why)` is called at the moment of each change."""

    def __init__(self, port: int, on_change: Callable[[bool, str], None], host: str = LOOPBACK) -> None:
        self._host, self._port, self._on_change = host, port, on_change
        self._there = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)

    @property
    def connected(self) -> bool:
        return self._there.is_set()

    async def wait_connected(self) -> None:
        await self._there.wait()

    async def run(self) -> None:
        while True:
            why = "connection closed"
            try:
                await self._session()
            except TimeoutError:
                why = "no answer to the heartbeat"
            except (OSError, EOFError, ValueError) as problem:
                why = f"connection lost: {type(problem).__name__}"
            self._lost(why)
            await asyncio.sleep(RECONNECT_AFTER)

    async def request(self, kind: str, **fields: object) -> dict[str, Any]:
        """The engine's answer. Raises EngineAway, at once if it is not connected."""
        if not self.connected or self._writer is None:
            raise EngineAway
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(_line({"type": kind, "id": number, **fields}))
            return await asyncio.wait_for(answer, REQUEST_TIMEOUT)
        except TimeoutError:
            raise EngineAway from None
        finally:
            self._waiting.pop(number, None)

    async def _session(self) -> None:
        async with asyncio.timeout(LOST_AFTER):
            reader, self._writer = await asyncio.open_connection(self._host, self._port)
        try:
            self._writer.write(_line({"type": "HELLO"}))
            await _read(reader)
            self._there.set()
            self._on_change(True, "HELLO answered")
            await self._beat_and_read(reader, self._writer)
        finally:
            self._writer.close()

    async def _beat_and_read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beating = asyncio.create_task(_beat(writer))
        try:
            while True:
                self._deliver(await _read(reader))
        finally:
            beating.cancel()

    def _deliver(self, message: dict[str, Any]) -> None:
        waiting = self._waiting.get(message.get("id") or 0)
        if waiting and not waiting.done():
            waiting.set_result(message)

    def _lost(self, why: str) -> None:
        if not self.connected:
            return
        self._there.clear()
        self._on_change(False, why)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(EngineAway())


async def _read(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next message; the heartbeat makes sure that there is one in time. Raises TimeoutError, EOFError."""
    line = await _line_in_time(reader)
    if not line:
        raise EOFError
    message: dict[str, Any] = json.loads(line)
    return message


async def _line_in_time(reader: asyncio.StreamReader) -> bytes:
    """Raises TimeoutError. While this process itself stood still nobody was asked, and what came was not heard: that
    time does not count."""
    while True:
        asked = time.monotonic()
        try:
            async with asyncio.timeout(LOST_AFTER):
                return await reader.readline()
        except TimeoutError:
            if time.monotonic() - asked < LOST_AFTER + HEARTBEAT:
                raise


async def _beat(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(_line({"type": "PING"}))
        await asyncio.sleep(HEARTBEAT)


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"
