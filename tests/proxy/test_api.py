"""The API tells every mistake; proxies come and go; browsers are not served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.infra.toxiproxy import free_port
from tests.proxy.stage import Stage, hello, staged, through
from veloz_chaos.errors import UsageError
from veloz_chaos.proxy import ProxySpec
from veloz_chaos.proxy.spec import parse

FAULTS = "/proxies/x/faults"


def test_every_mistake_is_told() -> None:
    mistakes: list[tuple[str, str, Any, int, str]] = [
        ("POST", FAULTS, {"name": "f", "satus": 503}, 400, "satus"),
        ("POST", FAULTS, {"name": "f"}, 400, "at least one effect"),
        ("POST", FAULTS, {"name": "f", "status": 1000}, 400, "status"),
        ("POST", FAULTS, {"name": "f", "status": 503, "headers": {"X": "a\r\nB: c"}}, 400, "header"),
        ("POST", FAULTS, {"name": "f", "status": 503, "share": "0%"}, 400, "share"),
        ("POST", FAULTS, {"name": "f", "status": 503, "expires": 0}, 400, "expires"),
        ("POST", FAULTS, {"status": 503}, 400, "name"),
        ("POST", FAULTS, [], 400, "object"),
        ("POST", "/proxies/y/faults", {"name": "f", "status": 503}, 404, "y"),
        ("DELETE", FAULTS + "/f", None, 404, "f"),
        ("GET", "/proxies/y", None, 404, "y"),
        ("GET", "/nothing", None, 404, "Not Found"),
        ("GET", "/proxies/x/traffic?since=yesterday", None, 400, "since"),
        ("POST", "/proxies", {"name": "y", "listen": "127.0.0.1:0"}, 400, "upstream"),
        ("POST", "/proxies", {"name": "y", "listen": "x", "upstream": "http://a"}, 400, "host:port"),
        ("POST", "/proxies", {"name": "y", "listen": ":0", "upstream": "ftp://a"}, 400, "upstream"),
        ("POST", "/proxies", {"name": "y", "listen": ":0", "upstream": "http://a", "up": "b"}, 400, "up"),
        ("POST", "/proxies", {"name": "y", "kind": "ftp", "listen": ":0", "upstream": "http://a"}, 400, "kind"),
        ("POST", "/proxies", {"name": "x", "listen": ":0", "upstream": "http://a"}, 409, "already"),
    ]

    async def act(stage: Stage) -> None:
        for method, path, body, status, word in mistakes:
            got, told = await stage.call(method, path, body)
            assert (got, word in told["error"]) == (status, True), (path, body, told)
        taken = {"name": "y", "listen": stage.url.removeprefix("http://"), "upstream": "http://a"}
        assert (await stage.call("POST", "/proxies", taken))[0] == 409
        await stage.put(status=503)
        assert (await stage.call("POST", FAULTS, {"name": "f", "status": 503}))[0] == 409
        assert set((await stage.call("GET", "/proxies"))[1]) == {"x"}

    through(hello, act)


def test_proxies_come_and_go_and_each_is_another() -> None:
    async def act(stage: Stage) -> None:
        place = {"name": "y", "listen": f"127.0.0.1:{free_port()}", "upstream": stage.url}
        status, first = await stage.call("POST", "/proxies", place)
        assert (status, first["listen"]) == (201, place["listen"])
        async with stage.client.get(f"http://{first['listen']}/deep") as answer:
            assert (await answer.json())["path"] == "/deep"
        assert (await stage.call("DELETE", "/proxies/y"))[0] == 204
        with pytest.raises(OSError):
            await asyncio.open_connection(*place["listen"].split(":"))
        again = (await stage.call("POST", "/proxies", place))[1]
        assert again["instance"] != first["instance"]
        version = (await stage.call("GET", "/version"))[1]
        assert again["instance"].startswith(version["instance"])

    through(hello, act)


def test_what_was_put_is_shown() -> None:
    async def act(stage: Stage) -> None:
        await stage.put(status=429, retry_after="2s", share="30%", expires=50)
        ((_, (shown,)),) = [await stage.call("GET", FAULTS)]
        assert (shown["name"], shown["expires"], shown["hits"]) == ("f", 50, 0)
        assert 0 < shown["left"] <= 50
        effect = shown["effect"]
        assert (effect["status"], effect["retry-after"], effect["share"]) == (429, "2s", "30%")

    through(hello, act)


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.test"}, {"User-Agent": "Mozilla/5.0"}])
def test_browsers_are_not_served(headers: dict[str, str]) -> None:
    async def act(stage: Stage) -> None:
        async with stage.client.get(f"http://{stage.api}/version", headers=headers) as answer:
            assert answer.status == 403

    through(hello, act)


@pytest.mark.parametrize(
    "written", ["x", "x=127.0.0.1:1", "x=1->http://a", "x y=:1->http://a", "x=:1->ftp://a", "x=:1->http://a/path"]
)
def test_what_is_no_proxy_is_told(written: str) -> None:
    with pytest.raises(UsageError):
        parse("http", written)


def test_a_port_in_use_is_told_and_nothing_is_left() -> None:
    async def run() -> None:
        place = f"127.0.0.1:{free_port()}"
        twice = [ProxySpec(name, "http", place, "http://127.0.0.1:1") for name in ("a", "b")]
        with pytest.raises(UsageError, match=f"proxy b cannot listen on {place}: address already in use"):
            async with staged(*twice):
                pass
        async with staged(twice[0]):
            pass

    asyncio.run(run())
