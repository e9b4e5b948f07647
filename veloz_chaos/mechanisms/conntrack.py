"""What the kernel remembers of talks in this network namespace: it asks the rules that redirect once for each talk.

One that was begun before a rule is not redirected by it, and one that was redirected goes on so when the rule is gone,
as long as packets come. Spoken over a plain netlink socket; see linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms.nfqueue import attribute, attributes

_NETFILTER, _SUBSYSTEM, _GET, _DELETE = 12, 1, 1, 2
_REQUEST, _ACK, _DUMP, _ERROR, _DONE = 1, 4, 0x300, 2, 3
_NESTED = 1 << 15
_HEAD, _GENERIC = struct.Struct("=IHHII"), struct.Struct(">BBH")
_A_ASKED, _A_ANSWERED, _A_PROTOCOL, _A_NUMBER, _A_SOURCE_PORT, _A_TARGET_PORT = 1, 2, 2, 1, 2, 3
#: Seconds for one answer of the kernel.
PATIENCE = 5.0


def forget(port: int) -> None:
    """Talks by UDP over IPv4 that were begun to that port, or are answered from it: for each the rules are asked anew.
    (One by TCP ends with whoever it was led to.) Raises TargetError."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as kernel:
            kernel.settimeout(PATIENCE)
            kernel.bind((0, 0))
            for asked in [asked for asked, ports in _known(kernel) if port in ports]:
                _delete(kernel, asked)
    except OSError as error:
        raise TargetError(f"the kernel does not forget what it redirects: {error.strerror or error}") from None


def _known(kernel: socket.socket) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """How each talk by UDP was begun; the port that was asked, and the one that answers."""
    _send(kernel, _GET, _DUMP, b"")
    for kind, body in _messages(kernel):
        if kind == _DONE:
            return
        told = attributes(body[_GENERIC.size :])
        asked, answered = (attributes(attributes(told[way])[_A_PROTOCOL]) for way in (_A_ASKED, _A_ANSWERED))
        if asked[_A_NUMBER][0] == socket.IPPROTO_UDP:
            yield told[_A_ASKED], (_number(asked[_A_TARGET_PORT]), _number(answered[_A_SOURCE_PORT]))


def _number(port: bytes) -> int:
    return int.from_bytes(port, "big")


def _delete(kernel: socket.socket, asked: bytes) -> None:
    """Nothing to do for one that has ended meanwhile."""
    _send(kernel, _DELETE, _ACK, attribute(_A_ASKED | _NESTED, asked))
    with suppress(FileNotFoundError):
        next(_messages(kernel))


def _send(kernel: socket.socket, kind: int, flags: int, body: bytes) -> None:
    length = _HEAD.size + _GENERIC.size + len(body)
    head = _HEAD.pack(length, _SUBSYSTEM << 8 | kind, _REQUEST | flags, 1, 0)
    kernel.send(head + _GENERIC.pack(socket.AF_INET, 0, 0) + body)


def _messages(kernel: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Their kinds and bodies. Raises OSError for an error that is told."""
    while True:
        data, at = kernel.recv(0x20000), 0
        while at + _HEAD.size <= len(data):
            length, kind, *_ = _HEAD.unpack_from(data, at)
            body = data[at + _HEAD.size : at + length]
            if kind == _ERROR and (code := struct.unpack_from("=i", body)[0]):
                raise OSError(-code, os.strerror(-code))
            yield kind, body
            at += length + -length % 4
