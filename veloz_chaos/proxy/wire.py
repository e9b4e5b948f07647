"""One connection: what has come and was not taken yet, and whether the other side is done with it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from veloz_chaos.proxy.message import LONGEST_HEAD, BadMessage

#: Reading pauses while so much waits to be taken.
FULL = 262_144
BLANK = b"\r\n\r\n"


def _nothing() -> None:
    pass


class Wire(asyncio.Protocol):
    """`made` is called when it stands, `gone` once when the other side has ended it, by FIN or RST."""

    transport: asyncio.Transport

    def __init__(self, made: Callable[[], None] = _nothing, gone: Callable[[], None] = _nothing) -> None:
        self._made, self._gone = made, gone
        self.came, self.ended, self._lost = bytearray(), False, False
        self._more: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._made()

    def data_received(self, data: bytes) -> None:
        self.came += data
        if len(self.came) > FULL:
            self.transport.pause_reading()
        _wake(self._more)

    def eof_received(self) -> bool:
        self._end()
        return self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._lost = True
        _wake(self._room)
        self._end()

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        _wake(self._room)
        self._room = None

    async def head(self) -> bytes | None:
        """The bytes before the next blank line; None if it ends before. Raises BadMessage if that does not come."""
        start = 0
        while (end := self.came.find(BLANK, start)) < 0:
            if len(self.came) > LONGEST_HEAD:
                raise BadMessage("an endless head")
            start = max(0, len(self.came) - 3)
            if not await self.more():
                return None
        head = self.take(end)
        self.take(len(BLANK))
        return head.lstrip(b"\r\n")

    async def more(self) -> bool:
        """Wait for more than there is; False if nothing more comes."""
        if self.ended:
            return False
        before = len(self.came)
        self.transport.resume_reading()
        self._more = asyncio.get_running_loop().create_future()
        await self._more
        return len(self.came) > before

    async def piece(self) -> bytes:
        """What there is, or comes next; empty at the end."""
        if not self.came:
            await self.more()
        return self.take(len(self.came))

    def take(self, size: int) -> bytes:
        taken = bytes(self.came[:size])
        del self.came[:size]
        return taken

    async def write(self, data: bytes) -> None:
        """Returns when there is room for more, or nobody takes it any more."""
        if not self._lost and data:
            self.transport.write(data)
            if self._room:
                await self._room

    def close(self) -> None:
        """After what was written."""
        self.transport.close()

    def reset(self) -> None:
        """Linger of no seconds: RST instead of FIN."""
        connection: socket.socket | None = self.transport.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            _wake(self._more)
            self._gone()


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting and not waiting.done():
        waiting.set_result(None)
