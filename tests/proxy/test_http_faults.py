"""What the faults of an HTTP proxy do to requests, seen by a client of another make."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.proxy.stage import Stage, hello, through
from veloz_chaos.proxy import traffic


def test_a_status_is_answered_and_the_upstream_never_asked() -> None:
    asked = []

    async def note(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    async def act(stage: Stage) -> None:
        await stage.put(status=503, headers={"X-Why": "chaos"}, body='{"no": 1}')
        async with stage.client.post(stage.url + "/order", data=b"x" * 100_000) as answer:
            assert (answer.status, await answer.json(), answer.headers["X-Why"]) == (503, {"no": 1}, "chaos")
        assert (await stage.call("DELETE", "/proxies/x/faults/f"))[0] == 204
        assert (await stage.get("/after"))[0] == 200
        assert asked == ["/after"]

    through(note, act)


@pytest.mark.parametrize(("status", "words"), [(429, "Too many requests"), (418, "IP banned until ")])
def test_binances_refusals(status: int, words: str) -> None:
    async def act(stage: Stage) -> None:
        await stage.put(status=status, retry_after="2s", binance=True)
        async with stage.client.get(stage.url) as answer:
            told = await answer.json()
            assert answer.status == status
            assert answer.headers["Retry-After"] == "2"
            assert int(answer.headers["X-MBX-USED-WEIGHT-1M"]) > 6000
        assert told["code"] == -1003
        assert words in told["msg"]

    through(hello, act)


@pytest.mark.parametrize("share", [10, 30, 50, 90])
def test_a_share_is_that_share_of_all_and_of_every_second(share: int) -> None:
    async def act(stage: Stage) -> None:
        await stage.put(status=503, share=f"{share}%")
        hit = [(await stage.get())[0] == 503 for _ in range(200)]
        assert abs(sum(hit) - 2 * share) <= 3
        assert abs(sum(hit[::2]) - share) <= 4
        assert (await stage.traffic())["faults"] == {"f": sum(hit)}

    through(hello, act)


def test_only_the_path_and_the_methods_asked_for() -> None:
    async def act(stage: Stage) -> None:
        await stage.put(status=503, path="/api/*/order", methods=["post"])
        for method, path, status in [
            ("POST", "/api/v3/order", 503),
            ("POST", "/api/v3/order?x=/y", 503),
            ("GET", "/api/v3/order", 200),
            ("POST", "/api/v3/orders", 200),
        ]:
            async with stage.client.request(method, stage.url + path) as answer:
                assert answer.status == status, path

    through(hello, act)


def test_a_delay_holds_the_answer_back_until_the_fault_ends() -> None:
    async def act(stage: Stage) -> None:
        await stage.put(delay="300ms")
        begun = time.monotonic()
        assert (await stage.get())[0] == 200
        assert time.monotonic() - begun >= 0.3
        await stage.put("long", delay="60s", path="/long")
        await stage.put("refusing", delay="60s", path="/refused", status=503)
        await stage.call("DELETE", "/proxies/x/faults/f")
        waiting = [asyncio.ensure_future(stage.get(path)) for path in ("/long", "/refused")]
        while (await stage.traffic())["open"] < 2:
            await asyncio.sleep(0.01)
        for name in ("long", "refusing"):
            await stage.call("DELETE", f"/proxies/x/faults/{name}")
        assert [status for status, _ in await asyncio.gather(*waiting)] == [200, 200]

    through(hello, act)


@pytest.mark.parametrize("kind", ["length", "chunked", "own body"])
def test_a_body_is_broken_off(kind: str) -> None:
    async def body(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        if kind == "chunked":
            answer.enable_chunked_encoding()
        else:
            answer.content_length = 1000
        await answer.prepare(request)
        for _ in range(100):
            await answer.write(b"x" * 10)
        return answer

    async def act(stage: Stage) -> None:
        own: dict[str, Any] = {"status": 500, "body": "x" * 1000} if kind == "own body" else {}
        await stage.put(truncate="25B", **own)
        async with stage.client.get(stage.url) as answer:
            came = b""
            with pytest.raises(aiohttp.ClientPayloadError):
                async for piece in answer.content.iter_any():
                    came += piece
        assert came == b"x" * 25

    through(body, act)


def test_a_limiter_lets_so_many_pass_and_says_how_long_to_wait() -> None:
    async def act(stage: Stage) -> None:
        await stage.put(rate="5/m", binance=True)
        answers = []
        for _ in range(8):
            async with stage.client.get(stage.url) as answer:
                answers.append((answer.status, answer.headers.get("RateLimit-Remaining")))
                wait = answer.headers.get("Retry-After")
        assert answers == [(200, str(left)) for left in (4, 3, 2, 1, 0)] + [(429, None)] * 3
        assert 50 <= int(wait or 0) <= 60
        assert (await stage.traffic())["answered"] == 3

    through(hello, act)


def test_a_fault_ends_by_itself() -> None:
    async def act(stage: Stage) -> None:
        await stage.put(status=503, expires=0.2)
        while (await stage.call("GET", "/proxies/x/faults"))[1]:
            await asyncio.sleep(0.02)
        assert (await stage.get())[0] == 200
        assert stage.told("fault-removed") == [{"proxy": "x", "fault": "f", "why": "expired"}]

    through(hello, act)


def test_who_calls_during_retry_after_is_counted_and_looks_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "GRACE", 3.0)  # however slow this machine is, what is under way is within

    async def act(stage: Stage) -> None:
        await stage.put(status=429, retry_after="60s")
        await stage.get()
        await asyncio.gather(*(stage.get() for _ in range(5)))  # under way already
        assert (await stage.traffic())["early"] == 0
        await asyncio.sleep(3.1)  # beyond the grace
        await stage.get(headers={"Veloz-Chaos-Look": "GET /"})
        assert (await stage.traffic())["early"] == 0
        await stage.get()
        told = await stage.traffic()
        assert (told["early"], told["answered"], told["looks"]) == (1, 7, 1)
        assert len(stage.told("called-too-early")) == 1

    through(hello, act)


def test_the_upstreams_own_429_counts_as_well() -> None:
    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "60"})

    async def act(stage: Stage) -> None:
        await stage.get()
        await asyncio.sleep(0.3)
        await stage.get()
        assert (await stage.traffic())["early"] == 1

    through(busy, act)


def test_a_look_is_struck_as_what_it_stands_for_and_takes_nobodys_turn() -> None:
    async def act(stage: Stage) -> None:
        await stage.put(status=503, share="50%", methods=["POST"])
        looks = [(await stage.get(headers={"Veloz-Chaos-Look": "POST /x"}))[0] for _ in range(20)]
        assert 9 <= looks.count(503) <= 11
        assert (await stage.get())[0] == 200
        assert (await stage.traffic())["faults"] == {"f": 0}

    through(hello, act)
