"""DNS: the server answers as an authority does; the gateway outlives its loss, and says so."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from tests.sandbox.conftest import Start
from tests.sandbox.stack import Stack, until
from veloz_chaos.sandbox.resolver import LookupFailed, Resolver, look_up

pytestmark = pytest.mark.sandbox


@pytest.mark.parametrize("ask", [dns.query.udp, dns.query.tcp])
def test_the_server_is_an_authority(shared: Stack, ask: object) -> None:
    assert callable(ask)
    port = shared.sandbox.ports["dns"]

    def reply(name: str, kind: str = "A") -> dns.message.Message:
        answer = ask(dns.message.make_query(name, kind), "127.0.0.1", port=port, timeout=5)
        assert isinstance(answer, dns.message.Message) and answer.flags & dns.flags.AA
        return answer

    [records] = reply("exchange.sandbox").answer
    assert (records[0].to_text(), records.ttl) == ("127.0.0.1", 1)
    assert reply("EXCHANGE.sandbox").answer and not reply("exchange.sandbox", "AAAA").answer
    assert reply("exchange.sandbox", "AAAA").rcode() == dns.rcode.NOERROR
    assert reply("nobody.sandbox").rcode() == reply("sandbox").rcode() == dns.rcode.NXDOMAIN


class Answering(asyncio.DatagramProtocol):
    """A DNS server that answers whatever its test says at the moment: an address, a code or nothing."""

    answer: str = "127.0.0.1"

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        self._transport.sendto(b"no DNS at all", addr)
        stranger = dns.message.make_response(query)
        stranger.id ^= 1
        self._transport.sendto(stranger.to_wire(), addr)
        if self.answer == "silence":
            return
        if self.answer[0].isdigit():
            reply.answer.append(dns.rrset.from_text(query.question[0].name, 0, "IN", "A", self.answer))
        elif self.answer != "empty":
            reply.set_rcode(dns.rcode.from_text(self.answer))
        self._transport.sendto(reply.to_wire(), addr)


@asynccontextmanager
async def answering() -> AsyncIterator[tuple[Answering, int]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(Answering, local_addr=("127.0.0.1", 0))
    try:
        yield server, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [("NXDOMAIN", "NXDOMAIN"), ("SERVFAIL", "SERVFAIL"), ("silence", "no answer"), ("empty", "knows no address")],
)
def test_lookups_that_fail(answer: str, why: str) -> None:
    async def scenario() -> None:
        async with answering() as (server, port):
            assert await look_up("exchange.sandbox", port) == ("127.0.0.1", 0.0)
            server.answer = answer
            with pytest.raises(LookupFailed, match=why):
                await look_up("exchange.sandbox", port)

    asyncio.run(scenario())


def test_a_server_that_is_not_there(unused_port: int) -> None:
    with pytest.raises(LookupFailed, match="not there: ConnectionRefusedError"):
        asyncio.run(look_up("exchange.sandbox", unused_port))


@pytest.fixture
def unused_port() -> int:
    async def find() -> int:
        async with answering() as (_, port):
            return port

    return asyncio.run(find())


@pytest.mark.parametrize(("stale_ok", "kept"), [(True, "127.0.0.1"), (False, None)])
def test_the_last_known_address_is_kept(stale_ok: bool, kept: str | None) -> None:
    told, errors = asyncio.Queue[str](), asyncio.Queue[str]()

    async def scenario() -> None:
        async with answering() as (server, port):
            resolver = Resolver(
                "exchange.sandbox", port, lambda status, _: told.put_nowait(status), errors.put_nowait, stale_ok
            )
            assert resolver.part() == {"status": "failing", "name": "exchange.sandbox", "address": None}
            running = asyncio.create_task(resolver.run())
            assert await told.get() == "ok" and resolver.address == "127.0.0.1"
            server.answer = "SERVFAIL"
            assert await told.get() == "failing" and resolver.address == kept
            assert "SERVFAIL; " + ("still using 127.0.0.1" if kept else "no address") in await errors.get()
            server.answer = "127.0.0.2"
            assert await told.get() == "ok" and resolver.address == "127.0.0.2"
            running.cancel()

    asyncio.run(scenario())


def dns_status(stack: Stack) -> str:
    return str(stack.gateway("/health").json["dns"]["status"])


def lose_dns(stack: Stack) -> None:
    """Silence: the server is stopped, not gone."""
    stack.kill("dns", signal.SIGSTOP)
    until(lambda: dns_status(stack) == "failing")


def test_orders_go_on_without_dns(stack: Stack) -> None:
    lose_dns(stack)
    health = stack.gateway("/health")
    assert (health.status, health.json["status"], health.json["exchange"]["status"]) == (200, "degraded", "ok")
    assert stack.order("without-dns").json["ok"]
    assert not stack.gateway("/api/market?symbol=BTCUSDT").json["stale"]
    assert "ERROR exchange.sandbox: no answer" in stack.log()
    stack.kill("dns", signal.SIGCONT)
    until(stack.healthy)
    assert [event["status"] for event in stack.truth("gateway", "dns-status")][-3:] == ["ok", "failing", "ok"]


def test_a_gateway_started_without_dns_waits_for_it(stack: Stack) -> None:
    lose_dns(stack)
    stack.kill("gateway", signal.SIGKILL)
    until(lambda: stack.service("gateway")["restarts"] == 1 and stack.gateway("/health").status == 200)
    health = stack.gateway("/health").json
    assert (health["exchange"]["status"], health["dns"]["address"]) == ("unavailable", None)
    assert stack.order("too-early").json["error"] == "exchange_unavailable"
    stack.kill("dns", signal.SIGCONT)
    until(stack.healthy)
    assert stack.order("too-early").json["ok"]


def test_dns_not_cached(start: Start) -> None:
    stack = start("dns-not-cached")
    assert stack.order("before").json["ok"]
    lose_dns(stack)
    until(lambda: stack.gateway("/health").json["exchange"]["status"] == "unavailable")
    refused = stack.order("during")
    assert (refused.status, refused.json["error"]) == (503, "exchange_unavailable")
    market = stack.gateway("/api/market?symbol=BTCUSDT").json
    assert market["stale"] and market["price"] > 0
    stack.kill("dns", signal.SIGCONT)
    until(stack.healthy)
    assert stack.order("after").json["ok"]
