"""One request, one answer, never a retry; whatever shape the answer comes in, and wherever it is torn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from veloz_chaos.mechanisms.keep_alive import Answer, Pool, Protocol, _Reader

COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nX-A: 2\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
EARLY = b"HTTP/1.1 100 Continue\r\n\r\n" + COUNTED
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize(("data", "body"), [(COUNTED, b"hello"), (CHUNKED, b"hello"), (EARLY, b"hello"), (EMPTY, b"")])
def test_an_answer_is_whole_wherever_it_is_torn(data: bytes, body: bytes) -> None:
    for size in range(1, len(data)):
        reader, answer = _Reader(), None
        for at in range(0, len(data), size):
            assert answer is None
            answer = reader.take(data[at : at + size])
        assert answer is not None
        assert answer.body == body
        assert reader.keeps


def test_a_header_that_comes_twice_is_one_with_a_comma() -> None:
    answer = _Reader().take(COUNTED)
    assert answer is not None
    assert answer.headers["x-a"] == "1, 2"


@pytest.mark.parametrize(
    ("data", "keeps"),
    [
        (COUNTED.replace(b"X-A: 1", b"Connection: close"), False),
        (COUNTED.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (COUNTED + b"more than it said", False),
        (COUNTED, True),
    ],
)
def test_what_may_be_asked_again(data: bytes, keeps: bool) -> None:
    reader = _Reader()
    assert reader.take(data) is not None
    assert reader.keeps is keeps


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_answer_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        _Reader().take(data)


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def against(talk: Talk, deed: Callable[[Pool], Awaitable[None]]) -> int:
    """The deed with a pool to a server that talks so; how many connections were made."""
    made = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        made += 1
        await talk(reader, writer)
        writer.close()

    async def whole() -> None:
        server = await asyncio.start_server(count, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pool = Pool(urlsplit(f"http://127.0.0.1:{port}/"))
        await deed(pool)
        pool.close()
        server.close()

    asyncio.run(whole())
    return made


async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(COUNTED)


async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(COUNTED)
    await reader.readuntil(b"\r\n\r\n")  # and says nothing to the second


async def until_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(COUNTED[:-2])


async def asked_twice(pool: Pool) -> list[Answer | str]:
    said: list[Answer | str] = []
    for _ in range(2):
        try:
            said.append(await pool.ask(b"GET / HTTP/1.1\r\n\r\n"))
        except (OSError, Protocol) as error:
            said.append(str(error))
    return said


def test_a_connection_is_kept() -> None:
    async def deed(pool: Pool) -> None:
        assert [answer.body for answer in await asked_twice(pool) if isinstance(answer, Answer)] == [b"hello"] * 2

    assert against(polite, deed) == 1


def test_a_kept_connection_that_the_server_closes_ends_the_request_and_is_not_tried_again() -> None:
    async def deed(pool: Pool) -> None:
        first, second = await asked_twice(pool)
        assert isinstance(first, Answer)
        assert second == "closed"

    assert against(once, deed) == 1


def test_an_answer_may_last_until_the_end_of_its_connection() -> None:
    async def deed(pool: Pool) -> None:
        assert [a.body for a in await asked_twice(pool) if isinstance(a, Answer)] == [b"all of it"] * 2

    assert against(until_the_end, deed) == 2


def test_half_an_answer_is_none() -> None:
    async def deed(pool: Pool) -> None:
        assert await asked_twice(pool) == ["closed", "closed"]

    assert against(half, deed) == 2
