"""The links of a container on every platform, each cut, delayed or lossy in the container's own network namespace.

`to` is another service as the container names it; without it the link is the container's own port as the outside
reaches it, through `address`. What the container says to itself is never touched. Looks are traffic of ours from within
the same namespace (or, inbound, from here).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import (
    Delayable,
    Lookup,
    Lossy,
    Offer,
    Passage,
    Reference,
    Resettable,
    Resolvable,
    Severable,
    Throttleable,
)
from veloz_chaos.core.effect import DnsEffect
from veloz_chaos.errors import Gone
from veloz_chaos.mechanisms import traffic
from veloz_chaos.mechanisms.beside import PATIENCE, Neighbour
from veloz_chaos.mechanisms.contained import EXPIRY

DNS = "dns"
#: Seconds that a call may take beyond what the look itself may.
MARGIN = 5.0
_UNDO = "the helper container takes its rules out; without it packets pass anyway"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LinePing:
    """Send a text, count how often the answer's marker comes back."""

    send: str
    answer: str


#: How the other end is made to answer: an HTTP GET, a line, or PostgreSQL's request for TLS.
Ping = Literal["http", "postgresql"] | LinePing


def written(ping: Ping, path: str) -> dict[str, str]:
    """How a ping is kept in a reference."""
    if isinstance(ping, LinePing):
        return asdict(ping)
    return {"path": path} if ping == "http" else {"protocol": ping}


def answering(identity: Mapping[str, Any]) -> traffic.Ping:
    """The ping of a link that is reached through its `address` from here."""
    ping = identity["ping"]
    if "send" in ping:
        return traffic.Line(ping["send"], ping["answer"])
    return traffic.PostgreSQL() if "protocol" in ping else traffic.Http(identity["address"], ping["path"])


def require_host_port(text: str) -> None:
    """Raises ValueError if it is no host:port."""
    if not re.fullmatch(r"\[?[^\s\[\]]+\]?:\d{1,5}", text):
        raise ValueError(f"{text!r} is no host:port")


def parts(text: str) -> tuple[str, int]:
    """Host and port of host:port."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def offer(capability: str, mechanism: str, touches: str) -> Offer:
    return Offer(capability=capability, mechanism=mechanism, touches=touches, undo=_UNDO, expiry=EXPIRY, at_once=True)


_ALL = "every connection of this container with the other end, existing ones too"


class LinkBeside(Neighbour):
    """What all links of a container share: how they are left, and how whatever is on them is taken off."""

    def leftovers(self) -> list[str]:
        """Helpers of others, and what a killed one has left (this only where it is worth a helper to look)."""
        self.beside.state()
        others = self.beside.others()
        found = [self.beside.told(one) for one in others] + self.beside.held()
        if self.beside.doubtful():
            known = {one.sign for one in others} | set(self.beside.holding())
            left = self._ask("disturbed", spared=sorted(known))
            found += [f"{words}; `veloz-chaos revert` of its run takes that out" for words in left]
        return found

    def by_hand(self, capability: str, sign: str) -> str:
        return self.beside.by_hand(sign)

    def _take(self, sign: str) -> None:
        """Whoever put it in: its helper undoes it. What one that was killed has left is taken out too: by one of the
        same sign where we have any, or where its entry is to say so."""
        if not self.beside.relieve(sign, "undo"):
            by = sign if self.beside.entries or self.beside.own(sign) else self._sign
            with suppress(Gone):
                self.beside.call(by, "clear", left=sign)

    def _ask(self, call: str, patience: float = PATIENCE, **arguments: Any) -> Any:
        return self.beside.call(self._sign, call, patience=patience, **arguments)


class ContainedLink(LinkBeside, Delayable, Throttleable, Severable, Resettable, Lossy):
    """One link of one start of one container."""

    offers: ClassVar[Sequence[Offer]] = (
        offer("Delayable", "NFQUEUE (netem where the kernel has it) in the container's network namespace", _ALL),
        offer(
            "Throttleable", "NFQUEUE in the container's network namespace, both ways, all connections together", _ALL
        ),
        offer("Severable", "NFQUEUE in the container's network namespace, both ways; resets by iptables", _ALL),
        offer("Resettable", "NFQUEUE in the container's network namespace: a reset in an answer's place", _ALL),
        offer(
            "Lossy",
            "NFQUEUE (netem where the kernel has it) in the container's network namespace: packets that it sends",
            "that share of the packets, of existing connections too; TCP sends them again",
        ),
    )

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        identity = reference.identity
        self.to, self.port = identity.get("to"), int(identity["port"])
        self.ping: dict[str, str] = identity["ping"]

    def offered(self) -> Sequence[Offer]:
        """With the mechanism that this kernel has, if there is an image to find out with."""
        if not self.beside.ready():
            return self.offers
        found = []
        for one in self.offers:
            kind = {"Delayable": "delay", "Lossy": "loss"}.get(one.capability)
            if kind is not None:
                chosen = self._ask("mechanism", kind=kind, to=self.to, port=self.port)
                words = one.mechanism.replace("NFQUEUE (netem where the kernel has it)", chosen)
                one = one.model_copy(update={"mechanism": words})
            found.append(one)
        return found

    def pass_through(self, pings: int, timeout: timedelta) -> Passage:
        self.beside.state()
        seconds = timeout.total_seconds()
        if self.to is None:
            return traffic.pass_through(self._address(), answering(self.reference.identity), pings, seconds)
        place = {"to": self.to, "port": self.port, "ping": self.ping}
        return Passage(**self._ask("pass_through", seconds + MARGIN, **place, pings=pings, timeout=seconds))

    def pass_often(self, times: int, timeout: timedelta) -> list[Passage]:
        """Handshakes: what is lost of a longer talk is sent again, and would not be seen."""
        self.beside.state()
        seconds = timeout.total_seconds()
        if self.to is None:
            with ThreadPoolExecutor(8) as threads:
                place, patience = self._address(), min(seconds, 0.9)
                return list(threads.map(lambda _: traffic.handshake(place, patience), range(times)))
        given = {"to": self.to, "port": self.port, "times": times, "timeout": seconds}
        return [Passage(**one) for one in self._ask("shake_hands", times * seconds + MARGIN, **given)]

    def delay(self, sign: str, delay: timedelta, jitter: timedelta, expires: timedelta) -> None:
        self._disturb(sign, "delay", expires, delay=delay.total_seconds(), jitter=jitter.total_seconds())

    def undelay(self, sign: str) -> None:
        self._take(sign)

    def throttle(self, sign: str, rate: int, expires: timedelta) -> None:
        self._disturb(sign, "rate", expires, rate=rate)

    def unthrottle(self, sign: str) -> None:
        self._take(sign)

    def sever(
        self, sign: str, how: Literal["silent", "reset"], connections: Literal["all", "new"], expires: timedelta
    ) -> None:
        self._disturb(sign, "sever", expires, how=how, connections=connections)

    def mend(self, sign: str) -> None:
        self._take(sign)

    def reset(self, sign: str, after: timedelta, expires: timedelta) -> None:
        self._disturb(sign, "reset", expires, after=after.total_seconds())

    def unreset(self, sign: str) -> None:
        self._take(sign)

    def lose(self, sign: str, share: float, expires: timedelta) -> None:
        self._disturb(sign, "loss", expires, share=share)

    def unlose(self, sign: str) -> None:
        self._take(sign)

    def _disturb(self, sign: str, kind: str, expires: timedelta, **given: Any) -> None:
        given |= {"kind": kind, "to": self.to, "port": self.port, "expires": expires.total_seconds()}
        self.beside.call(sign, "disturb", **given)

    def _address(self) -> tuple[str, int]:
        return parts(self.reference.identity["address"])


class ContainedNames(LinkBeside, Resolvable):
    """What one start of one container is told by its name servers."""

    offers = (
        offer(
            "Resolvable",
            "the container's questions to port 53 are redirected to a name server in its helper container",
            "questions from then on, by UDP and TCP over IPv4; what is cached is not touched",
        ),
    )

    def look_up(self, effect: DnsEffect, timeout: timedelta) -> Lookup:
        """Of the selector's name, or else of the first that the effect names."""
        self.beside.state()
        usual: str = self.reference.identity["lookup"]
        name = usual if effect.covers(usual) else effect.names[0]
        seconds = timeout.total_seconds()
        found = self._ask("look_up", seconds + MARGIN, name=name, timeout=seconds)
        return Lookup(**{**found, "addresses": tuple(found["addresses"])})

    def mislead(self, sign: str, effect: DnsEffect, expires: timedelta) -> None:
        given = {"answer": effect.answer, "names": list(effect.names)}
        self.beside.call(sign, "mislead", effect=given, expires=expires.total_seconds())

    def unmislead(self, sign: str) -> None:
        self._take(sign)
