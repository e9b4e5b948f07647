"""One question to one name server: one UDP datagram from a new socket, no cache, no second try."""

from __future__ import annotations

import socket
import time

import dns.edns
import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype

from veloz_chaos.core.capability import Lookup
from veloz_chaos.core.effect import LOOK_OPTION

SIZE = 65_535


def question(name: str, kind: str = "A", look: bool = False) -> dns.message.Message:
    """Raises DNSException for what is no name or no type of record."""
    asked = dns.message.make_query(name, kind)
    if look:
        asked.use_edns(0, options=[dns.edns.GenericOption(dns.edns.OptionType.make(LOOK_OPTION), b"look")])
    return asked


def understood(data: bytes, asked: dns.message.Message) -> tuple[str, tuple[str, ...]] | None:
    """The rcode and what the records of the asked type say; None if it is no answer to that."""
    try:
        answer = dns.message.from_wire(data)
    except dns.exception.DNSException:
        return None
    if not asked.is_response(answer):
        return None
    kind = asked.question[0].rdtype
    records = [record.to_text() for found in answer.answer if found.rdtype == kind for record in found]
    return dns.rcode.to_text(answer.rcode()).lower(), tuple(records)


def look_up(server: tuple[str, int], name: str, timeout: float, look: bool = True) -> Lookup:
    """refused: nobody listens there. silent: nothing in time that answers the question."""
    asked, begun = question(name, look=look), time.monotonic()
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        try:
            connection.connect(server)
            connection.send(asked.to_wire())
            while (left := begun + timeout - time.monotonic()) > 0:
                connection.settimeout(left)
                if found := understood(connection.recv(SIZE), asked):
                    return Lookup("answered", time.monotonic() - begun, *found)
        except TimeoutError:
            pass
        except OSError:
            return Lookup("refused", time.monotonic() - begun)
    return Lookup("silent", timeout)
