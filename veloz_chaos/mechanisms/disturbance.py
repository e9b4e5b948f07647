"""What becomes of each packet of a disturbed connection: pure, so that it can be tried without a network.

A policy is told of every packet and the time, and says what is done with it, and when. `OUT` is what the target sends,
`IN` what it receives. An *answer* is what comes back to whoever opened the connection.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from veloz_chaos.mechanisms.nfqueue import IN, OUT
from veloz_chaos.mechanisms.packet import Packet

Flow = tuple[bytes, int, bytes, int]
#: So many connections are remembered; the eldest are forgotten first.
REMEMBERED = 50_000
#: Seconds that an idle link may save up for the next packets.
BURST = 0.02


@dataclass(frozen=True)
class Decision:
    """`pass` and `drop` are what they say; `reject` has the rules answer the sender with a reset; `reset` puts a reset
    to the receiver in the packet's place. `at`: seconds, not before that instant."""

    what: Literal["pass", "drop", "reject", "reset"] = "pass"
    at: float = 0.0


PASS, DROP, REJECT = Decision(), Decision("drop"), Decision("reject")
Policy = Callable[[Packet, int, float], Decision]


def flow(packet: Packet, hook: int) -> Flow:
    """The connection that it belongs to, remote end first."""
    remote, local = (packet.source, packet.source_port), (packet.target, packet.target_port)
    return (*remote, *local) if hook == IN else (*local, *remote)


class Memory(dict[Flow, Any]):
    """Of connections, bounded."""

    def __setitem__(self, key: Flow, value: Any) -> None:
        if key not in self and len(self) >= REMEMBERED:
            del self[next(iter(self))]
        super().__setitem__(key, value)


@dataclass
class Delay:
    """`delay` ± `jitter` seconds; what belongs to one connection keeps its order."""

    delay: float
    jitter: float = 0.0
    last: Memory = field(default_factory=Memory)

    def __call__(self, packet: Packet, hook: int, now: float) -> Decision:
        key = flow(packet, hook)
        at = now + self.delay + (random.uniform(-self.jitter, self.jitter) if self.jitter else 0.0)
        self.last[key] = at = max(at, self.last.get(key, 0.0))
        return Decision("pass", at)


@dataclass
class Loss:
    """That share of the packets vanishes, each by itself."""

    share: float

    def __call__(self, packet: Packet, hook: int, now: float) -> Decision:  # noqa: ARG002
        return DROP if random.random() < self.share else PASS


@dataclass
class Rate:
    """At most `rate` bytes a second each way; the rest waits."""

    rate: float
    free: dict[int, float] = field(default_factory=dict)

    def __call__(self, packet: Packet, hook: int, now: float) -> Decision:
        at = max(self.free.get(hook, 0.0), now - BURST) + packet.size / self.rate
        self.free[hook] = at
        return Decision("pass", at)


@dataclass
class Sever:
    """Nothing passes: of all connections, or only of those that begin from now on."""

    how: Literal["silent", "reset"]
    connections: Literal["all", "new"]
    inbound: bool
    new: Memory = field(default_factory=Memory)

    def __call__(self, packet: Packet, hook: int, now: float) -> Decision:  # noqa: ARG002
        key = flow(packet, hook)
        if packet.opens:
            self.new[key] = True
        if self.connections == "new" and key not in self.new:
            return PASS
        if self.how == "silent":
            return DROP
        return REJECT if hook == OUT or self.inbound else Decision("reset")


@dataclass
class ResetAfter:
    """A connection is reset `after` seconds from its first data: its answers wait until then, and become a reset."""

    after: float
    inbound: bool
    first: Memory = field(default_factory=Memory)
    ended: Memory = field(default_factory=Memory)

    def __call__(self, packet: Packet, hook: int, now: float) -> Decision:
        key = flow(packet, hook)
        if packet.opens:
            self.first.pop(key, None)
            self.ended.pop(key, None)
        if key in self.ended:
            return DROP
        if packet.payload and key not in self.first:
            self.first[key] = now
        if not packet.payload or hook != (OUT if self.inbound else IN):
            return PASS
        self.ended[key] = True
        return Decision("reset", self.first[key] + self.after)


KINDS: dict[str, Callable[..., Policy]] = {
    "delay": Delay,
    "loss": Loss,
    "rate": Rate,
    "sever": Sever,
    "reset": ResetAfter,
}
#: The ways that each kind has to see.
HOOKS: dict[str, tuple[int, ...]] = {
    "delay": (IN,),
    "loss": (OUT,),
    "rate": (IN, OUT),
    "sever": (IN, OUT),
    "reset": (IN, OUT),
}
