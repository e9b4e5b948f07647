"""One attempt to connect, and the word for its failure. Every attempt asks the resolver afresh."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import suppress
from typing import Any

from veloz_chaos.mechanisms.aside import aside

Address = tuple[Any, ...]

_WORDS = {
    errno.ECONNREFUSED: "refused", errno.ENOENT: "refused",
    errno.ECONNRESET: "reset", errno.EPIPE: "reset", errno.ECONNABORTED: "reset",
    errno.EHOSTUNREACH: "unreachable", errno.ENETUNREACH: "unreachable", errno.EHOSTDOWN: "unreachable",
    errno.ENETDOWN: "unreachable", errno.EADDRNOTAVAIL: "unreachable", errno.EAFNOSUPPORT: "unreachable",
    errno.EACCES: "unreachable", errno.EPERM: "unreachable", errno.ENOPROTOOPT: "unreachable",
}  # fmt: skip


def why(error: OSError) -> str:
    """One word for a failed attempt. What is not the other side's doing (no descriptors left) is raised again."""
    if isinstance(error, socket.gaierror):
        return "dns"
    if isinstance(error, ConnectionError) and error.errno is None:  # asyncio's, for an end of file
        return "closed"
    if error.errno not in _WORDS:
        raise error
    return _WORDS[error.errno]


async def dial(host: str, port: int) -> socket.socket:
    """A socket connected to the first of the host's addresses that takes it. Raises OSError, TimeoutError."""
    failed: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
    for family, kind, protocol, _, address in await addresses(host, port):
        try:
            return await _connected(family, kind, protocol, address)
        except OSError as error:
            failed = error
    raise failed


async def addresses(host: str, port: int) -> list[Address]:
    """As `socket.getaddrinfo` has them. Raises gaierror; TimeoutError if too many questions are still open."""
    return _literal(host, port) or await aside(lambda: _resolved(host, port))


async def _connected(family: int, kind: int, protocol: int, address: Address) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _literal(host: str, port: int) -> list[Address]:
    """The address if it is written as one, so that no resolver is asked; else nothing."""
    with suppress(socket.gaierror, UnicodeError):
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    return []


def _resolved(host: str, port: int) -> list[Address]:
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
