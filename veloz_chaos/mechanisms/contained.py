"""What a helper beside a container does to it, on every platform: it joins the container's own control groups and
reaches its volumes from outside, so that an image needs no shell, no root and no capability for it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from veloz_chaos.core.capability import (
    CpuUse,
    Exhaustible,
    Fillable,
    Killable,
    Offer,
    Pausable,
    Pressable,
    Reference,
    Room,
    Saturable,
    Use,
)
from veloz_chaos.errors import Gone, Missing, TargetError
from veloz_chaos.mechanisms.beside import LOOK, Neighbour

EXPIRY = "its helper container ends by itself a minute after the longest hold, with its runner, and with its target"
STRAINS = (
    Offer(
        capability="Saturable",
        mechanism="a helper container's busy processes use up its CPU limit from inside its control group",
        touches="whatever runs in this container",
        undo="the busy processes are killed",
        expiry=EXPIRY,
    ),
    Offer(
        capability="Pressable",
        mechanism="a helper container holds pages within the limit of its control group",
        touches="whatever runs in this container",
        undo="the pages are given back",
        expiry=EXPIRY,
    ),
    Offer(
        capability="Exhaustible",
        mechanism="a helper container holds pages beyond the limit of its control group, until the kernel kills",
        touches="whatever runs in this container; the kernel chooses the largest",
        undo="nothing to undo: the pages go with the helper, which ends with its target",
    ),
    Offer(
        capability="Fillable",
        mechanism="a file without a name, opened by a helper container, holds the space of its volume",
        touches="the volume",
        undo="the space is free when the helper is dead",
        expiry=EXPIRY,
    ),
)


class Contained(Neighbour, Saturable, Pressable, Exhaustible, Fillable):
    """One start of one container, or one process inside it. Subclasses kill and pause it."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        self.volumes: Mapping[str, str] = reference.identity.get("volumes", {})

    def alive(self) -> bool:
        """The kernel's word where a helper of ours is beside it, and the platform's, which comes a little later."""
        return not any(helper.saw_the_end for helper in self.beside.own()) and super().alive()

    def leftovers(self) -> list[str]:
        return self.beside.held() + [self.beside.told(one) for one in self.beside.others()]

    def by_hand(self, capability: str, sign: str) -> str:
        return "" if capability in ("Killable", "Exhaustible") else self.beside.by_hand(sign)

    def kill(self, signal: str) -> None:
        """KILL is awaited, so that a look right after it finds the process dead; others take the time they take."""
        self._ask(self._sign, "signal", name=signal)

    @abstractmethod
    def told_oom_kills(self) -> int | None:
        """The platform's count of the kills for memory of this incarnation, which is over."""

    # --- strains -----------------------------------------------------------------------------------------------

    def saturate(self, sign: str, load: float, expires: timedelta) -> None:
        self._ask(sign, "saturate", load=load, expires=expires.total_seconds())

    def unsaturate(self, sign: str) -> None:
        self.beside.relieve(sign)

    def cpu_use(self, sign: str) -> CpuUse:
        return CpuUse(**self._ask(sign, "cpu_use"))

    def press(self, sign: str, upto: float, expires: timedelta) -> None:
        self._ask(sign, "press", upto=upto, expires=expires.total_seconds())

    def release(self, sign: str, undo: dict[str, Any]) -> None:
        self.beside.relieve(sign)

    def memory_settings(self) -> dict[str, Any]:
        return {}

    def memory_use(self) -> Use:
        return Use(**self._ask(self._sign, "memory_use"))

    def exhaust(self, sign: str, over: timedelta, expires: timedelta) -> None:
        self._ask(sign, "exhaust", over=over.total_seconds(), expires=expires.total_seconds())

    def oom_kills(self) -> int | None:
        """The kernel's count as our helpers saw it last; where none of ours saw it, the platform's."""
        counts: list[int | None] = [helper.epilogue.get("oom_kills") for helper in self.beside.own()]
        if told := [count for count in counts if count is not None]:
            return max(told)
        try:
            return int(self._ask(self._sign, "oom_kills") or 0)
        except Gone:
            return self.told_oom_kills()

    def fill(self, sign: str, volume: str, free: int, expires: timedelta) -> None:
        self._ask(sign, "fill", **self._volume(volume), free=free, expires=expires.total_seconds())

    def empty(self, sign: str, volume: str) -> None:
        self.beside.relieve(sign)

    def room(self, sign: str, volume: str) -> Room:
        return Room(**self._ask(sign, "room", **self._volume(volume)))

    def _volume(self, name: str) -> dict[str, str]:
        if name not in self.volumes:
            raise Missing(f"it has no volume `{name}`; it names {', '.join(sorted(self.volumes)) or 'none'}")
        return {"volume": name, "path": self.volumes[name]}

    def _ask(self, sign: str, call: str, **given: Any) -> Any:
        return self.beside.call(sign, call, **self._process(), **given)

    def _process(self) -> dict[str, Any]:
        """Which process is meant: the container's first one."""
        return {}


class Inside(Contained, Killable, Pausable):
    """One process inside a container; its children and the rest of the container are touched by strains only."""

    offers = (
        Offer(
            capability="Killable",
            mechanism="signal through a pidfd from outside its pid namespace, by a helper container",
            touches="this process alone, not its children",
            undo="nothing to undo: whoever supervises it starts it again",
        ),
        Offer(
            capability="Pausable",
            mechanism="SIGSTOP from outside its pid namespace, by a helper container, until every thread is stopped",
            touches="this process alone; its connections stay open and are accepted by the kernel",
            undo="SIGCONT",
            at_once=True,
        ),
        *STRAINS,
    )

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        self.pid, self.start = int(reference.identity["pid"]), int(reference.identity["start"])

    @abstractmethod
    def continue_by_hand(self) -> str:
        """The command that lets it go on."""

    def alive(self) -> bool:
        try:
            return bool(self._ask(self._sign, "alive", boot_id=self.reference.identity["boot_id"]))
        except Gone:
            return False

    def leftovers(self) -> list[str]:
        found = super().leftovers()
        with suppress(Gone):
            if self.paused():
                found.append(f"process {self.pid} is stopped; resume it by `{self.continue_by_hand()}`")
        return found

    def by_hand(self, capability: str, sign: str) -> str:
        return self.continue_by_hand() if capability == "Pausable" else super().by_hand(capability, sign)

    def pause(self) -> None:
        self._ask(self._sign, "stop")

    def resume(self) -> None:
        """Nothing to do for what is gone."""
        with suppress(Gone):
            self._ask(self._sign, "cont")

    def paused(self) -> bool:
        return bool(self._ask(self._sign, "stopped"))

    def _process(self) -> dict[str, Any]:
        return {"pid": self.pid, "start": self.start}


def inside(container: Contained, pattern: str) -> Iterator[dict[str, Any]]:
    """The identities of the processes in it whose command line matches. None if it is gone."""
    with suppress(Gone):
        helper = container.beside.obtain(LOOK)
        for one in helper.call("processes", pattern=pattern):
            yield {
                **container.reference.identity,
                "process": pattern,
                "pid": one["pid"],
                "start": one["start"],
                "boot_id": helper.about["boot_id"],
            }


def nothing_inside(name: str, containers: Sequence[Contained], pattern: str) -> str:
    """The message."""
    running: list[str] = []
    for one in containers:
        with suppress(TargetError):
            running += one.beside.call(LOOK, "commands")
    where = ", ".join(str(one.reference.identity["container"]) for one in containers)
    return (
        f"{name}: no process has a command line like /{pattern}/ in {where}; there run: "
        f"{', '.join(repr(command[:80]) for command in running[:12]) or 'none'}; correct the environment"
    )
