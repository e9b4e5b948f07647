"""The DNS server: authoritative for `exchange.sandbox`, whose address holds for one second; over UDP and TCP.

What it cannot read it does not answer. Failures are not its business: the DNS fault proxy stands before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from veloz_chaos.sandbox import process
from veloz_chaos.sandbox.settings import Settings
from veloz_chaos.sandbox.truth import TruthLog

NAME, TTL = dns.name.from_text("exchange.sandbox."), 1
PATIENCE = 5.0
#: Seconds between two looks where the exchange's link is, if that is not an address but a name of the platform's.
LOOK_EVERY = 1.0


class Place:
    """Where the exchange's link is: the address that its host had when it was last found, None before."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.address: str | None = None

    async def look(self) -> None:
        with contextlib.suppress(OSError):
            found = await asyncio.get_running_loop().getaddrinfo(self._host, None, family=socket.AF_INET)
            self.address = str(found[0][4][0])

    async def keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()


def answer(query: bytes, address: str | None) -> bytes | None:
    """The reply to a message; None to what is no query, and while it is not known where the exchange is."""
    if address is None:
        return None
    try:
        asked = dns.message.from_wire(query)
        reply = dns.message.make_response(asked)
    except dns.exception.DNSException:
        return None
    reply.flags |= dns.flags.AA
    question = asked.question[0] if asked.question else None
    if question is None or question.name != NAME:
        reply.set_rcode(dns.rcode.NXDOMAIN if question is not None else dns.rcode.FORMERR)
    elif question.rdtype == dns.rdatatype.A:
        reply.answer.append(dns.rrset.from_text(question.name, TTL, "IN", "A", address))
    return reply.to_wire()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, place: Place) -> None:
        self._place = place

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        reply = answer(data, self._place.address)
        if reply is not None:
            self._transport.sendto(reply, addr)


async def converse(place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Over TCP: each message after its length in two bytes, until the client is gone or says nothing for a while."""
    try:
        while True:
            async with asyncio.timeout(PATIENCE):
                query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            reply = answer(query, place.address)
            if reply is None:
                break
            writer.write(len(reply).to_bytes(2) + reply)
            await writer.drain()
    except (OSError, EOFError, TimeoutError):
        pass
    finally:
        writer.close()


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    here = (settings.listen, settings.ports["dns"])
    place = Place(settings.host("exchange-link"))
    await place.look()
    looking = asyncio.create_task(place.keep_looking())
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Datagrams(place), local_addr=here)
    server = await asyncio.start_server(functools.partial(converse, place), *here)
    TruthLog(settings.directory, "dns").write("serving", pid=os.getpid())
    process.ready()
    await stop.wait()
    looking.cancel()
    server.close()
    transport.close()


if __name__ == "__main__":
    process.run(serve)
