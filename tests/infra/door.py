"""A way to a server through a TCP port of this machine, which can be shut: all connections are cut then."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Door:
    """`dial`: a new connection to the server behind it."""

    def __init__(self, dial: Callable[[], socket.socket]) -> None:
        self._dial = dial
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.host = f"tcp://127.0.0.1:{self.port}"
        self._open, self._through = True, list[socket.socket]()
        threading.Thread(target=self._serve, daemon=True).start()

    def shut(self) -> None:
        self._open = False
        self._cut()

    def _cut(self) -> None:
        for one in self._through:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._through.clear()

    def open(self) -> None:
        self._open = True

    def close(self) -> None:
        self.shut()
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if not self._open:
                client.close()
                continue
            upstream = self._dial()
            self._through += [client, upstream]
            threading.Thread(target=_pass_on, args=(client, upstream), daemon=True).start()
            if not self._open:  # shut while the other side was called
                self._cut()


def _pass_on(client: socket.socket, upstream: socket.socket) -> None:
    other = {client: upstream, upstream: client}
    with client, upstream, suppress(OSError):
        while True:
            for ready in select.select(list(other), [], [])[0]:
                data = ready.recv(65536)
                if not data:
                    return
                other[ready].sendall(data)


@contextmanager
def door(dial: Callable[[], socket.socket]) -> Iterator[Door]:
    made = Door(dial)
    try:
        yield made
    finally:
        made.close()
