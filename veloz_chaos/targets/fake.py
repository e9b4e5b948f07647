"""An in-memory target that can do everything: what unit tests hurt instead of the real ones.

It obeys their laws (the conformance suite says so) and can be given a flaw, to show what the engine makes of it. The
memory is this process's: a reference taken to another process finds nothing there, as a dead target would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass as plain
from dataclasses import field, replace
from datetime import timedelta
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import (
    CAPABILITIES,
    Answer,
    Answerable,
    CpuUse,
    Delayable,
    Drainable,
    Exhaustible,
    Fillable,
    Killable,
    Lookup,
    Lossy,
    Offer,
    Passage,
    Pausable,
    Pressable,
    Reference,
    Replicas,
    Report,
    Resettable,
    Resolvable,
    Room,
    Saturable,
    Scalable,
    Severable,
    Tenancy,
    Throttleable,
    Use,
    Wipeable,
)
from veloz_chaos.core.effect import DnsEffect, HttpEffect
from veloz_chaos.errors import Gone, Unavailable

Flaw = Literal["does-nothing", "revert-fails", "dies-by-itself", "hangs", "unavailable"]
#: An undisturbed round trip in seconds, the bytes of one answer, and the bytes a second that pass undisturbed.
ROUND_TRIP, ANSWER, WIDTH = 0.001, 200, 20_000_000
#: A target that hangs does so until it is released, or for this long if nobody does.
PATIENCE = 30.0
#: Bytes of its only volume; half of it is free.
ROOM = 8_000_000
#: What is in its only volume, before it is wiped.
ENTRIES = 3
#: There is nothing to undo.
_FOR_GOOD = ("Killable", "Exhaustible", "Wipeable")
#: Copies of a workload, and tenants of a machine.
COPIES, TENANTS = 3, 4


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """Any id; it exists from the first time it is looked for.

    does-nothing: injections are accepted and have no effect. revert-fails: undoing raises Unavailable.
    dies-by-itself: dead as soon as it is hurt. hangs: each change blocks. unavailable: everything raises Unavailable.
    """

    id: str
    flaw: Flaw | None = None


@plain(frozen=True)
class Toxic:
    """What is on a link: seconds, bytes a second, or how it is cut."""

    delay: float = 0.0
    rate: float = WIDTH
    cut: Literal["silent", "reset"] | None = None
    after: float = 0.0
    share: float = 0.0
    effect: HttpEffect | DnsEffect | None = None


@plain
class State:
    """One id: the incarnation that runs now, and what is done to it."""

    flaw: Flaw | None = None
    incarnation: int = 1
    alive: bool = True
    paused: bool = False
    toxics: dict[str, Toxic] = field(default_factory=dict)
    #: what is strained: sign-capability -> share (or bytes left free)
    strains: dict[str, float] = field(default_factory=dict)
    oom_kills: int = 0
    #: what is in its only volume
    entries: int = ENTRIES
    released: threading.Event = field(default_factory=threading.Event)
    #: who watches it
    told: list[Callable[[Report], None]] = field(default_factory=list)

    def die(self, *, out_of_memory: bool = False) -> None:
        """By itself, or by our hand: who watches it is told, as by a real platform."""
        self.alive, self.oom_kills = False, self.oom_kills + out_of_memory
        for report in [Report("out-of-memory")] * out_of_memory + [Report("died", detail="exit 137")]:
            self.tell(report)

    def tell(self, report: Report) -> None:
        for tell in tuple(self.told):
            tell(report)


#: All there is.
WORLD: dict[str, State] = {}


def restart(known: str) -> None:
    """A supervisor's work: a new incarnation with nothing done to it."""
    old = WORLD[known]
    WORLD[known] = replace(
        old, incarnation=old.incarnation + 1, alive=True, paused=False, toxics={}, strains={}, told=[], entries=ENTRIES
    )
    old.tell(Report("started"))


class Fake(
    Killable, Pausable, Saturable, Pressable, Exhaustible, Fillable, Wipeable,
    Delayable, Throttleable, Severable, Resettable, Lossy, Answerable, Resolvable, Scalable, Drainable,
):  # fmt: skip
    offers = tuple(
        Offer(
            capability=name,
            mechanism="in memory",
            touches="nothing real",
            undo="" if name in _FOR_GOOD else "forget it",
            expiry="with this process",
            at_once=True,
            emulated=True,
        )
        for name in CAPABILITIES
    )

    def alive(self) -> bool:
        state = self._answering()
        return state is not None and state.alive and self._is_this(state)

    def leftovers(self) -> list[str]:
        state = self._answering()
        if state is None:
            return []
        return [
            f"{name} is still on it" for name in (*state.toxics, *state.strains, *(["a pause"] if state.paused else []))
        ]

    def watch(self, tell: Callable[[Report], None]) -> Callable[[], None]:
        state = self._mine()
        state.told = [*state.told, tell]

        def end() -> None:
            with suppress(ValueError):
                state.told.remove(tell)

        return end

    def by_hand(self, capability: str, sign: str) -> str:
        return "" if capability in _FOR_GOOD else f"forget {sign} {capability}"

    def kill(self, signal: str) -> None:
        state = self._hurt()
        if state.flaw != "does-nothing":
            state.die()

    def pause(self) -> None:
        state = self._hurt()
        state.paused = state.flaw != "does-nothing"

    def resume(self) -> None:
        if state := self._mended():
            state.paused = False

    def paused(self) -> bool:
        return self._mine().paused

    def saturate(self, sign: str, load: float, expires: timedelta) -> None:
        self._strain(f"{sign}-Saturable", load)

    def unsaturate(self, sign: str) -> None:
        self._relax(f"{sign}-Saturable")

    def cpu_use(self, sign: str) -> CpuUse:
        ours = max([0.0, *self._strained("Saturable")])
        return CpuUse(max(0.1, ours), 1.0, ours, full=ours >= 1)

    def press(self, sign: str, upto: float, expires: timedelta) -> None:
        self._strain(f"{sign}-Pressable", upto)

    def release(self, sign: str, undo: dict[str, Any]) -> None:
        self._relax(f"{sign}-Pressable")

    def memory_settings(self) -> dict[str, Any]:
        return {}

    def memory_use(self) -> Use:
        return Use(max([0.2, *self._strained("Pressable")]) * 1e8, 1e8)

    def exhaust(self, sign: str, over: timedelta, expires: timedelta) -> None:
        state = self._hurt()
        if state.flaw != "does-nothing":
            state.die(out_of_memory=True)

    def oom_kills(self) -> int:
        state = self._answering()
        return state.oom_kills if state else 0

    def fill(self, sign: str, volume: str, free: int, expires: timedelta) -> None:
        self._strain(f"{sign}-Fillable", free)

    def empty(self, sign: str, volume: str) -> None:
        self._relax(f"{sign}-Fillable")

    def room(self, sign: str, volume: str) -> Room:
        free = min([ROOM // 2, *map(int, self._strained("Fillable"))])
        return Room(ROOM, free, ROOM // 2 - free)

    def wipe(self, volume: str) -> None:
        state = self._hurt()
        if state.flaw != "does-nothing":
            state.entries = 0

    def entries(self, volume: str) -> int:
        state = self._answering()
        if not state or not self._is_this(state):
            raise Gone(f"{self.reference} no longer exists")
        return state.entries

    def scale(self, sign: str, former: int, to: int, expires: timedelta) -> None:
        self._strain(f"{sign}-Scalable", to)

    def unscale(self, sign: str) -> None:
        self._relax(f"{sign}-Scalable")

    def replicas(self) -> Replicas:
        copies = min([COPIES, *map(int, self._strained("Scalable"))])
        return Replicas(copies, copies, copies)

    def drain(self, sign: str, expires: timedelta) -> None:
        self._strain(f"{sign}-Drainable", 1.0)

    def undrain(self, sign: str) -> None:
        self._relax(f"{sign}-Drainable")

    def tenancy(self) -> Tenancy:
        drained = bool(self._strained("Drainable"))
        return Tenancy(not drained, 0 if drained else TENANTS)

    def _strain(self, name: str, amount: float) -> None:
        state = self._hurt()
        if state.flaw != "does-nothing":
            state.strains[name] = amount

    def _relax(self, name: str) -> None:
        if state := self._mended():
            state.strains.pop(name, None)

    def _strained(self, capability: str) -> list[float]:
        return [amount for name, amount in self._mine().strains.items() if name.endswith(capability)]

    def delay(self, sign: str, delay: timedelta, jitter: timedelta, expires: timedelta) -> None:
        self._put(sign, "Delayable", Toxic(delay=delay.total_seconds()))

    def undelay(self, sign: str) -> None:
        self._drop(sign, "Delayable")

    def throttle(self, sign: str, rate: int, expires: timedelta) -> None:
        self._put(sign, "Throttleable", Toxic(rate=rate))

    def unthrottle(self, sign: str) -> None:
        self._drop(sign, "Throttleable")

    def sever(
        self, sign: str, how: Literal["silent", "reset"], connections: Literal["all", "new"], expires: timedelta
    ) -> None:
        self._put(sign, "Severable", Toxic(cut=how))

    def mend(self, sign: str) -> None:
        self._drop(sign, "Severable")

    def reset(self, sign: str, after: timedelta, expires: timedelta) -> None:
        self._put(sign, "Resettable", Toxic(cut="reset", after=after.total_seconds()))

    def unreset(self, sign: str) -> None:
        self._drop(sign, "Resettable")

    def lose(self, sign: str, share: float, expires: timedelta) -> None:
        self._put(sign, "Lossy", Toxic(share=share))

    def unlose(self, sign: str) -> None:
        self._drop(sign, "Lossy")

    def answer(self, sign: str, effect: HttpEffect, expires: timedelta) -> None:
        self._put(sign, "Answerable", Toxic(effect=effect))

    def unanswer(self, sign: str) -> None:
        self._drop(sign, "Answerable")

    def mislead(self, sign: str, effect: DnsEffect, expires: timedelta) -> None:
        self._put(sign, "Resolvable", Toxic(effect=effect))

    def unmislead(self, sign: str) -> None:
        self._drop(sign, "Resolvable")

    def pass_often(self, times: int, timeout: timedelta) -> list[Passage]:
        state, passage = self._answering(), self.pass_through(1, timeout)
        lost = sum(toxic.share for toxic in state.toxics.values()) if state else 0.0
        silent = Passage("silent", timeout.total_seconds(), 0)
        return [silent if hit else passage for hit in _hits(times, lost)]

    def request(self, effect: HttpEffect, times: int, timeout: timedelta) -> list[Answer]:
        passage = self.pass_through(1, timeout)
        if passage.outcome != "answered":
            return [Answer(passage.outcome, passage.seconds)] * times
        usual = Answer("answered", passage.seconds, 200, {}, b"x" * ANSWER, True)
        put = next((e for e in self._effects() if isinstance(e, HttpEffect)), None)
        return [_answer(put, usual) if put and hit else usual for hit in _hits(times, put.share if put else 0.0)]

    def look_up(self, effect: DnsEffect, timeout: timedelta) -> Lookup:
        passage = self.pass_through(1, timeout)
        put = next((e.answer for e in self._effects() if isinstance(e, DnsEffect)), "")
        if passage.outcome != "answered" or put == "none":
            return Lookup("refused" if passage.outcome == "refused" else "silent", timeout.total_seconds())
        return Lookup("answered", passage.seconds, put or "noerror", () if put else ("127.0.0.1",))

    def _effects(self) -> list[HttpEffect | DnsEffect]:
        state = self._answering()
        return [toxic.effect for toxic in state.toxics.values() if toxic.effect] if state else []

    def pass_through(self, pings: int, timeout: timedelta) -> Passage:
        """Computed, not waited for."""
        state, patience = self._answering(), timeout.total_seconds()
        if not state or not state.alive or not self._is_this(state):
            return Passage("refused", 0.0, 0)
        toxics = list(state.toxics.values())
        if state.paused or any(toxic.cut == "silent" for toxic in toxics):
            return Passage("silent", patience, 0)
        if resets := [toxic.after for toxic in toxics if toxic.cut == "reset"]:
            return Passage("reset", min(resets), 0)
        return _passage(toxics, pings, patience)

    def _put(self, sign: str, capability: str, toxic: Toxic) -> None:
        state = self._hurt()
        if state.flaw != "does-nothing":
            state.toxics[f"{sign}-{capability}"] = toxic

    def _drop(self, sign: str, capability: str) -> None:
        if state := self._mended():
            state.toxics.pop(f"{sign}-{capability}", None)

    def _hurt(self) -> State:
        """The state to change. Raises Gone, or as its flaw wants it."""
        state = self._mine()
        if state.flaw == "hangs":
            state.released.wait(PATIENCE)
        if state.flaw == "dies-by-itself" and state.alive:
            state.die()
        return state

    def _mended(self) -> State | None:
        """The state to undo something in; None if it is gone."""
        state = self._answering()
        if not state or not self._is_this(state):
            return None
        if state.flaw == "hangs":
            state.released.wait(PATIENCE)
        if state.flaw == "revert-fails":
            raise Unavailable(f"{self.reference} refuses to be mended")
        return state

    def _mine(self) -> State:
        state = self._answering()
        if not state or not state.alive or not self._is_this(state):
            raise Gone(f"{self.reference} no longer exists")
        return state

    def _answering(self) -> State | None:
        state = WORLD.get(self.reference.identity["id"])
        if state and state.flaw == "unavailable":
            raise Unavailable(f"{self.reference} does not answer")
        return state

    def _is_this(self, state: State) -> bool:
        return bool(state.incarnation == self.reference.identity["incarnation"])


def find(name: str, selector: Selector) -> list[Fake]:
    state = WORLD.setdefault(selector.id, State(flaw=selector.flaw))
    identity = {"id": selector.id, "incarnation": state.incarnation}
    return [Fake(Reference(backend="fake", name=name, identity=identity))]


def reopen(reference: Reference) -> Fake:
    """Raises Gone if this process never knew the id, or it is dead or another incarnation now."""
    fake = Fake(reference)
    if not fake.alive():
        raise Gone(f"{reference} no longer exists")
    return fake


def _passage(toxics: list[Toxic], pings: int, patience: float) -> Passage:
    received, rate = pings * ANSWER, min([WIDTH, *(toxic.rate for toxic in toxics)])
    seconds = ROUND_TRIP + sum(toxic.delay for toxic in toxics) + received / rate
    if seconds <= patience:
        return Passage("answered", seconds, received)
    return Passage("silent", patience, min(received, int(patience * rate)))


def _hits(times: int, share: float) -> list[bool]:
    """Spread evenly."""
    return [int((number + 1) * share + 1e-9) > int(number * share + 1e-9) for number in range(times)]


def _answer(effect: HttpEffect, usual: Answer) -> Answer:
    """What it makes of a usual answer."""
    headers = {name.lower(): value for name, value in effect.headers.items()}
    if effect.retry_after:
        headers["retry-after"] = f"{effect.retry_after.total_seconds():.0f}"
    if effect.rate:
        headers["ratelimit-limit"] = str(effect.limit[0])
    if effect.binance:
        headers["x-mbx-used-weight-1m"] = "6001"
    body = usual.body if effect.body is None else effect.body.encode()
    seconds = usual.seconds + effect.delay.total_seconds()
    whole = effect.truncate is None
    return Answer("answered", seconds, effect.status or 200, headers, body[: effect.truncate], whole)
