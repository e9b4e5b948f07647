"""Links of a container, disturbed in its own network namespace by a helper container; no proxy has to be in the way.

`to: host:port` is another service as the container names it; `inbound: port` is the container's own port as the outside
reaches it, through `address`; `to: dns` is its name servers. What the container says to itself is never touched. Looks
are traffic of ours from within the same namespace (or, inbound, from here).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import (
    Delayable,
    Link,
    Lookup,
    Lossy,
    Offer,
    Passage,
    Reference,
    Report,
    Resettable,
    Resolvable,
    Severable,
    Target,
    Throttleable,
)
from veloz_chaos.core.effect import DnsEffect
from veloz_chaos.errors import Gone
from veloz_chaos.mechanisms import docker_api, docker_events, helper_container, helper_image, traffic
from veloz_chaos.mechanisms.docker_api import Place, Wanted
from veloz_chaos.mechanisms.helper_container import LOOK, Beside, Ended

DNS = "dns"
#: Seconds that a call may take beyond what the look itself may.
MARGIN = 5.0
_EXPIRY = "its helper container ends by itself a minute after the longest hold, with its runner, and with its target"
_UNDO = "the helper container takes its rules out; without it packets pass anyway"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LinePing:
    """Send a text, count how often the answer's marker comes back."""

    send: str
    answer: str


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """The container by exactly one of name; label; project and service. The link by `to` or `inbound`.

    `ping` says how the other end is made to answer: an HTTP GET of `path`, a line, or PostgreSQL's request for TLS;
    `lookup` (of `to: dns`) is a name that has an address; `address` (of `inbound`) is host:port as seen from here.
    """

    name: str | None = None
    label: str | None = None
    project: str | None = None
    service: str | None = None
    to: str | None = None
    inbound: int | None = Field(default=None, ge=1, le=65535)
    address: str | None = None
    lookup: str | None = None
    ping: Literal["http", "postgresql"] | LinePing = "http"
    path: str = "/"
    host: str | None = None
    context: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.project is None) != (self.service is None):
            raise ValueError("project and service belong together; write both")
        if sum(way is not None for way in (self.name, self.label, self.service)) != 1:
            raise ValueError("write exactly one of name, label, and project with service")
        if (self.to is None) == (self.inbound is None):
            raise ValueError("write exactly one of to and inbound")
        if self.host and self.context:
            raise ValueError("write host or context, not both")
        for place in (self.address, self.to if self.to != DNS else None):
            if place is not None and not re.fullmatch(r"\[?[^\s\[\]]+\]?:\d{1,5}", place):
                raise ValueError(f"{place!r} is no host:port")
        if self.inbound is not None and self.address is None:
            raise ValueError("inbound is looked at from here: write address: host:port as well")
        if (self.to == DNS) != (self.lookup is not None):
            raise ValueError("to: dns goes with lookup: a name that has an address, and with nothing else")
        return self

    @property
    def place(self) -> Place:
        return Place(self.host, self.context)

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.name, self.label, self.project, self.service)


def _offer(capability: str, mechanism: str, touches: str) -> Offer:
    return Offer(capability=capability, mechanism=mechanism, touches=touches, undo=_UNDO, expiry=_EXPIRY, at_once=True)


_ALL = "every connection of this container with the other end, existing ones too"


class _Beside(Target):
    """What both kinds of links share: their container, and its helpers."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        identity = reference.identity
        self.name, self.place = str(identity["container"]), Place(identity.get("host"), identity.get("context"))
        self.beside = Beside(self.place, identity["id"], identity["started"])
        self._sign = LOOK

    def alive(self) -> bool:
        try:
            self.beside.state()
        except Gone:
            return False
        return True

    def watch(self, tell: Callable[[Report], None]) -> Callable[[], None]:
        return docker_events.watch(self.beside, tell)

    def arm(self, sign: str) -> None:
        self._sign = sign
        helper_container.obtain(self.beside, sign)

    def disarm(self, sign: str) -> None:
        helper_container.withdraw(self.beside, sign)

    def leftovers(self) -> list[str]:
        """Helpers of others, and rules that a killed one has left (these only if there is an image to look with)."""
        self.beside.state()
        signs = {one["Labels"][docker_api.SIGN] for one in helper_container.of_others(self.beside)}
        found = [f"a helper container of {sign} is still beside it; end it by: {self._end(sign)}" for sign in signs]
        ours = [helper for helper in helper_container.own(self.beside) if not helper.ended]
        for helper in ours:
            with suppress(Ended):
                found += [f"{words}; end it by: {self._end(helper.sign)}" for words in helper.call("held")]
        if helper_image.there(self.beside.api):
            left = set(self._ask("disturbed")) - signs - {helper.sign for helper in ours}
            found += [f"rules of {sign} are left in its network namespace, without effect" for sign in sorted(left)]
        return found

    def by_hand(self, capability: str, sign: str) -> str:
        return self._end(sign)

    def _take(self, sign: str) -> None:
        """Whoever put it in: its helper undoes it. Rules of one that was killed are taken out too."""
        mine = [helper for helper in helper_container.own(self.beside, sign) if not helper.ended]
        for helper in mine:
            with suppress(Ended):
                helper.call("undo")
        helper_container.end(self.beside.api, sign, self.beside.target, {helper.container for helper in mine})
        if not mine:
            with suppress(Gone):
                self._ask("clear", left=sign)

    def _ask(self, call: str, patience: float = helper_container.PATIENCE, **arguments: Any) -> Any:
        return helper_container.call(self.beside, self._sign, call, patience=patience, **arguments)

    def _end(self, sign: str) -> str:
        words = self.place.words
        return f"{words} kill -s TERM $({words} ps -q --filter label={docker_api.SIGN}={sign})"


class ContainerLink(_Beside, Delayable, Throttleable, Severable, Resettable, Lossy):
    """One link of one start of one container."""

    offers = (
        _offer("Delayable", "NFQUEUE (netem where the kernel has it) in the container's network namespace", _ALL),
        _offer(
            "Throttleable", "NFQUEUE in the container's network namespace, both ways, all connections together", _ALL
        ),
        _offer("Severable", "NFQUEUE in the container's network namespace, both ways; resets by iptables", _ALL),
        _offer("Resettable", "NFQUEUE in the container's network namespace: a reset in an answer's place", _ALL),
        _offer(
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
        self._armed = False

    def offered(self) -> Sequence[Offer]:
        """With the mechanism that this kernel has, if there is an image to find out with."""
        if not helper_image.there(self.beside.api):
            return self.offers
        found = []
        for offer in self.offers:
            kind = {"Delayable": "delay", "Lossy": "loss"}.get(offer.capability)
            if kind is not None:
                chosen = self._ask("mechanism", kind=kind, to=self.to, port=self.port)
                words = offer.mechanism.replace("NFQUEUE (netem where the kernel has it)", chosen)
                offer = offer.model_copy(update={"mechanism": words})
            found.append(offer)
        return found

    def pass_through(self, pings: int, timeout: timedelta) -> Passage:
        self.beside.state()
        seconds = timeout.total_seconds()
        if self.to is None:
            return traffic.pass_through(self._address(), self._ping(), pings, seconds)
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
        helper_container.call(self.beside, sign, "disturb", **given)

    def _address(self) -> tuple[str, int]:
        host, _, port = str(self.reference.identity["address"]).rpartition(":")
        return host.strip("[]"), int(port)

    def _ping(self) -> traffic.Ping:
        if "send" in self.ping:
            return traffic.Line(self.ping["send"], self.ping["answer"])
        if "protocol" in self.ping:
            return traffic.PostgreSQL()
        return traffic.Http(self.reference.identity["address"], self.ping["path"])


class ContainerNames(_Beside, Resolvable):
    """What one start of one container is told by its name servers."""

    offers = (
        _offer(
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
        helper_container.call(self.beside, sign, "mislead", effect=given, expires=expires.total_seconds())

    def unmislead(self, sign: str) -> None:
        self._take(sign)


def find(name: str, selector: Selector) -> list[Link | Resolvable]:
    """The link of each container that matches. Raises Missing, with what is there instead."""
    found = docker_api.matching(docker_api.client(selector.place), selector.wanted)
    return [_made(Reference(backend="docker-link", name=name, identity=_identity(one, selector))) for one in found]


def reopen(reference: Reference) -> Link | Resolvable:
    """The same link of the same start again. Raises Gone."""
    made = _made(reference)
    made.beside.state()
    return made


def _made(reference: Reference) -> ContainerLink | ContainerNames:
    return ContainerNames(reference) if "lookup" in reference.identity else ContainerLink(reference)


def _identity(container: dict[str, Any], selector: Selector) -> dict[str, Any]:
    place = {"host": selector.host, "context": selector.context}
    identity = {
        "container": docker_api.name_of(container),
        "id": container["Id"],
        "started": container["State"]["StartedAt"],
        **{key: value for key, value in place.items() if value},
    }
    if selector.lookup is not None:
        return {**identity, "lookup": selector.lookup}
    if selector.inbound is not None:
        identity |= {"port": selector.inbound, "address": selector.address}
    else:
        host, _, port = str(selector.to).rpartition(":")
        identity |= {"to": host.strip("[]"), "port": int(port)}
    return {**identity, "ping": _written(selector)}


def _written(selector: Selector) -> dict[str, str]:
    """How the ping is kept in the reference."""
    ping = selector.ping
    if isinstance(ping, LinePing):
        return asdict(ping)
    return {"path": selector.path} if ping == "http" else {"protocol": ping}
