"""What has gone through a fault proxy since the run began: how many requests, with what gaps, and whether any came
before the time that a 429 or 418 had named. Our own looks are not among them."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.errors import Unavailable, UsageError
from veloz_chaos.probes import dial, parsed, why

LIMIT = 1 << 20  # bytes of an answer
COUNTS = ("passed", "answered", "failed", "early", "looks")


@dataclass(config=ConfigDict(extra="forbid"))
class Traffic(Probe):
    """`json`: passed, answered (by a fault), failed, early, open, longest_gap_ms, last_age_ms, faults; `value`: all
    requests. `error`: refused, reset, closed, `not a fault proxy`, `no such proxy`."""

    proxy: str = Field(min_length=1)
    api: str = "127.0.0.1:8475"

    def __post_init__(self) -> None:
        self._before: dict[str, Any] = {}
        if "${" not in self.api:
            _split(self.api)

    def address(self) -> str:
        """`host:port` of the API as it is written, templates unfilled."""
        return self.api

    async def open(self, eye: Eye) -> None:
        """Remember the counts of before. Raises Unavailable: without them nobody knows what is of this run."""
        self._before = {}
        try:
            seen = await self.look(eye)
        except TimeoutError:
            seen = Seen(error="silent")
        if seen.error:
            raise Unavailable(f"traffic: proxy {self.proxy} at {eye.fill(self.api)} cannot be asked: {seen.error}")
        self._before = seen.json

    async def look(self, eye: Eye) -> Seen:
        async with asyncio.timeout(eye.timeout.total_seconds()):
            try:
                status, text = await self._asked(*self._place(eye))
            except OSError as error:
                return Seen(error=why(error))
        told = parsed(text)
        if status == 404 and isinstance(told, dict) and "error" in told:
            return Seen(status=status, text=text, error="no such proxy")
        if status != 200 or not isinstance(told, dict) or any(name not in told for name in (*COUNTS, "instance")):
            return Seen(status=status, text=text, error="not a fault proxy")
        return self._since(status, told, text)

    def _since(self, status: int, told: dict[str, Any], text: str) -> Seen:
        """A proxy that was started again counts from its start, which is of this run."""
        before = self._before if self._before.get("instance") == told["instance"] else {}
        counts = {name: told[name] - before.get(name, 0) for name in COUNTS}
        return Seen(status=status, json={**told, **counts}, text=text, value=counts["passed"] + counts["answered"])

    def _place(self, eye: Eye) -> tuple[str, int]:
        try:
            return _split(eye.fill(self.api))
        except ValueError as error:
            raise UsageError(f"{self.api}: {error}") from None

    async def _asked(self, host: str, port: int) -> tuple[int, str]:
        """Raises OSError."""
        since = self._before.get("now_ms", 0)
        where = f"/proxies/{quote(self.proxy, safe='')}/traffic?since={since}"
        reader, writer = await asyncio.open_connection(sock=await dial(host, port))
        try:
            writer.write(f"GET {where} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await _all(reader)).partition(b"\r\n\r\n")
        finally:
            writer.transport.abort()
        word = head[:12].rpartition(b" ")[2]
        return int(word) if word.isdigit() else 0, body.decode("utf-8", "replace")


async def _all(reader: asyncio.StreamReader) -> bytes:
    heard = bytearray()
    while len(heard) < LIMIT and (more := await reader.read(1 << 16)):
        heard += more
    return bytes(heard)


def _split(api: str) -> tuple[str, int]:
    host, _, port = api.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError("api is written host:port")
    return host.strip("[]"), int(port)


PROBE = Traffic
