"""The gateway's resolver: it looks a name up in the background, so that nobody ever waits for DNS.

A new query is sent whenever the TTL of the last answer has passed. When a look-up fails the last known address stays
in use for as long as that lasts (serve stale, RFC 8767); a process that never had an answer has no address. The status
is "failing" from the first failed look-up (an error code, no address, no answer in time) to the next good one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype

from veloz_chaos.sandbox.settings import LOOPBACK

QUERY_TIMEOUT, ASK_AGAIN_AFTER = 0.8, 0.25
SHORTEST_TTL, LONGEST_TTL = 0.5, 60.0
TELL_EVERY = 1.0


class LookupFailed(Exception):
    """The message says why."""


class Resolver:
    """`on_status(status, why)` is called with each new status, `on_error(why)` for failures, at most once a second.

    `stale_ok=False` is the flaw dns-not-cached: without a fresh answer there is no address.
    """

    def __init__(
        self,
        name: str,
        port: int,
        on_status: Callable[[str, str], None],
        on_error: Callable[[str], None],
        stale_ok: bool = True,
        host: str = LOOPBACK,
    ) -> None:
        self._name, self._host, self._port, self._stale_ok = name, host, port, stale_ok
        self._on_status, self._on_error = on_status, on_error
        self.address: str | None = None
        self.status = "failing"
        self._told_at = 0.0

    def part(self) -> dict[str, Any]:
        """As /health shows it."""
        return {"status": self.status, "name": self._name, "address": self.address}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(await self._look_up())

    async def _look_up(self) -> float:
        """Ask once; the seconds until it is time to ask again."""
        try:
            address, ttl = await look_up(self._name, self._port, self._host)
        except LookupFailed as failure:
            self._failed(str(failure))
            return ASK_AGAIN_AFTER
        self.address = address
        self._become("ok", f"{self._name} is {address}")
        return min(max(ttl, SHORTEST_TTL), LONGEST_TTL)

    def _failed(self, why: str) -> None:
        if not self._stale_ok:
            self.address = None
        self._become("failing", why)
        if time.monotonic() - self._told_at >= TELL_EVERY:
            self._told_at = time.monotonic()
            self._on_error(f"{self._name}: {why}; {f'still using {self.address}' if self.address else 'no address'}")

    def _become(self, status: str, why: str) -> None:
        if status != self.status:
            self.status = status
            self._told_at = 0.0
            self._on_status(status, why)


async def look_up(name: str, port: int, host: str = LOOPBACK) -> tuple[str, float]:
    """The address and its TTL in seconds, from that server. Raises LookupFailed."""
    query = dns.message.make_query(name, "A")
    reply = await _reply_to(query, port, host)
    if reply.rcode() != dns.rcode.NOERROR:
        raise LookupFailed(f"the DNS server answers {dns.rcode.to_text(reply.rcode())}")
    for records in reply.answer:
        if records.rdtype == dns.rdatatype.A:
            return records[0].to_text(), float(records.ttl)
    raise LookupFailed("the DNS server knows no address")


async def _reply_to(query: dns.message.Message, port: int, host: str) -> dns.message.Message:
    loop = asyncio.get_running_loop()
    waiting = _Reply(query, loop.create_future())
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: waiting, remote_addr=(host, port))
        transport.sendto(query.to_wire())
    except OSError as problem:
        raise LookupFailed(f"cannot ask the DNS server: {type(problem).__name__}") from None
    try:  # not wait_for: an answer that came while this process was stopped is no less an answer
        await asyncio.wait([waiting.future], timeout=QUERY_TIMEOUT)
        if not waiting.future.done():
            raise LookupFailed(f"no answer from the DNS server within {QUERY_TIMEOUT} s")
        return waiting.future.result()
    finally:
        waiting.future.cancel()
        transport.close()


class _Reply(asyncio.DatagramProtocol):
    """Waits for the reply to one query; whatever else arrives is ignored."""

    def __init__(self, query: dns.message.Message, future: asyncio.Future[dns.message.Message]) -> None:
        self._query, self.future = query, future

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002
        with contextlib.suppress(dns.exception.DNSException):
            reply = dns.message.from_wire(data)
            if self._query.is_response(reply) and not self.future.done():
                self.future.set_result(reply)

    def error_received(self, exc: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(LookupFailed(f"the DNS server is not there: {type(exc).__name__}"))
