"""HTTP/1.1 over a few connections that are kept: for an order flow, where a connection for each order would cost more
than the order.

One request, one answer, never a retry. A connection that the server closes before a whole answer came, kept or new,
ends the request with an error: whether it arrived is not known. It is made for speed (some 50 µs a request); probes,
which look once and want every detail, use h11.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult

#: Connections kept while nothing is asked.
IDLE = 64
#: Bytes of an answer's head, of a whole answer.
HEAD, LARGEST = 1 << 16, 1 << 28


class Answer(NamedTuple):
    status: int
    #: names in lower case
    headers: Mapping[str, str]
    body: bytes


class Protocol(ValueError):
    """The server's answer is no HTTP."""


class Pool:
    """Connections to one server."""

    def __init__(self, url: SplitResult, trust: ssl.SSLContext | None = None) -> None:
        """`trust` for https."""
        self._host = url.hostname or ""
        self._port = url.port or (443 if trust else 80)
        self._trust = trust
        self._idle: list[_Connection] = []

    async def ask(self, request: bytes) -> Answer:
        """Raises OSError (a ConnectionError without a number where the server closed) and Protocol."""
        connection = self._kept() or await self._connected()
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.abort()
            raise
        if connection.reusable and len(self._idle) < IDLE:
            self._idle.append(connection)
        else:
            connection.abort()
        return answer

    def close(self) -> None:
        while self._idle:
            self._idle.pop().abort()

    def _kept(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        return None

    async def _connected(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            _Connection, self._host, self._port, ssl=self._trust, server_hostname=self._host if self._trust else None
        )
        return connection


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.open = False
        self.reusable = False
        self._transport: Any = None
        self._answer: asyncio.Future[Answer] | None = None
        self._reader = _Reader()

    async def ask(self, request: bytes) -> Answer:
        self._reader, self.reusable = _Reader(), False
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def abort(self) -> None:
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.open = transport, True

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.abort()  # what nobody asked for
            return
        try:
            answer = self._reader.take(data)
        except ValueError as error:
            self._answer.set_exception(error if isinstance(error, Protocol) else Protocol(str(error)))
            return
        if answer is not None:
            self.reusable = self._reader.keeps
            self._answer.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self._answer is None or self._answer.done():
            return
        if error is None and (answer := self._reader.ended()) is not None:
            self._answer.set_result(answer)
        else:
            self._answer.set_exception(error or ConnectionError("closed"))


class _Reader:
    """The bytes of one answer, until it is whole."""

    def __init__(self) -> None:
        self._data = bytearray()
        #: the chunks so far
        self._body = bytearray()
        self._head: tuple[int, dict[str, str]] | None = None
        #: bytes of the body; -1: in chunks; None: until the end of the connection
        self._length: int | None = 0
        self.keeps = False

    def take(self, data: bytes) -> Answer | None:
        """The answer, once it is whole. Raises ValueError for what is none."""
        self._data += data
        while self._head is None:
            if not self._read_head():
                return None
        if len(self._data) + len(self._body) > LARGEST:
            raise Protocol("too large")
        if self._length is None:
            return None
        body = self._chunked() if self._length < 0 else self._counted(self._length)
        return None if body is None else Answer(*self._head, body)

    def ended(self) -> Answer | None:
        """The answer if it was to last until the end of the connection."""
        return Answer(*self._head, bytes(self._data)) if self._head and self._length is None else None

    def _counted(self, length: int) -> bytes | None:
        if len(self._data) > length:
            self.keeps = False
        return bytes(self._data[:length]) if len(self._data) >= length else None

    def _chunked(self) -> bytes | None:
        """The body, once its last chunk is there."""
        while (end := self._data.find(b"\r\n")) >= 0:
            size = int(bytes(self._data[:end]).split(b";")[0], 16)
            if size < 0:
                raise Protocol("no size of a chunk")
            if size == 0:
                return bytes(self._body) if self._data.find(b"\r\n", end + 2) >= 0 else None
            if len(self._data) < end + 2 + size + 2:
                return None
            self._body += self._data[end + 2 : end + 2 + size]
            del self._data[: end + 2 + size + 2]
        return None

    def _read_head(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > HEAD:
                raise Protocol("no end of the head")
            return False
        version, status, headers = _head(bytes(self._data[:end]))
        del self._data[: end + 4]
        if status >= 200:
            self._head = status, headers
            self._length = _length(status, headers)
            asked = headers.get("connection", "").lower()
            self.keeps = self._length is not None and version == b"HTTP/1.1" and "close" not in asked
        return True


def _head(data: bytes) -> tuple[bytes, int, dict[str, str]]:
    first, *lines = data.split(b"\r\n")
    version, _, rest = first.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit() or len(rest[:3]) != 3:
        raise Protocol("no status line")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise Protocol("no header")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return version, int(rest[:3]), headers


def _length(status: int, headers: Mapping[str, str]) -> int | None:
    if status in (204, 304):
        return 0
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return -1
    said = headers.get("content-length")
    if said is None:
        return None
    if not said.isdecimal():
        raise Protocol("no content-length")
    return int(said)
