"""Servers that misbehave, for whoever has to cope with them: each answers every connection with what it is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[[socket.socket], None]


def saying(text: bytes) -> Answer:
    """Read a request, say this, close."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text)

    return answer


def http(status: str, body: bytes, kind: str = "application/json") -> Answer:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return saying(head.encode() + body)


def silence(connection: socket.socket) -> None:
    """Accept, read, never answer, until the other side closes."""
    while connection.recv(65536):
        pass


def trickle(connection: socket.socket) -> None:
    """One byte of an endless answer at a time, as long as the other side listens."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    connection.settimeout(0.1)
    while True:
        connection.sendall(b" ")
        with suppress(TimeoutError):
            connection.recv(65536)


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The address of a server that gives each connection to `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, answer), daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, answer: Answer) -> None:
    with suppress(OSError):
        while True:
            threading.Thread(target=_answer, args=(listener.accept()[0], answer), daemon=True).start()


def _answer(connection: socket.socket, answer: Answer) -> None:
    with connection, suppress(OSError):
        answer(connection)
