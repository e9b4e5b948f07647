"""What a helper container does to the links of its target, and how it looks at them: from the target's own network
namespace, through its own resolver, as the target itself would."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from veloz_chaos.core.capability import Lookup, Passage
from veloz_chaos.errors import Missing, TargetError
from veloz_chaos.mechanisms import traffic, wire
from veloz_chaos.mechanisms.helper import Here
from veloz_chaos.mechanisms.netfilter import Peer
from veloz_chaos.mechanisms.wire import Kind, Names, Wire

RESOLVER = Path("/etc/resolv.conf")
#: Handshakes at once; more would overflow the queue of a small server, and be lost for that.
AT_ONCE = 16


def disturb(here: Here, kind: Kind, to: str | None, port: int, expires: float, **given: Any) -> None:
    """Until `expires` seconds from now. `to` None: whoever reaches our `port` from the outside. Once, if told twice."""
    made = Wire(_peer(to, port), here.sign, queue=here.pid == os.getpid())
    words = f"{kind} on the link to {to or 'us'}:{port}"
    _hold(here, kind, words, made, expires, lambda: made.put(kind, given))


def mislead(here: Here, effect: Mapping[str, Any], expires: float) -> None:
    """Until `expires` seconds from now, the target's questions to its name servers are answered so."""
    made = Names(nameserver(), here.sign)
    words = f"names are answered {effect['answer']}"
    _hold(here, "names", words, made, expires, lambda: made.put(dict(effect)))


def _hold(here: Here, key: str, words: str, made: Wire | Names, expires: float, put: Callable[[], None]) -> None:
    """Once, if told twice. Raises what `put` does; then nothing is held."""
    with here.lock:
        if key in here.held:
            return
        here.hold(key, words, made.undo, expires)
        try:
            put()
        except TargetError:
            here.undo(key)
            raise


def mechanism(here: Here, kind: Kind, to: str | None, port: int) -> str:  # noqa: ARG001
    return wire.mechanism(kind, _peer(to, port))


def disturbed(here: Here, spared: Sequence[str]) -> list[str]:  # noqa: ARG001
    """What is there of ours, of whoever put it in, but for those signs; a clause each."""
    return wire.left(spared)


def clear(here: Here, left: str) -> None:  # noqa: ARG001
    """What a killed helper of that sign has left."""
    wire.remove(left)


def pass_through(here: Here, to: str, port: int, ping: Mapping[str, str], pings: int, timeout: float) -> Passage:  # noqa: ARG001
    return traffic.pass_through((addresses(to, port)[0], port), _ping(ping, f"{to}:{port}"), pings, timeout)


def shake_hands(here: Here, to: str, port: int, times: int, timeout: float) -> list[Passage]:  # noqa: ARG001
    """So many new connections, all at once: a packet each way, sent again by nobody within a second."""
    place = (addresses(to, port)[0], port)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(lambda _: traffic.handshake(place, min(timeout, 0.9)), range(times)))


def look_up(here: Here, name: str, timeout: float) -> Lookup:  # noqa: ARG001
    """One question to the target's first name server."""
    from veloz_chaos.mechanisms.lookup import look_up

    return look_up((nameserver(), 53), name, timeout, look=False)


def nameserver() -> str:
    """The target's own, which this container shares. Raises Missing."""
    found = re.search(r"^\s*nameserver\s+(\S+)", RESOLVER.read_text(), re.MULTILINE)
    if not found:
        raise Missing("the container has no name server in its /etc/resolv.conf")
    return found[1]


_FOUND: dict[tuple[str, int], list[str]] = {}


def addresses(to: str, port: int) -> list[str]:
    """Asked once: a fault may be about to hit the name servers too. Raises Missing."""
    if (to, port) not in _FOUND:
        try:
            told = socket.getaddrinfo(to, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Missing(f"the container does not know {to}: {error.strerror or error}; correct `to:`") from None
        _FOUND[to, port] = list(dict.fromkeys(str(one[4][0]) for one in told))
    return _FOUND[to, port]


def _peer(to: str | None, port: int) -> Peer:
    return Peer((), port, inbound=True) if to is None else Peer(tuple(addresses(to, port)), port)


def _ping(ping: Mapping[str, str], host: str) -> traffic.Ping:
    if "send" in ping:
        return traffic.Line(ping["send"], ping["answer"])
    return traffic.PostgreSQL() if "protocol" in ping else traffic.Http(host, ping["path"])


OPERATIONS = {
    "disturb": disturb,
    "mislead": mislead,
    "mechanism": mechanism,
    "disturbed": disturbed,
    "clear": clear,
    "pass_through": pass_through,
    "shake_hands": shake_hands,
    "look_up": look_up,
}
