"""The kernel's packet queue (nfnetlink_queue): packets that a rule sends there wait for a verdict from here.

Spoken over a plain netlink socket; see linux/netfilter/nfnetlink_queue.h. Without a listener, rules with
`--queue-bypass` let everything pass; a queue that overflows does so too.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

DROP, REPEAT = 0, 4
#: Where the kernel meets a packet: on its way in, or out.
IN, OUT = 1, 3
_NETFILTER, _SUBSYSTEM = 12, 3
_PACKET, _VERDICT, _CONFIG = 0, 1, 2
_REQUEST, _ACK, _ERROR = 1, 4, 2
_SOL_NETLINK, _NO_ENOBUFS = 270, 5
_CFG_CMD, _CFG_PARAMS, _CFG_LENGTH, _CFG_MASK, _CFG_FLAGS = 1, 2, 3, 4, 5
_BIND, _COPY_PACKET, _FAIL_OPEN, _GSO = 1, 2, 1, 4
_A_HEADER, _A_VERDICT, _A_MARK, _A_PAYLOAD = 1, 2, 3, 10
_HEAD, _GENERIC, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct(">BBH"), struct.Struct("=HH")
LENGTH, BUFFER = 65_535, 8 << 20


@dataclass(frozen=True)
class Queued:
    """`hook`: IN or OUT. `mark`: what the kernel has noted on it so far."""

    number: int
    hook: int
    mark: int
    data: bytes


class Queue:
    """One queue of this network namespace. Raises OSError, EBUSY if another process listens to it."""

    def __init__(self, number: int) -> None:
        self.number, self._sequence = number, 0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, 33, BUFFER)  # SO_RCVBUFFORCE
        except OSError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._configure(attribute(_CFG_CMD, struct.pack(">BBH", _BIND, 0, 0)))
        self._configure(attribute(_CFG_PARAMS, struct.pack(">IB", 0xFFFF, _COPY_PACKET)))
        self._configure(attribute(_CFG_LENGTH, struct.pack(">I", LENGTH)))
        flags = struct.pack(">I", _FAIL_OPEN | _GSO)
        self._configure(attribute(_CFG_FLAGS, flags) + attribute(_CFG_MASK, flags))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def packets(self) -> Iterator[Queued]:
        """What has come; ends when there is no more for now."""
        while True:
            try:
                data = self._socket.recv(0x20000)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            yield from queued(data)

    def answer(self, number: int, verdict: int, mark: int = 0, data: bytes | None = None) -> None:
        """REPEAT sends it through the rules again, with its new mark, and with other content if `data` is given."""
        body = attribute(_A_VERDICT, struct.pack(">II", verdict, number)) + attribute(_A_MARK, struct.pack(">I", mark))
        self._send(_VERDICT, body + (attribute(_A_PAYLOAD, data) if data is not None else b""), 0)

    def _configure(self, body: bytes) -> None:
        self._send(_CONFIG, body, _ACK)
        answer = self._socket.recv(4096)
        kind, code = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, _HEAD.size)[0]
        if kind == _ERROR and code:
            raise OSError(-code, os.strerror(-code))

    def _send(self, kind: int, body: bytes, flags: int) -> None:
        self._sequence += 1
        length = _HEAD.size + _GENERIC.size + len(body)
        head = _HEAD.pack(length, _SUBSYSTEM << 8 | kind, _REQUEST | flags, self._sequence, 0)
        self._socket.send(head + _GENERIC.pack(socket.AF_UNSPEC, 0, self.number) + body)


def attribute(kind: int, value: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + size]
        at += size + -size % 4
    return found


def queued(data: bytes) -> Iterator[Queued]:
    """The packets in what one read of the socket gave."""
    at = 0
    while at + _HEAD.size <= len(data):
        length, kind, *_ = _HEAD.unpack_from(data, at)
        if length < _HEAD.size:
            return
        if kind == _SUBSYSTEM << 8 | _PACKET:
            told = attributes(data[at + _HEAD.size + _GENERIC.size : at + length])
            number, _, hook = struct.unpack(">IHB", told[_A_HEADER][:7])
            mark = struct.unpack(">I", told[_A_MARK])[0] if _A_MARK in told else 0
            yield Queued(number, hook, mark, told.get(_A_PAYLOAD, b""))
        at += length + -length % 4
