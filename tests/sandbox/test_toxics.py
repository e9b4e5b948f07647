"""What toxics do to bytes, measured from outside, on the links and on the real Toxiproxy server alike."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from tests.infra.toxiproxy import Admin, Server
from tests.infra.upstreams import LineServer, served
from tests.sandbox.stack import Stack, let_pass

pytestmark = pytest.mark.sandbox
Connect = Callable[[], socket.socket]


class Echo(BaseRequestHandler):
    def handle(self) -> None:
        connection: socket.socket = self.request
        while data := connection.recv(65536):
            connection.sendall(data)


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    server: ThreadingTCPServer = LineServer(("127.0.0.1", 0), Echo)
    with served(server) as address:
        yield address


class Wire:
    """A proxy in front of the echo server."""

    def __init__(self, api: str, upstream: str) -> None:
        self.admin = Admin(api)
        host, _, port = self.admin.create("wire", upstream).partition(":")
        self._address = (host, int(port))

    def connect(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=10)

    def connected(self) -> socket.socket:
        """A connection that has already carried something both ways."""
        connection = self.connect()
        assert echoed(connection, b"hello") == b"hello"
        return connection

    def add(self, kind: str, stream: str = "downstream", toxicity: float = 1, **attributes: int) -> None:
        self.admin.add("wire", type=kind, name="t", stream=stream, toxicity=toxicity, attributes=attributes)

    def remove(self) -> None:
        self.admin.call("DELETE", "/proxies/wire/toxics/t")


@pytest.fixture(params=["links", "toxiproxy"])
def wire(request: pytest.FixtureRequest, echo: str) -> Iterator[Wire]:
    if request.param == "links":
        stack: Stack = request.getfixturevalue("shared")
        api = f"127.0.0.1:{stack.sandbox.ports['links']}"
    else:
        server: Server = request.getfixturevalue("toxiproxy")
        api = server.api
    wire = Wire(api, echo)
    yield wire
    wire.admin.delete("wire")


def echoed(connection: socket.socket, data: bytes) -> bytes:
    """What comes back, up to as many bytes as were sent; less if the connection ends."""
    connection.sendall(data)
    return received(connection, len(data))


def received(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (part := connection.recv(65536)):
        data += part
    return data


def seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


@pytest.fixture(params=["new", "existing"])
def connect(request: pytest.FixtureRequest, wire: Wire) -> Connect:
    """Opens a connection when called, or hands out one that was there before."""
    if request.param == "new":
        return wire.connect
    connection = wire.connected()
    return lambda: connection


def test_no_toxic_carries_much_unchanged(wire: Wire) -> None:
    data = bytes(range(256)) * 1024
    with wire.connect() as connection:
        assert echoed(connection, data) == data


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_latency(wire: Wire, connect: Connect, stream: str) -> None:
    wire.add("latency", stream, latency=300)
    with connect() as connection:
        assert 0.29 <= seconds(lambda: echoed(connection, b"x")) < 8
        wire.remove()
        assert echoed(connection, b"y") == b"y"


def test_latency_delays_chunks_side_by_side(wire: Wire) -> None:
    """Each chunk is late by the latency, not by that of all before it."""
    wire.add("latency", latency=1000)
    with wire.connect() as connection:
        begun = time.monotonic()
        for _ in range(5):
            connection.sendall(b"x")
            let_pass(0.02)
        assert received(connection, 5) == b"xxxxx"
        assert time.monotonic() - begun < 4.5


def test_removed_latency_lets_go_what_it_held_in_order(wire: Wire) -> None:
    wire.add("latency", latency=60_000)
    with wire.connect() as connection:
        connection.sendall(b"first")
        let_pass(0.1)
        connection.sendall(b"second")
        let_pass(0.1)
        wire.remove()
        assert received(connection, 11) == b"firstsecond"


def test_bandwidth(wire: Wire, connect: Connect) -> None:
    wire.add("bandwidth", rate=100)
    data = b"x" * 50_000
    with connect() as connection:
        assert 0.35 <= seconds(lambda: echoed(connection, data)) < 8


def test_updated_toxic_takes_effect(wire: Wire) -> None:
    with wire.connected() as connection:
        wire.add("latency", latency=0)
        wire.admin.call("POST", "/proxies/wire/toxics/t", {"attributes": {"latency": 300}})
        assert seconds(lambda: echoed(connection, b"x")) >= 0.29


def test_toxicity_zero_hurts_nobody(wire: Wire) -> None:
    wire.add("latency", toxicity=0, latency=20_000)
    with wire.connect() as connection:
        assert seconds(lambda: echoed(connection, b"x")) < 10


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_timeout_zero_is_silent_until_removed_then_closes(wire: Wire, connect: Connect, stream: str) -> None:
    wire.add("timeout", stream, timeout=0)
    with connect() as connection:
        connection.settimeout(0.4)
        with pytest.raises(TimeoutError):
            echoed(connection, b"x")
        connection.settimeout(10)
        wire.remove()
        assert ended(connection)
    with wire.connected():
        pass


def test_timeout_closes(wire: Wire, connect: Connect) -> None:
    wire.add("timeout", timeout=200)
    with connect() as connection:
        assert seconds(lambda: ended(connection)) < 5


def test_reset_peer_resets(wire: Wire) -> None:
    wire.add("reset_peer", timeout=0)
    with wire.connect() as connection, pytest.raises(ConnectionResetError):
        echoed(connection, b"x")


def test_reset_peer_ends_existing_connections(wire: Wire) -> None:
    with wire.connected() as connection:
        wire.add("reset_peer", timeout=0)
        connection.sendall(b"x")
        assert ended(connection)


def test_limit_data(wire: Wire, connect: Connect) -> None:
    wire.add("limit_data", bytes=10)
    with connect() as connection:
        assert echoed(connection, b"x" * 30) == b"x" * 10
        assert ended(connection)


def test_slicer(wire: Wire) -> None:
    wire.add("slicer", average_size=10, size_variation=2, delay=20_000)
    data = bytes(range(100))
    with wire.connect() as connection:
        assert seconds(lambda: _same(echoed(connection, data), data)) >= 0.1


def test_slow_close(wire: Wire) -> None:
    """The upstream's end of the connection reaches the client late."""
    wire.add("slow_close", "upstream", delay=300)
    with wire.connected() as connection:
        connection.shutdown(socket.SHUT_WR)
        assert 0.29 <= seconds(lambda: ended(connection)) < 5


def test_toxics_form_a_chain(wire: Wire) -> None:
    wire.add("latency", latency=200)
    wire.admin.add("wire", type="latency", name="more", attributes={"latency": 200})
    with wire.connect() as connection:
        assert seconds(lambda: echoed(connection, b"x")) >= 0.39


def test_disabling_closes_and_refuses(wire: Wire) -> None:
    with wire.connected() as connection:
        wire.admin.call("POST", "/proxies/wire", {"enabled": False})
        assert ended(connection)
    with pytest.raises(ConnectionRefusedError):
        wire.connect()
    wire.admin.call("POST", "/proxies/wire", {"enabled": True})
    with wire.connected():
        pass


def test_upstream_that_is_not_there(wire: Wire) -> None:
    wire.admin.call("POST", "/proxies/wire", {"upstream": "127.0.0.1:1"})
    with wire.connect() as connection:
        assert ended(connection)


def ended(connection: socket.socket) -> bool:
    """Wait for the end of the connection, in whatever way it ends."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def _same(one: bytes, other: bytes) -> None:
    assert one == other
