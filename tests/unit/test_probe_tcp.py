"""One TCP look against real servers on the loopback."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.errors import UsageError
from veloz_chaos.probes.tcp import LIMIT, PROBE, Tcp

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def eye(seconds: float = 10, fill: Callable[[str], str] = str) -> Eye:
    return Eye(timedelta(seconds=seconds), fill)


def looked(handler: Handler, seconds: float = 10, **keys: Any) -> Seen:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def look() -> Seen:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        try:
            probe = Tcp(connect=f"127.0.0.1:{server.sockets[0].getsockname()[1]}", **keys)
            return await probe.look(eye(seconds, lambda text: text.replace("${word}", "PING")))
        finally:
            server.close()

    return asyncio.run(look())


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
    await reader.read()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """In two pieces."""
    heard = await reader.readline()
    for piece in (heard[:2], heard[2:]):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    await reader.read()


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def flooding(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


@pytest.mark.parametrize("connect", ["here", "a:", ":80", "a:b", "a:0", "a:65536", "a:-1", "a:²"])
def test_says_how_it_is_written(connect: str) -> None:
    with pytest.raises(ValidationError, match="host:port"):
        Tcp(connect=connect)


def test_a_filled_place_that_is_none_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="host:port"):
        asyncio.run(Tcp(connect="${env:PLACE}").look(eye()))


def test_address_is_as_written() -> None:
    assert PROBE(connect="[::1]:80").address() == "[::1]:80"


def test_a_connection_is_enough() -> None:
    assert looked(silent) == Seen()


def test_the_expected_comes_in_pieces() -> None:
    assert looked(echo, send="${word}\n", expect="${word}") == Seen(text="PING\n")


def test_an_answer_without_the_expected() -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"-NO\r\n")

    assert looked(other, send="PING\n", expect="+PONG") == Seen(text="-NO\r\n", error="unexpected")


def test_an_endless_answer_is_cut() -> None:
    seen = looked(flooding, expect="+PONG")
    assert (len(seen.text), seen.error) == (LIMIT, "unexpected")


def test_reset() -> None:
    assert looked(resetting, send="PING\n", expect="+PONG").error == "reset"


def test_no_answer_in_time() -> None:
    with pytest.raises(TimeoutError):
        looked(silent, 0.1, expect="+PONG")


def test_refused_and_unknown() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert asyncio.run(Tcp(connect=f"127.0.0.1:{port}").look(eye())).error == "refused"
    assert asyncio.run(Tcp(connect="no-such-name.invalid:80").look(eye(30))).error == "dns"
    assert asyncio.run(Tcp(connect="255.255.255.255:80").look(eye())).error == "unreachable"


def test_nothing_is_left_of_hundreds_of_timed_out_looks() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def look() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=512) as server:  # accepted by the kernel alone
            probe = Tcp(connect=f"127.0.0.1:{server.getsockname()[1]}", expect="+PONG")
            before = descriptors()
            for _ in range(4):
                looks = await asyncio.gather(*(probe.look(eye(0.05)) for _ in range(50)), return_exceptions=True)
                assert all(isinstance(each, TimeoutError) for each in looks)
            await asyncio.sleep(0)
            assert descriptors() <= before
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(look())
