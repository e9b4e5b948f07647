"""What the probes share: one attempt to connect, the word for its failure, the JSON of an answer.

Every attempt asks the resolver afresh, in a thread of its own: while a resolver hangs (the fault may be just that), the
next look must neither queue behind the last one nor keep the program from ending.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

#: Never more lookups at once: each holds a thread and a descriptor until the resolver gives up.
LOOKUPS = 128

Address = tuple[Any, ...]

_asking = threading.BoundedSemaphore(LOOKUPS)
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


def parsed(text: str) -> Any:
    """None if it isn't JSON; NaN and the infinities are not."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None


def _no_number(name: str) -> None:
    raise ValueError(name)


async def dial(host: str, port: int) -> socket.socket:
    """A socket connected to the first of the host's addresses that takes it. Raises OSError, TimeoutError."""
    failed: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
    for family, kind, protocol, _, address in _literal(host, port) or await _resolved(host, port):
        try:
            return await _connected(family, kind, protocol, address)
        except OSError as error:
            failed = error
    raise failed


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


async def _resolved(host: str, port: int) -> list[Address]:
    """Raises gaierror; TimeoutError if too many questions are still open."""
    if not _asking.acquire(blocking=False):
        raise TimeoutError(f"the resolver owes {LOOKUPS} answers")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Address]] = loop.create_future()

    def settle(settled: Callable[[Any], None], value: Any) -> None:
        if not answer.done():
            settled(value)

    def ask() -> None:
        outcome = _asked(host, port)
        settled = answer.set_exception if isinstance(outcome, Exception) else answer.set_result
        with suppress(RuntimeError):  # the loop is gone, and the look with it
            loop.call_soon_threadsafe(settle, settled, outcome)

    _start(ask)
    return await answer


def _start(ask: Callable[[], None]) -> None:
    try:
        threading.Thread(target=ask, daemon=True, name="lookup").start()
    except RuntimeError:
        _asking.release()
        raise


def _asked(host: str, port: int) -> list[Address] | Exception:
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except UnicodeError as error:
        return socket.gaierror(socket.EAI_NONAME, str(error))
    except OSError as error:
        return error
    finally:
        _asking.release()
