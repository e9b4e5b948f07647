"""Without a fault the proxy is not noticed: keep-alive, streams, large bodies, TLS, connections that end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.infra import certificates
from tests.proxy.stage import Stage, hello, staged, through, upstream
from veloz_chaos.proxy import ProxySpec

MEGABYTE = 1 << 20


def test_a_request_arrives_with_the_upstreams_host_and_without_our_mark() -> None:
    async def act(stage: Stage) -> None:
        async with stage.client.get(stage.url + "/a%20b?c=d", headers={"Veloz-Chaos-Look": "GET /"}) as answer:
            told = await answer.json()
        assert told["path"] == "/a%20b?c=d"
        assert told["host"].startswith("localhost:")
        assert told["marked"] is False
        assert (await stage.traffic())["looks"] == 1

    async def marked(request: web.Request) -> web.Response:
        mark = "Veloz-Chaos-Look" in request.headers
        return web.json_response({"path": request.raw_path, "host": request.host, "marked": mark})

    through(marked, act)


def test_a_client_keeps_one_connection_and_so_does_the_proxy() -> None:
    peers = set()

    async def note(request: web.Request) -> web.Response:
        peers.add(request.transport.get_extra_info("peername"))  # type: ignore[union-attr]
        return web.Response(text="x")

    async def act(stage: Stage) -> None:
        for _ in range(5):
            assert await stage.get() == (200, b"x")
        assert len(peers) == 1
        assert (await stage.traffic())["passed"] == 5
        assert (await stage.traffic())["open"] == 1

    through(note, act)


@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies_both_ways(chunked: bool) -> None:
    body = bytes(range(256)) * (8 * MEGABYTE // 256)

    async def pieces() -> object:
        for start in range(0, len(body), 100_001):
            yield body[start : start + 100_001]

    async def echo(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        if chunked:
            answer.enable_chunked_encoding()
        else:
            answer.content_length = len(body)
        await answer.prepare(request)
        await answer.write(await request.read())
        return answer

    async def act(stage: Stage) -> None:
        for _ in range(2):
            async with stage.client.post(stage.url, data=pieces() if chunked else body) as answer:
                assert await answer.read() == body

    through(lambda request: echo(request.clone(client_max_size=100 * MEGABYTE)), act)


def test_a_stream_passes_piece_by_piece_and_its_end_is_told_upstream() -> None:
    ended = asyncio.Event()
    more: asyncio.Queue[bytes] = asyncio.Queue()

    async def events(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        try:
            while True:
                await answer.write(await more.get())
        finally:
            ended.set()

    async def act(stage: Stage) -> None:
        async with stage.client.get(stage.url) as answer:
            for number in range(3):
                more.put_nowait(b"data: %d\n\n" % number)
                assert await answer.content.readuntil(b"\n\n") == b"data: %d\n\n" % number
            answer.close()
        for _ in range(100):  # the handler is cancelled, or its next write fails
            more.put_nowait(b"data: x\n\n")
            await asyncio.sleep(0.01)
            if ended.is_set():
                break
        await asyncio.wait_for(ended.wait(), 60)

    through(events, act)


def test_tls_upstream(tmp_path: Path) -> None:
    folder = certificates.make(tmp_path)

    async def act(stage: Stage) -> None:
        for _ in range(3):
            status, body = await stage.get("/secure")
            assert status == 200
            assert b"/secure" in body

    through(hello, act, ca=str(folder / "ca.pem"), ssl=certificates.server_side(folder))


def test_an_upstream_nobody_vouches_for_is_not_spoken_to(tmp_path: Path) -> None:
    folder = certificates.make(tmp_path)

    async def act(stage: Stage) -> None:
        with pytest.raises(aiohttp.ClientError):
            await stage.get()
        assert "certificate" in stage.told("connection-broken")[0]["why"].lower()
        assert (await stage.traffic())["failed"] >= 1

    through(hello, act, ssl=certificates.server_side(folder))


def test_an_upstream_that_is_not_there_is_a_broken_connection_and_no_answer() -> None:
    async def run() -> None:
        async with upstream(hello) as port:
            pass
        async with staged(ProxySpec("x", "http", "127.0.0.1:0", f"http://127.0.0.1:{port}")) as stage:
            with pytest.raises(aiohttp.ClientConnectionError):
                await stage.get()
            assert (await stage.traffic())["failed"] >= 1

    asyncio.run(run())


def test_an_upstream_that_ends_an_unused_connection_ends_the_clients() -> None:
    async def act(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(stage.url.rpartition(":")[2]))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        transports[0].close()
        assert await asyncio.wait_for(reader.read(), 60) is not None
        assert reader.at_eof()
        writer.close()

    transports: list[asyncio.BaseTransport] = []

    async def note(request: web.Request) -> web.Response:
        assert request.transport
        transports.append(request.transport)
        return web.Response()

    through(note, act)


@pytest.mark.parametrize(
    "wire",
    [
        b"GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: line\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"GET /" + b"x" * 70_000,
    ],
)
def test_what_may_be_read_in_two_ways_is_refused(wire: bytes) -> None:
    async def act(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(stage.url.rpartition(":")[2]))
        writer.write(wire)
        assert (await asyncio.wait_for(reader.read(), 60)).startswith(b"HTTP/1.1 400 ")
        writer.close()
        assert (await stage.traffic())["passed"] == 0

    through(hello, act)


def test_another_protocol_after_an_upgrade() -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data + "!")
        return socket

    async def act(stage: Stage) -> None:
        async with stage.client.ws_connect(stage.url) as socket:
            await socket.send_str("hey")
            assert await socket.receive_str() == "hey!"

    through(echo, act)


def test_a_body_that_waits_to_be_asked_for() -> None:
    async def asking(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await hello(request)

    async def act(stage: Stage) -> None:
        async with stage.client.post(stage.url, data=b"x" * 1000, expect100=True) as answer:
            assert (await answer.json())["length"] == 1000

    through(asking, act)
