"""What comes before a proxied connection has its other side is not lost."""

from __future__ import annotations

import asyncio

from veloz_chaos.sandbox.link import Side
from veloz_chaos.sandbox.link_proxy import Connection


class Wire(asyncio.Transport):
    """Keeps what is written; reads on whatever it is told, as Python's own did until 3.11.3 in `connection_made`."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed = b"", False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True


def side() -> tuple[Side, Wire]:
    made, wire = Side(), Wire()
    made.connection_made(wire)
    return made, wire


def test_early_data_is_first_and_the_rest_follows() -> None:
    (client, answers), (server, requests) = side(), side()
    client.data_received(b"GET ")
    client.data_received(b"/ ")
    Connection(client, server, [[], []])
    client.data_received(b"HTTP")
    server.data_received(b"200")
    assert (requests.written, answers.written) == (b"GET / HTTP", b"200")
    assert not requests.closed


def test_an_early_greeting_of_the_upstream_is_heard() -> None:
    (client, answers), (server, _) = side(), side()
    server.data_received(b"220 ready")
    Connection(client, server, [[], []])
    assert answers.written == b"220 ready"


def test_an_early_end_is_passed_on_after_the_data() -> None:
    (client, _), (server, requests) = side(), side()
    client.data_received(b"bye")
    assert client.eof_received()
    Connection(client, server, [[], []])
    assert (requests.written, requests.closed) == (b"bye", True)
