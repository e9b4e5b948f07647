"""The DNS server: authoritative for `exchange.sandbox`, whose address is 127.0.0.1 for one second; over UDP and TCP.

What it cannot read it does not answer. Failures are not its business: the DNS fault proxy stands before it.
"""

from __future__ import annotations

import asyncio
import os
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

NAME, ADDRESS, TTL = dns.name.from_text("exchange.sandbox."), "127.0.0.1", 1
PATIENCE = 5.0


def answer(query: bytes) -> bytes | None:
    """The reply to a message; None to what is no query."""
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
        reply.answer.append(dns.rrset.from_text(question.name, TTL, "IN", "A", ADDRESS))
    return reply.to_wire()


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        reply = answer(data)
        if reply is not None:
            self._transport.sendto(reply, addr)


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Over TCP: each message after its length in two bytes, until the client is gone or says nothing for a while."""
    try:
        while True:
            async with asyncio.timeout(PATIENCE):
                query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            reply = answer(query)
            if reply is None:
                break
            writer.write(len(reply).to_bytes(2) + reply)
            await writer.drain()
    except (OSError, EOFError, TimeoutError):
        pass
    finally:
        writer.close()


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    here = ("127.0.0.1", settings.ports["dns"])
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, local_addr=here)
    server = await asyncio.start_server(converse, *here)
    TruthLog(settings.directory, "dns").write("serving", pid=os.getpid())
    process.ready()
    await stop.wait()
    server.close()
    transport.close()


if __name__ == "__main__":
    process.run(serve)
