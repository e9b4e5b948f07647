"""Traffic of our own, sent through a link to see what becomes of it.

One new connection, all requests written at once, as many answers awaited. An answer is recognised by a `Count`, which
is told every piece that arrives: HTTP/1.1 responses (RFC 9112, read leniently), a marker of a line protocol, or
PostgreSQL's word on TLS.
"""

from __future__ import annotations

import re
import select
import socket
import time
from dataclasses import dataclass
from typing import Literal, Protocol

from veloz_chaos.core.capability import Passage

Outcome = Literal["answered", "silent", "reset", "refused"]
PIECE = 65536


class Count(Protocol):
    """Counts the answers in a stream."""

    def fed(self, piece: bytes) -> int:
        """How many answers are complete, this piece included."""

    def ended(self) -> int:
        """How many are complete now that the other side has closed."""


class Ping(Protocol):
    """How to elicit an answer."""

    @property
    def request(self) -> bytes: ...

    def counter(self) -> Count: ...


@dataclass(frozen=True)
class Line:
    """Send a text, count how often the answer's marker comes back."""

    send: str
    answer: str

    @property
    def request(self) -> bytes:
        return self.send.encode()

    def counter(self) -> Count:
        return MarkerCount(self.answer.encode())


@dataclass(frozen=True)
class Http:
    """`GET path` on a kept connection; any status is an answer."""

    host: str
    path: str = "/"

    @property
    def request(self) -> bytes:
        return f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\nUser-Agent: veloz-chaos\r\n\r\n".encode()

    def counter(self) -> Count:
        return HttpCount()


@dataclass(frozen=True)
class PostgreSQL:
    """Ask for TLS, as every client of PostgreSQL may before it says who it is: "S" or "N" is an answer.

    A connection answers that once: one ping at a time. https://www.postgresql.org/docs/current/protocol-flow.html
    """

    @property
    def request(self) -> bytes:
        return b"\x00\x00\x00\x08\x04\xd2\x16\x2f"

    def counter(self) -> Count:
        return FirstByteCount(b"SN")


class FirstByteCount:
    def __init__(self, wanted: bytes) -> None:
        self.wanted, self.first = wanted, b""

    def fed(self, piece: bytes) -> int:
        self.first = self.first or piece[:1]
        return self.ended()

    def ended(self) -> int:
        return int(self.first != b"" and self.first in self.wanted)


class MarkerCount:
    def __init__(self, marker: bytes) -> None:
        self.marker, self.rest, self.answers = marker, b"", 0

    def fed(self, piece: bytes) -> int:
        *whole, self.rest = (self.rest + piece).split(self.marker)
        self.answers += len(whole)
        return self.answers

    def ended(self) -> int:
        return self.answers


class HttpCount:
    """Lengths and chunks only; a body with neither lasts until the connection ends."""

    def __init__(self) -> None:
        self.rest, self.answers, self.until_end = bytearray(), 0, False

    def fed(self, piece: bytes) -> int:
        self.rest += piece
        while not self.until_end and (size := self._size()) is not None:
            del self.rest[:size]
        return self.answers

    def ended(self) -> int:
        return self.answers + self.until_end

    def _size(self) -> int | None:
        """Bytes of the response at the front; None while it is incomplete."""
        head_end = self.rest.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        head, start = bytes(self.rest[:head_end]).lower(), head_end + 4
        size = self._body_end(head, start)
        if size is None or size > len(self.rest):
            return None
        self.answers += not _interim(head)
        return size

    def _body_end(self, head: bytes, start: int) -> int | None:
        if _interim(head) or re.match(rb"http/1\.\d (204|304)", head):
            return start
        if re.search(rb"\r\ntransfer-encoding:[^\r]*chunked", head):
            return _chunks_end(self.rest, start)
        if length := re.search(rb"\r\ncontent-length:\s*(\d+)", head):
            return start + int(length[1])
        self.until_end = True
        return None


def _interim(head: bytes) -> bool:
    return re.match(rb"http/1\.\d 1\d\d", head) is not None


def _chunks_end(data: bytearray, start: int) -> int | None:
    """Where the chunked body that begins at `start` ends, its trailer included; None while it is incomplete."""
    while line := re.compile(rb"([0-9a-fA-F]+)[^\n]*\n").match(data, start):
        size, start = int(line[1], 16), line.end()
        if size == 0:
            trailer = re.compile(rb"(?:[^\r\n]+\r?\n)*\r?\n").match(data, start)
            return trailer.end() if trailer else None
        start += size + 2
    return None


def pass_through(address: tuple[str, int], ping: Ping, pings: int, timeout: float) -> Passage:
    """Connect, send `pings` requests at once, await as many answers for `timeout` seconds.

    refused: nobody listens there, or nobody is reachable. reset: the other side ended the connection, by RST or by
    FIN, before all was answered. silent: neither connection nor answer in time.
    """
    try:
        connection = socket.create_connection(address, timeout)
    except TimeoutError:
        return Passage("silent", timeout, 0)
    except OSError:
        return Passage("refused", 0.0, 0)
    with connection:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Exchange(connection, ping, pings).run(timeout)


def handshake(address: tuple[str, int], timeout: float) -> Passage:
    """Connect, and no more: one packet there and one back. refused: somebody says no, or nobody is reachable."""
    begun = time.monotonic()
    try:
        with socket.create_connection(address, timeout):
            return Passage("answered", time.monotonic() - begun, 0)
    except TimeoutError:
        return Passage("silent", timeout, 0)
    except OSError:
        return Passage("refused", time.monotonic() - begun, 0)


class _Exchange:
    """Writes and reads at once, lest both sides wait for each other with full buffers."""

    def __init__(self, connection: socket.socket, ping: Ping, pings: int) -> None:
        self.connection, self.pings, self.count = connection, pings, ping.counter()
        self.unsent, self.received = memoryview(ping.request * pings), 0

    def run(self, timeout: float) -> Passage:
        begun = time.monotonic()
        try:
            outcome = self._until(begun + timeout)
        except OSError:
            outcome = "reset"
        return Passage(outcome, time.monotonic() - begun, self.received)

    def _until(self, deadline: float) -> Outcome:
        poll = select.poll()
        while (left := deadline - time.monotonic()) > 0:
            poll.register(self.connection, select.POLLIN | (select.POLLOUT if self.unsent else 0))
            ready = dict(poll.poll(left * 1000)).get(self.connection.fileno(), 0)
            if ready & select.POLLOUT:
                self.unsent = self.unsent[self.connection.send(self.unsent[:PIECE]) :]
            if ready & ~select.POLLOUT and (outcome := self._read()):
                return outcome
        return "silent"

    def _read(self) -> Outcome | None:
        piece = self.connection.recv(PIECE)
        self.received += len(piece)
        answers = self.count.fed(piece) if piece else self.count.ended()
        if answers >= self.pings:
            return "answered"
        return None if piece else "reset"
