"""Connect once over TCP; say and hear something if asked to.

Without `expect` a connection is all: the kernel accepts for a paused process too, so that a look at a service which may
hang needs something that only the service itself can answer.
"""

from __future__ import annotations

import asyncio

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.errors import UsageError
from veloz_chaos.probes import dial, why

LIMIT = 1 << 20  # bytes of an answer


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Tcp(Probe):
    """`error`: refused, reset, unreachable, dns, or unexpected: the answer ended without what was expected."""

    connect: str
    send: str = ""
    expect: str = ""

    def __post_init__(self) -> None:
        if "${" not in self.connect:
            _split(self.connect)

    def address(self) -> str:
        """`host:port` as it is written, templates unfilled."""
        return self.connect

    async def look(self, eye: Eye) -> Seen:
        host, port = self._place(eye)
        async with asyncio.timeout(eye.timeout.total_seconds()):
            try:
                return await self._ask(host, port, eye)
            except OSError as error:
                return Seen(error=why(error))

    def _place(self, eye: Eye) -> tuple[str, int]:
        try:
            return _split(eye.fill(self.connect))
        except ValueError as error:
            raise UsageError(f"{self.connect}: {error}") from None

    async def _ask(self, host: str, port: int, eye: Eye) -> Seen:
        reader, writer = await asyncio.open_connection(sock=await dial(host, port))
        try:
            writer.write(eye.fill(self.send).encode())
            await writer.drain()
            return await _heard(reader, eye.fill(self.expect)) if self.expect else Seen()
        finally:
            writer.transport.abort()


async def _heard(reader: asyncio.StreamReader, expected: str) -> Seen:
    """Listen until it has come; `text` is all that came."""
    heard = bytearray()
    while expected.encode() not in heard:
        more = await reader.read(1 << 16)
        heard += more
        if not more or len(heard) > LIMIT:
            return Seen(text=heard[:LIMIT].decode("utf-8", "replace"), error="unexpected")
    return Seen(text=heard.decode("utf-8", "replace"))


def _split(place: str) -> tuple[str, int]:
    """`[::1]:80` is a host too. Raises ValueError."""
    host, _, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError("connect is written host:port")
    return host, int(port)


PROBE = Tcp
