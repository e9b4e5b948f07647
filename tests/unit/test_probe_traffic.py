"""The probe `traffic` against the product's own proxy, and against what is none."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from pydantic import ValidationError

from tests.infra import strangers
from tests.proxy.stage import Stage, hello, through
from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.errors import Unavailable
from veloz_chaos.probes.traffic import Traffic

EYE = Eye(timedelta(seconds=5), str)


def test_counts_are_those_since_the_run_began() -> None:
    async def act(stage: Stage) -> None:
        for _ in range(3):
            await stage.get()
        probe = Traffic(proxy="x", api=stage.api)
        await probe.open(EYE)
        assert (await probe.look(EYE)).value == 0
        await stage.get()
        await stage.put(status=429, retry_after="60s")
        await stage.get()
        seen = await probe.look(EYE)
        assert (seen.status, seen.error, seen.value) == (200, "", 2)
        assert (seen.json["passed"], seen.json["answered"], seen.json["early"]) == (1, 1, 0)
        await asyncio.sleep(0.3)
        await stage.get()
        assert (await probe.look(EYE)).json["early"] == 1

    through(hello, act)


def test_a_proxy_that_was_replaced_counts_from_its_start() -> None:
    async def act(stage: Stage) -> None:
        await stage.get()
        await stage.get()
        probe = Traffic(proxy="x", api=stage.api)
        await probe.open(EYE)
        shown = (await stage.call("GET", "/proxies/x"))[1]
        await stage.call("DELETE", "/proxies/x")
        assert (await probe.look(EYE)).error == "no such proxy"
        place = {key: shown[key] for key in ("name", "kind", "listen", "upstream")}
        assert (await stage.call("POST", "/proxies", place))[0] == 201
        await stage.get()
        assert (await probe.look(EYE)).value == 1

    through(hello, act)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (strangers.http("200 OK", b"<html>"), "not a fault proxy"),
        (strangers.http("200 OK", b'{"passed": 1}'), "not a fault proxy"),
        (strangers.http("404 Not Found", b'{"error": "no"}'), "no such proxy"),
        (strangers.saying(b""), "not a fault proxy"),
    ],
)
def test_what_is_no_fault_proxy(answer: strangers.Answer, error: str) -> None:
    async def look(api: str) -> Seen:
        probe = Traffic(proxy="x", api=api)
        with pytest.raises(Unavailable, match=error):
            await probe.open(EYE)
        return await probe.look(EYE)

    with strangers.serving(answer) as api:
        assert asyncio.run(look(api)).error == error


def test_nobody_there_and_silence() -> None:
    with strangers.serving(strangers.silence) as api, pytest.raises(TimeoutError):
        asyncio.run(Traffic(proxy="x", api=api).look(Eye(timedelta(seconds=0.2), str)))
    assert asyncio.run(Traffic(proxy="x", api=api).look(EYE)).error == "refused"


def test_an_address_is_host_and_port() -> None:
    with pytest.raises(ValidationError):
        Traffic(proxy="x", api="localhost")
