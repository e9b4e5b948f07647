"""Links that run through Toxiproxy, disturbed by signed toxics; a proxy's settings are never changed.

Experience with server 2.12: a toxic is on every existing and new connection before the API answers. Removing a
`timeout` toxic closes the connections that were open meanwhile. `reset_peer` resets only connections younger than it;
older ones it closes (FIN) at their next byte, and its removal takes as long as a reset that is under way. A misspelled
attribute is accepted and ignored, so every write is read back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import (
    Delayable,
    Lossy,
    Offer,
    Passage,
    Reference,
    Resettable,
    Severable,
    Throttleable,
)
from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms import traffic
from veloz_chaos.mechanisms.toxiproxy_api import PATIENCE, Api, State, Toxic

#: All of ours begin so; a run's sign goes on from there.
OURS = "vc-"
#: So many pings at once; more would overflow the queue of a small server, and be lost for that.
AT_ONCE = 4
#: The longest `after` of a reset: the server gives up on its own removal at 25 s.
LONGEST_RESET = timedelta(seconds=20)
SHORT = {"upstream": "up", "downstream": "down"}
#: capability -> what its toxics are called, and the streams they sit on
TOXICS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Delayable": ("latency", ("downstream",)),
    "Throttleable": ("bandwidth", ("upstream", "downstream")),
    "Severable": ("partition", ("upstream", "downstream")),
    "Resettable": ("reset", ("downstream",)),
    "Lossy": ("loss", ("upstream",)),
}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LinePing:
    """Send a text, count how often the answer's marker comes back."""

    send: str
    answer: str


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """`api` as host:port; `ping` says how the other end is made to answer: an HTTP GET of `path`, a line, or
    PostgreSQL's request for TLS."""

    #: The server finds no proxy with a slash in its name, though it lets one be created.
    proxy: str = Field(pattern="^[^/]+$")
    api: str = "127.0.0.1:8474"
    ping: Literal["http", "postgresql"] | LinePing = "http"
    path: str = "/"


class Proxy(Delayable, Throttleable, Severable, Resettable, Lossy):
    """One proxy, as long as it listens and leads where it did when it was found."""

    offers = (
        Offer(
            capability="Delayable",
            mechanism="Toxiproxy: latency toxic, downstream",
            touches="every connection through the proxy, existing ones too",
            undo="delete the toxic",
            at_once=True,
        ),
        Offer(
            capability="Throttleable",
            mechanism="Toxiproxy: bandwidth toxics, both ways, in whole KB/s, for each connection by itself",
            touches="every connection through the proxy, existing ones too",
            undo="delete the toxics",
            at_once=True,
        ),
        Offer(
            capability="Severable",
            mechanism="Toxiproxy: timeout toxics (silent) or reset_peer toxics (reset), both ways; connects succeed",
            touches="every connection through the proxy; on reset, existing ones are closed at their next byte",
            undo="delete the toxics; the server then closes the connections that were silenced",
            at_once=True,
        ),
        Offer(
            capability="Resettable",
            mechanism="Toxiproxy: reset_peer toxic, downstream: requests arrive, their answers are lost",
            touches="every connection through the proxy; existing ones are closed instead, at their next answer",
            undo="delete the toxic",
            at_once=True,
        ),
        Offer(
            capability="Lossy",
            mechanism="Toxiproxy: timeout toxic, upstream, on a share: a TCP proxy loses connections, not packets",
            touches="that share of connections, existing ones too: nothing that is sent over them arrives",
            undo="delete the toxic; the server then closes the connections that were there",
            at_once=True,
        ),
    )

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        identity = reference.identity
        self.name, self.listen, self.upstream = identity["proxy"], identity["listen"], identity["upstream"]
        self.api = Api(identity["api"])

    def alive(self) -> bool:
        return self._is_this(self.api.proxy(self.name))

    def leftovers(self) -> list[str]:
        found = self.api.proxy(self.name)
        if found is None:
            return []
        disabled = [] if found.enabled else [f"proxy {self.name} is disabled; enable it"]
        return disabled + [self._leftover(toxic) for toxic in found.toxics]

    def by_hand(self, capability: str, sign: str) -> str:
        return "curl -X DELETE " + " ".join(self._url(name) for name in _names(sign, capability))

    def pass_through(self, pings: int, timeout: timedelta) -> Passage:
        return traffic.pass_through(self._address(), self._ping(), pings, timeout.total_seconds())

    def delay(self, sign: str, delay: timedelta, jitter: timedelta, expires: timedelta) -> None:
        self._add("Delayable", sign, "latency", latency=_milliseconds(delay), jitter=_milliseconds(jitter))

    def undelay(self, sign: str) -> None:
        self._remove("Delayable", sign)

    def throttle(self, sign: str, rate: int, expires: timedelta) -> None:
        if rate < 1000:
            raise TargetError(f"Toxiproxy counts in KB/s: {rate} B/s is too slow for it; ask for 1KB/s or more")
        self._add("Throttleable", sign, "bandwidth", rate=rate // 1000)

    def unthrottle(self, sign: str) -> None:
        self._remove("Throttleable", sign)

    def cannot_sever(self, how: Literal["silent", "reset"], connections: Literal["all", "new"]) -> str:
        if connections == "all":
            return ""
        return "Toxiproxy cannot spare existing connections: its toxics hit them too; ask for connections: all"

    def sever(
        self, sign: str, how: Literal["silent", "reset"], connections: Literal["all", "new"], expires: timedelta
    ) -> None:
        if reason := self.cannot_sever(how, connections):
            raise TargetError(reason)
        self._add("Severable", sign, "timeout" if how == "silent" else "reset_peer", timeout=0)

    def mend(self, sign: str) -> None:
        self._remove("Severable", sign)

    def reset(self, sign: str, after: timedelta, expires: timedelta) -> None:
        if after > LONGEST_RESET:
            raise TargetError(f"a reset after {after} cannot be taken out in time; ask for {LONGEST_RESET} at most")
        self._add("Resettable", sign, "reset_peer", timeout=_milliseconds(after))

    def unreset(self, sign: str) -> None:
        self._remove("Resettable", sign)

    def lose(self, sign: str, share: float, expires: timedelta) -> None:
        self._add("Lossy", sign, "timeout", share, timeout=0)

    def unlose(self, sign: str) -> None:
        self._remove("Lossy", sign)

    def pass_often(self, times: int, timeout: timedelta) -> list[Passage]:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(lambda _: self.pass_through(1, timeout), range(times)))

    def _add(self, capability: str, sign: str, kind: str, share: float = 1.0, **attributes: int) -> None:
        found = self.api.proxy(self.name)
        if not self._is_this(found):
            raise Gone(f"proxy {self.name} at {self.api} is gone, or leads elsewhere now")
        if found and not found.enabled:
            raise TargetError(f"proxy {self.name} at {self.api} is disabled: there is nothing to disturb; enable it")
        for name, stream in zip(_names(sign, capability), TOXICS[capability][1], strict=True):
            self.api.add(self.name, _toxic(name, kind, stream, share, attributes))

    def _remove(self, capability: str, sign: str) -> None:
        """Deletes what carries the sign wherever the proxy leads now; nothing to do if proxy or toxics are gone."""
        names = _names(sign, capability)
        for toxic in self._toxics(names):
            self.api.remove(self.name, toxic.name, PATIENCE + toxic.attributes.get("timeout", 0) / 1000)
        if left := self._toxics(names):
            raise Unavailable(f"Toxiproxy at {self.api} said it deleted {left[0].name}, but it is still there")

    def _toxics(self, names: Sequence[str]) -> list[Toxic]:
        found = self.api.proxy(self.name)
        return [toxic for toxic in found.toxics if toxic.name in names] if found else []

    def _is_this(self, found: State | None) -> bool:
        return found is not None and (found.listen, found.upstream) == (self.listen, self.upstream)

    def _leftover(self, toxic: Toxic) -> str:
        whose = "left by an earlier run" if toxic.name.startswith(OURS) else "not ours"
        return (
            f"toxic {toxic.name} ({toxic.type}, {whose}) is on proxy {self.name}; "
            f"remove it by `curl -X DELETE {self._url(toxic.name)}`"
        )

    def _url(self, toxic: str) -> str:
        return f"http://{self.api}{self.api.path(self.name, toxic)}"

    def _address(self) -> tuple[str, int]:
        """A proxy that listens everywhere is reached where its API is."""
        host, _, port = self.listen.rpartition(":")
        return (self.api.host if host in ("", "0.0.0.0", "[::]") else host).strip("[]"), int(port)

    def _ping(self) -> traffic.Ping:
        ping = self.reference.identity["ping"]
        if "send" in ping:
            return traffic.Line(ping["send"], ping["answer"])
        if "protocol" in ping:
            return traffic.PostgreSQL()
        return traffic.Http(self.upstream, ping["path"])


def find(name: str, selector: Selector) -> list[Proxy]:
    """The one proxy of that name. Raises Missing or Unavailable."""
    api = Api(selector.api)
    found = api.proxy(selector.proxy)
    if found is None:
        known = ", ".join(sorted(api.proxies())) or "none"
        raise Missing(f"{name}: Toxiproxy at {api} has no proxy {selector.proxy!r}, only: {known}")
    place = {"api": str(api), "proxy": selector.proxy, "listen": found.listen, "upstream": found.upstream}
    return [Proxy(Reference(backend="toxiproxy", name=name, identity=place | {"ping": _written(selector)}))]


def _written(selector: Selector) -> dict[str, str]:
    """How the ping is kept in the reference."""
    ping = selector.ping
    if ping == "http":
        return {"path": selector.path}
    return {"protocol": ping} if ping == "postgresql" else {"send": ping.send, "answer": ping.answer}


def reopen(reference: Reference) -> Proxy:
    """The same proxy again. Raises Gone if it was deleted, or leads elsewhere and carries nothing of ours."""
    proxy = Proxy(reference)
    found = proxy.api.proxy(proxy.name)
    if found is None:
        raise Gone(f"{reference.name}: Toxiproxy at {proxy.api} has no proxy {proxy.name!r} any more")
    if not proxy._is_this(found) and not any(toxic.name.startswith(OURS) for toxic in found.toxics):
        raise Gone(f"{reference.name}: proxy {proxy.name} leads to {found.upstream} now, not to {proxy.upstream}")
    return proxy


def _names(sign: str, capability: str) -> list[str]:
    what, streams = TOXICS[capability]
    return [f"{sign}-{what}-{SHORT[stream]}" for stream in streams]


def _toxic(name: str, kind: str, stream: str, share: float, attributes: dict[str, int]) -> Toxic:
    """The server keeps a share in 32 bits; of so few digits it gives back what it was given."""
    return Toxic(name=name, type=kind, stream=stream, attributes=attributes, toxicity=round(share, 4))


def _milliseconds(length: timedelta) -> int:
    milliseconds = round(length / timedelta(milliseconds=1))
    if length and not milliseconds:
        raise TargetError(f"Toxiproxy counts in whole milliseconds: {length} is too short for it")
    return milliseconds
