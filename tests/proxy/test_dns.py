"""The DNS proxy, by UDP and TCP, and the probe `dns` that looks through it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode
import pytest
from pydantic import ValidationError

from tests.infra import upstreams
from tests.infra.strangers import serving, silence
from tests.proxy.stage import Stage, staged
from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.errors import UsageError
from veloz_chaos.probes.dns import Dns
from veloz_chaos.proxy import ProxySpec

NAME = "exchange.rig.test"


def resolving(act: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        with upstreams.names() as upstream:
            async with asyncio.timeout(150), staged(ProxySpec("x", "dns", "127.0.0.1:0", upstream)) as stage:
                await act(stage)

    asyncio.run(run())


def server(stage: Stage) -> str:
    return stage.url.removeprefix("http://")


async def looked(stage: Stage, name: str = NAME, seconds: float = 30) -> Seen:
    return await Dns(name=name, server=server(stage)).look(Eye(timedelta(seconds=seconds), str))


def test_questions_pass() -> None:
    async def act(stage: Stage) -> None:
        seen = await looked(stage)
        assert (seen.status, seen.error, seen.json["addresses"], seen.text) == (0, "", ["127.0.0.1"], "127.0.0.1")
        missing = await looked(stage, "no.such")
        assert (missing.status, missing.error, missing.json["addresses"]) == (3, "nxdomain", [])
        assert (await stage.traffic())["passed"] == 2

    resolving(act)


@pytest.mark.parametrize(("answer", "status"), [("nxdomain", 3), ("servfail", 2)])
def test_wrong_answers_for_the_names_asked_for(answer: str, status: int) -> None:
    async def act(stage: Stage) -> None:
        await stage.put(answer=answer, names=["Rig.Test"])
        assert (await looked(stage)).status == status
        assert (await looked(stage, "rig.test.")).error == answer
        other = await looked(stage, "other.test")
        assert other.error == "nxdomain"
        assert (await stage.traffic())["answered"] == 2
        await stage.call("DELETE", "/proxies/x/faults/f")
        assert (await looked(stage)).error == ""

    resolving(act)


def test_silence() -> None:
    async def act(stage: Stage) -> None:
        await stage.put(answer="none")
        with pytest.raises(TimeoutError):
            await looked(stage, seconds=0.2)
        with pytest.raises(dns.exception.Timeout):
            await over_tcp(stage, 0.2)

    resolving(act)


async def over_tcp(stage: Stage, timeout: float = 30) -> dns.message.Message:
    host, _, port = server(stage).partition(":")
    return await dns.asyncquery.tcp(dns.message.make_query(NAME, "A"), host, port=int(port), timeout=timeout)


def test_tcp_too() -> None:
    async def act(stage: Stage) -> None:
        await stage.put(answer="servfail")
        assert (await over_tcp(stage)).rcode() == dns.rcode.SERVFAIL

    resolving(act)


def test_tcp_passes_to_a_server_that_hears_tcp() -> None:
    async def run() -> None:
        with serving(silence) as upstream:
            async with staged(ProxySpec("x", "dns", "127.0.0.1:0", upstream)) as stage:
                with pytest.raises(dns.exception.Timeout):
                    await over_tcp(stage, 0.3)
                assert (await stage.traffic())["answered"] == 0

    asyncio.run(run())


def test_nonsense_is_passed_on_and_hurts_nobody() -> None:
    async def act(stage: Stage) -> None:
        await stage.put(answer="nxdomain", names=["never.test"])
        host, _, port = server(stage).partition(":")
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(host, int(port))
        )
        for junk in (b"", b"x", b"\0" * 12, b"\xff" * 600):
            transport.sendto(junk)
        transport.close()
        assert (await looked(stage)).error == ""

    resolving(act)


def test_a_fault_ends_by_itself() -> None:
    async def act(stage: Stage) -> None:
        await stage.put(answer="none", expires=0.2)
        while (await stage.call("GET", "/proxies/x/faults"))[1]:
            with suppress(TimeoutError):
                await looked(stage, seconds=0.05)
        assert (await looked(stage)).error == ""

    resolving(act)


def test_where_nobody_listens_the_probe_says_refused() -> None:
    async def run() -> None:
        with upstreams.names() as address:
            pass
        seen = await Dns(name=NAME, server=address).look(Eye(timedelta(seconds=5), str))
        assert (seen.status, seen.error) == (-1, "refused")

    asyncio.run(run())


@pytest.mark.parametrize("server", ["127.0.0.1", "localhost:53", "127.0.0.1:0", "127.0.0.1:x"])
def test_a_server_is_an_address(server: str) -> None:
    with pytest.raises(ValidationError):
        Dns(name=NAME, server=server)


def test_a_name_that_cannot_be_one_is_told() -> None:
    async def run() -> None:
        with pytest.raises(UsageError):
            await Dns(name="a..b", server="127.0.0.1:53").look(Eye(timedelta(seconds=1), str))

    asyncio.run(run())
