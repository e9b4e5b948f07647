"""Look a name up once: one UDP question to one server, from a new socket, past every cache of ours."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.errors import UsageError
from veloz_chaos.probes import why

if TYPE_CHECKING:
    from dns.message import Message

#: As RFC 1035 and its successors number them.
RCODES = {"noerror": 0, "formerr": 1, "servfail": 2, "nxdomain": 3, "notimp": 4, "refused": 5}
SIZE = 65_535


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Dns(Probe):
    """`status`: the rcode's number; `json.addresses`: what the records say; `error`: nxdomain, servfail, …, or refused
    and unreachable where no server is. Silence is no answer at all."""

    default_ok: ClassVar[str] = "status == 0 && error == '' && json.addresses.size() > 0"

    name: Annotated[str, Field(min_length=1, max_length=253)]
    #: host:port, by address: no resolver is asked for the resolver
    server: str
    type: Literal["A", "AAAA", "CNAME", "TXT", "SRV", "MX"] = "A"

    def __post_init__(self) -> None:
        if "${" not in self.server:
            _split(self.server)

    def address(self) -> str:
        """`host:port` as it is written, templates unfilled."""
        return self.server

    async def look(self, eye: Eye) -> Seen:
        from dns.exception import DNSException

        from veloz_chaos.mechanisms.lookup import question

        try:
            asked = question(eye.fill(self.name), self.type)
        except DNSException as error:
            raise UsageError(f"{self.name}: {error}") from None
        place = _placed(self.server, eye)
        async with asyncio.timeout(eye.timeout.total_seconds()):
            try:
                return await _heard(place, asked)
            except OSError as error:
                return Seen(status=-1, json={"addresses": []}, error=why(error))


async def _heard(place: tuple[str, int], asked: Message) -> Seen:
    """What answers the question; datagrams of others are passed over. Raises OSError."""
    from veloz_chaos.mechanisms.lookup import understood

    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.setblocking(False)
        connection.connect(place)
        connection.send(asked.to_wire())
        while (found := understood(await loop.sock_recv(connection, SIZE), asked)) is None:
            pass
    rcode, addresses = found
    told = {"rcode": rcode, "addresses": list(addresses)}
    return Seen(
        status=RCODES.get(rcode, 99), json=told, text="\n".join(addresses), error="" if rcode == "noerror" else rcode
    )


def _placed(server: str, eye: Eye) -> tuple[str, int]:
    try:
        return _split(eye.fill(server))
    except ValueError as error:
        raise UsageError(f"{server}: {error}") from None


def _split(server: str) -> tuple[str, int]:
    """Raises ValueError."""
    host, _, port = server.rpartition(":")
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError("server is written host:port")
    try:
        socket.getaddrinfo(host.strip("[]"), None, flags=socket.AI_NUMERICHOST)
    except OSError:
        raise ValueError("server is an address, such as 127.0.0.1:53, not a name") from None
    return host.strip("[]"), int(port)


PROBE = Dns
