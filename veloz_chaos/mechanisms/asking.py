"""One HTTP request over one new connection, bounded in time as a whole: no redirect, no retry, no proxy."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

import h11

from veloz_chaos.core.capability import Answer

#: Bytes kept of a body.
LIMIT = 1 << 20
PIECE = 65536


def ask(
    address: tuple[str, int], method: str, path: str, headers: Mapping[str, str], body: bytes, timeout: float
) -> Answer:
    """refused: nobody is there. reset: it ended before a whole head came, or no HTTP came. silent: nothing in time."""
    deadline = time.monotonic() + timeout
    try:
        connection = socket.create_connection(_resolved(address, timeout), timeout)
    except TimeoutError:
        return Answer("silent", timeout)
    except OSError:
        return Answer("refused", 0.0)
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = h11.Connection(our_role=h11.CLIENT)
        head = {
            "host": f"{address[0]}:{address[1]}",
            "connection": "close",
            "content-length": str(len(body)),
            **headers,
        }
        request = h11.Request(method=method, target=path, headers=[*head.items()])
        sent = b"".join(wire.send(event) or b"" for event in (request, h11.Data(data=body), h11.EndOfMessage()))
        begun = time.monotonic()
        answer = _exchanged(connection, wire, sent, deadline)
        return replace(answer, seconds=time.monotonic() - begun)


def _exchanged(connection: socket.socket, wire: h11.Connection, sent: bytes, deadline: float) -> Answer:
    answer = Answer("reset", 0.0)
    try:
        connection.sendall(sent)
        while not answer.complete and len(answer.body) < LIMIT:
            answer = _after(answer, _event(connection, wire, deadline))
    except TimeoutError:
        return answer if answer.status else replace(answer, outcome="silent")
    except (OSError, EOFError, h11.RemoteProtocolError):
        pass
    return answer


def _after(answer: Answer, event: object) -> Answer:
    if isinstance(event, h11.Response):
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        return Answer("answered", 0.0, event.status_code, headers)
    if isinstance(event, h11.Data):
        return replace(answer, body=answer.body + bytes(event.data))
    return replace(answer, complete=isinstance(event, h11.EndOfMessage))


def _event(connection: socket.socket, wire: h11.Connection, deadline: float) -> object:
    """Raises OSError, TimeoutError, EOFError, RemoteProtocolError."""
    while (event := wire.next_event()) is h11.NEED_DATA:
        if wire.trailing_data[1]:
            raise EOFError
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        wire.receive_data(connection.recv(PIECE))
    return event


def _resolved(address: tuple[str, int], timeout: float) -> tuple[str, int]:
    """A resolver may hang, and nothing else bounds it. Raises OSError, TimeoutError."""
    with suppress(OSError):
        socket.getaddrinfo(*address, flags=socket.AI_NUMERICHOST)
        return address
    found: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=lambda: found.put(_looked_up(address)), daemon=True).start()
    try:
        outcome = found.get(timeout=timeout)
    except Empty:
        raise TimeoutError from None
    if isinstance(outcome, OSError):
        raise outcome
    return str(outcome[0]), int(outcome[1])


def _looked_up(address: tuple[str, int]) -> Any:
    try:
        return socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][4][:2]
    except OSError as error:
        return error
