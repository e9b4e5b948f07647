"""What can be done to a target: the closed list of capabilities, and the words for a target itself.

A fault asks for one capability; a backend offers one by naming it on its class line, and the type checker refuses a
forgotten method. All methods are synchronous, bounded in time and raise `errors.TargetError`. Lengths are timedeltas.
A `sign` is the run's mark on whatever is created; nothing without it is ever removed.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from veloz_chaos.core.effect import DnsEffect, HttpEffect

_HASH = re.compile(r"[0-9a-f]{64}")


class Reference(BaseModel):
    """One incarnation of a target: enough to find it again, never a name that another may reuse."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    backend: str
    name: str
    identity: dict[str, Any]

    def __str__(self) -> str:
        """For people: a hash by its first twelve digits, as its platform shows it."""
        plain = {key: value for key, value in self.identity.items() if not isinstance(value, dict)}
        return f"{self.backend}:" + ",".join(f"{key}={_short(value)}" for key, value in plain.items())


def _short(value: Any) -> Any:
    return value[:12] if isinstance(value, str) and _HASH.fullmatch(value) else value


class Offer(BaseModel):
    """How a target would do one thing: what `plan` prints and `measure` relies on."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    capability: str
    mechanism: str
    touches: str
    undo: str
    #: How it ends by itself when everything of ours is dead; None prints `no expiry`.
    expiry: str | None = None
    #: The effect is complete when the call returns (and not before it is made).
    at_once: bool = False
    emulated: bool = False


#: `died`, `out-of-memory`, `unhealthy`, `healthy`: this very incarnation; `started`, `replaced`: the one that took its
#: place runs, and serves.
What = Literal["died", "out-of-memory", "unhealthy", "healthy", "started", "replaced"]


@dataclass(frozen=True)
class Report:
    """What a platform tells of its own accord. `kind`: its word for such a target (container, pod); `detail`: the
    exit code and the like."""

    what: What
    kind: str = "target"
    detail: str = ""


class Target(ABC):
    """One incarnation of something a fault can hit."""

    #: how this backend does each thing, in general
    offers: ClassVar[Sequence[Offer]] = ()

    def offered(self) -> Sequence[Offer]:
        """How this very target does each thing that it can do."""
        return self.offers

    @property
    def lacks(self) -> Mapping[str, str]:
        """Capability -> why this very target, though its backend knows how, cannot; and what would help."""
        return {}

    def __init__(self, reference: Reference) -> None:
        self.reference = reference

    @abstractmethod
    def alive(self) -> bool:
        """Is this very incarnation still there? (A zombie is not.) Raises Unavailable if that cannot be told."""

    def arm(self, sign: str) -> None:  # noqa: B027
        """Start what a strike needs, so that the strike itself is quick; nothing is hurt yet."""

    def disarm(self, sign: str) -> None:  # noqa: B027
        """Take away what `arm` has started, also if it was killed in the midst of it. Nothing else of the sign is."""

    def leftovers(self) -> list[str]:
        """What stands in the way of a clean run: faults of an earlier run, a disabled proxy. One sentence each."""
        return []

    def remains(self) -> str:
        """What stays on it of ours when all is undone, does nothing, and can't be taken away; empty if nothing does."""
        return ""

    def watch(self, tell: Callable[[Report], None]) -> Callable[[], None]:  # noqa: ARG002
        """From the return of this call on `tell`, in any thread and at once, what the platform reports of this very
        incarnation, each thing once. What is returned ends it: bounded in time, safe twice.

        Silence says nothing, so a backend without events does nothing. Raises TargetError if it can't listen.
        """
        return lambda: None

    def by_hand(self, capability: str, sign: str) -> str:  # noqa: ARG002
        """The exact command that undoes `capability` without us; empty where there is nothing to undo."""
        return ""


class Killable(Target):
    """A process, container or pod that can be made to die."""

    @abstractmethod
    def kill(self, signal: str) -> None:
        """Send `signal` ("KILL", "TERM", …) to this incarnation; raises Gone if it is dead already."""


class Pausable(Target):
    """Alive to the scheduler, dead to its callers."""

    @abstractmethod
    def pause(self) -> None: ...

    @abstractmethod
    def resume(self) -> None: ...

    @abstractmethod
    def paused(self) -> bool:
        """The kernel's word, not the memory of our own call."""


@dataclass(frozen=True)
class Use:
    """How much of an allowance is in use, both in the same unit: bytes, or CPUs."""

    used: float
    limit: float

    @property
    def share(self) -> float:
        return self.used / self.limit if self.limit else 0.0


@dataclass(frozen=True)
class CpuUse(Use):
    """`ours`: what our helpers have of it, in CPUs. `full`: at every moment some of them waited for more of it."""

    ours: float
    full: bool


class Saturable(Target):
    """Has a CPU allowance of its own."""

    @abstractmethod
    def saturate(self, sign: str, load: float, expires: timedelta) -> None:
        """Use up the share `load` of it; ends by itself after `expires`."""

    @abstractmethod
    def unsaturate(self, sign: str) -> None: ...

    @abstractmethod
    def cpu_use(self, sign: str) -> CpuUse:
        """CPUs in use, by whoever shares the allowance, over a moment for which this blocks (a quarter of a second)."""


class Pressable(Target):
    """Has a memory limit of its own."""

    @abstractmethod
    def press(self, sign: str, upto: float, expires: timedelta) -> None:
        """Bring its memory use up to this share of the limit, and keep it there; ends by itself after `expires`."""

    @abstractmethod
    def release(self, sign: str, undo: dict[str, Any]) -> None:
        """`undo` is what `memory_settings` said before."""

    @abstractmethod
    def memory_settings(self) -> dict[str, Any]:
        """JSON: whatever `press` will change of the target itself."""

    @abstractmethod
    def memory_use(self) -> Use:
        """Bytes."""


class Exhaustible(Target):
    """Can be killed for its memory."""

    @abstractmethod
    def exhaust(self, sign: str, over: timedelta, expires: timedelta) -> None:
        """Raise its memory use to its limit within `over`, and beyond it, until the kernel kills. Returns at once."""

    @abstractmethod
    def oom_kills(self) -> int | None:
        """The kernel's own count of such kills under its limit; None where it is emulated. Also once it is dead."""


@dataclass(frozen=True)
class Room:
    """Bytes of a volume; `held` of them by us."""

    size: int
    free: int
    held: int


class Fillable(Target):
    """Has volumes of its own."""

    @abstractmethod
    def fill(self, sign: str, volume: str, free: int, expires: timedelta) -> None:
        """Leave no more than `free` bytes free; ends by itself after `expires`."""

    @abstractmethod
    def empty(self, sign: str, volume: str) -> None: ...

    @abstractmethod
    def room(self, sign: str, volume: str) -> Room:
        """Raises Missing for a volume that it does not have."""


class Wipeable(Target):
    """Has volumes whose content may be destroyed, because the environment says so of each."""

    @abstractmethod
    def wipe(self, volume: str) -> None:
        """All that is in it, for good; it stays itself. The very volume that was found, whoever uses it by now. Raises
        Missing for one that it does not have, Gone for one that was replaced."""

    @abstractmethod
    def entries(self, volume: str) -> int:
        """How much is in it, at its top level."""


@dataclass(frozen=True)
class Passage:
    """What became of traffic sent through a link, over one new connection."""

    outcome: Literal["answered", "silent", "reset", "refused"]
    #: From the first byte sent to the last byte answered (or to giving up), in seconds; without the connect.
    seconds: float
    received: int


class Link(Target):
    """A connection between two services that a fault can disturb."""

    @abstractmethod
    def pass_through(self, pings: int, timeout: timedelta) -> Passage:
        """Open a new connection through the link, send `pings` requests at once and await as many answers."""


class Delayable(Link):
    @abstractmethod
    def delay(self, sign: str, delay: timedelta, jitter: timedelta, expires: timedelta) -> None:
        """Everything that the link answers comes `delay` ± `jitter` later, on existing connections too."""

    @abstractmethod
    def undelay(self, sign: str) -> None: ...


class Throttleable(Link):
    @abstractmethod
    def throttle(self, sign: str, rate: int, expires: timedelta) -> None:
        """At most `rate` bytes a second pass each way."""

    @abstractmethod
    def unthrottle(self, sign: str) -> None: ...


class Severable(Link):
    def cannot_sever(self, how: Literal["silent", "reset"], connections: Literal["all", "new"]) -> str:  # noqa: ARG002
        """Why this backend cannot sever so, for `prepare` to refuse; empty if it can."""
        return ""

    @abstractmethod
    def sever(
        self, sign: str, how: Literal["silent", "reset"], connections: Literal["all", "new"], expires: timedelta
    ) -> None:
        """Nothing passes: silently swallowed, or answered by resets."""

    @abstractmethod
    def mend(self, sign: str) -> None: ...


class Resettable(Link):
    @abstractmethod
    def reset(self, sign: str, after: timedelta, expires: timedelta) -> None:
        """Every connection is reset `after` it is first used."""

    @abstractmethod
    def unreset(self, sign: str) -> None: ...


class Lossy(Link):
    @abstractmethod
    def lose(self, sign: str, share: float, expires: timedelta) -> None:
        """This share of what is sent vanishes; each backend's offer says of what."""

    @abstractmethod
    def unlose(self, sign: str) -> None: ...

    @abstractmethod
    def pass_often(self, times: int, timeout: timedelta) -> list[Passage]:
        """One ping each over so many new connections, all at once."""


@dataclass(frozen=True)
class Answer:
    """What became of one request sent through a link, over one new connection; answered as soon as a head has come."""

    outcome: Literal["answered", "silent", "reset", "refused"]
    #: From the request sent to the last byte (or to giving up), in seconds; without the connect.
    seconds: float
    status: int = 0
    #: By lower-case name.
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: The whole body came.
    complete: bool = False


class Answerable(Target):
    """A link whose requests can be answered by somebody else than the service behind it."""

    @abstractmethod
    def request(self, effect: HttpEffect, times: int, timeout: timedelta) -> list[Answer]:
        """So many requests, all at once, each such that the effect hits it; they do nothing at the service."""

    @abstractmethod
    def answer(self, sign: str, effect: HttpEffect, expires: timedelta) -> None:
        """From now on requests fare so; for `expires` at most."""

    @abstractmethod
    def unanswer(self, sign: str) -> None: ...


@dataclass(frozen=True)
class Lookup:
    """What became of one question to a name server. `rcode` in lower case: noerror, nxdomain, servfail, …"""

    outcome: Literal["answered", "silent", "refused"]
    seconds: float
    rcode: str = ""
    addresses: tuple[str, ...] = ()


class Resolvable(Target):
    """A link to a name server that can be made to answer wrongly."""

    @abstractmethod
    def look_up(self, effect: DnsEffect, timeout: timedelta) -> Lookup:
        """Ask once for a name that the effect covers."""

    @abstractmethod
    def mislead(self, sign: str, effect: DnsEffect, expires: timedelta) -> None:
        """From now on names are answered so; for `expires` at most."""

    @abstractmethod
    def unmislead(self, sign: str) -> None: ...


@dataclass(frozen=True)
class Replicas:
    """Copies of a workload. `desired`: so many the platform is to run; `there`: all that run, such as are ending too;
    `ready`: those that serve."""

    desired: int
    there: int
    ready: int


class Scalable(Target):
    """Runs as a number of copies that its platform keeps up."""

    @abstractmethod
    def scale(self, sign: str, former: int, to: int, expires: timedelta) -> None:
        """From `former` copies to `to`. Raises TargetError, and changes nothing, if `former` are no longer desired."""

    @abstractmethod
    def unscale(self, sign: str) -> None:
        """Back to the former number. Raises Gone, and leaves the number alone, if somebody else has changed it."""

    @abstractmethod
    def replicas(self) -> Replicas: ...


@dataclass(frozen=True)
class Tenancy:
    """`open`: it takes new ones; `left`: how many run there that a drain would send away."""

    open: bool
    left: int


class Drainable(Target):
    """A machine whose tenants can be sent elsewhere."""

    @abstractmethod
    def drain(self, sign: str, expires: timedelta) -> None:
        """It takes no new ones, and those it has are sent away, as far as they may be disturbed. Raises TargetError,
        with who may not, if some have not been let go within half a minute."""

    @abstractmethod
    def undrain(self, sign: str) -> None:
        """It takes new ones again; nobody is brought back."""

    @abstractmethod
    def tenancy(self) -> Tenancy: ...


#: The closed list. What is not built yet is named, so that plan can say so.
CAPABILITIES: Mapping[str, type[Target]] = {
    c.__name__: c
    for c in (
        Killable,
        Pausable,
        Saturable,
        Pressable,
        Exhaustible,
        Fillable,
        Wipeable,
        Delayable,
        Throttleable,
        Severable,
        Resettable,
        Lossy,
        Answerable,
        Resolvable,
        Scalable,
        Drainable,
    )
}


def capability_of(kind: type[Target]) -> str:
    return kind.__name__
