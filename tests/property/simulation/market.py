"""A gateway and an exchange on paper that lose, double, invent and mix up orders as they are told to, and the history
that a workload would write of them. It knows nothing of how orders are audited.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.property.simulation.writing import MS

RUN = "7f3a"
#: Between two orders.
STEP = 10 * MS


@dataclass
class Book:
    """What one side lists: id -> entries of (state, filled)."""

    entries: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def put(self, order: str, state: str = "open", filled: str = "0") -> None:
        self.entries[order] = [(state, filled)]

    def again(self, order: str, state: str = "open") -> None:
        self.entries[order].append((state, "0"))


@dataclass
class Market:
    gateway: Book = field(default_factory=Book)
    exchange: Book = field(default_factory=Book)
    random: Random = field(default_factory=Random)

    def both(self, order: str, state: str = "open", filled: str = "0") -> None:
        """Each side writes numbers as it likes."""
        self.gateway.put(order, state, filled)
        self.exchange.put(order, state, filled + ("" if "." in filled else ".000"))

    def any_side(self) -> Book:
        return self.random.choice([self.gateway, self.exchange])


@dataclass(frozen=True)
class Told:
    """What the workload was told: of its order, and of its cancel if it sent one."""

    outcome: str
    cancel: str | None = None


Fate = Callable[[Market, str], Told]


def _accepted(market: Market, order: str) -> Told:
    market.both(order, *market.random.choice([("open", "0"), ("open", "0.004"), ("filled", "0.01"), ("expired", "0")]))
    return Told("accepted")


def _cancelled(market: Market, order: str) -> Told:
    market.both(order, "cancelled", market.random.choice(["0", "0.004"]))
    return Told("accepted", "accepted")


def _filled_before_the_cancel(market: Market, order: str) -> Told:
    market.both(order, "filled", "0.01")
    return Told("accepted", market.random.choice(["refused", "unknown"]))


def _refused(market: Market, order: str) -> Told:
    if market.random.random() < 0.3:
        market.any_side().put(order, "rejected")
    return Told("refused")


def _unknown_but_arrived(market: Market, order: str) -> Told:
    market.both(order, *market.random.choice([("open", "0"), ("filled", "0.01")]))
    return Told("unknown")


def _unknown_and_lost(market: Market, order: str) -> Told:
    if market.random.random() < 0.3:
        market.gateway.put(order, "rejected")
    return Told("unknown")


GOOD: tuple[Fate, ...] = (
    _accepted, _accepted, _cancelled, _filled_before_the_cancel, _refused, _unknown_but_arrived, _unknown_and_lost,
)  # fmt: skip


def _lost(market: Market, order: str) -> Told:
    if market.random.random() < 0.5:
        market.gateway.put(order)
    return Told("accepted")


def _duplicated(market: Market, order: str) -> Told:
    market.both(order)
    market.any_side().again(order, market.random.choice(["open", "filled", "expired"]))
    return Told(market.random.choice(["accepted", "refused", "unknown"]))


def _resurrected(market: Market, order: str) -> Told:
    if market.random.random() < 0.5:
        market.both(order)
    else:
        market.any_side().put(order, market.random.choice(["open", "filled", "unknown"]))
    return Told("refused")


def _cancelled_yet_filled(market: Market, order: str) -> Told:
    market.both(order, "cancelled", "0")
    market.exchange.put(order, "filled", "0.01")
    if market.random.random() < 0.5:
        market.gateway.put(order, "filled", "0.01")
    return Told("accepted", "accepted")


def _divergent(market: Market, order: str) -> Told:
    market.both(order, "open", "0.002")
    kind = market.random.choice(["missing", "state", "filled", "unsure"])
    if kind == "missing":
        del market.gateway.entries[order]
    else:
        market.gateway.put(
            order, *{"state": ("filled", "0.01"), "filled": ("open", "0.003"), "unsure": ("unknown", "0")}[kind]
        )
    return Told("accepted")


def _unresolved(market: Market, order: str) -> Told:
    kind = market.random.choice(["unsure", "one", "differ", "acknowledged"])
    if kind in ("unsure", "acknowledged"):
        market.both(order, "unknown")
    elif kind == "one":
        market.any_side().put(order)
    else:
        market.gateway.put(order, "open")
        market.exchange.put(order, "filled", "0.01")
    return Told("accepted" if kind == "acknowledged" else "unknown")


BAD: dict[str, Fate] = {
    "lost": _lost,
    "duplicated": _duplicated,
    "resurrected": _resurrected,
    "cancelled-yet-filled": _cancelled_yet_filled,
    "divergent": _divergent,
    "unresolved": _unresolved,
}


@dataclass
class Written:
    """The history's lines, and the ids that met each bad fate."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    expected: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in BAD})
    market: Market = field(default_factory=Market)
    now: int = 1000 * MS

    def data(self) -> list[bytes]:
        return [json.dumps(line).encode() + b"\n" for line in self.lines]


def written(fates: Sequence[str | None], seed: int, *, probes: bool = False, copies: int = 0) -> Written:
    """One order a fate (None: a good one); a good one comes first, so that something was accepted."""
    world = Written(market=Market(random=Random(seed)))
    for number, fate in enumerate(["accepted", *fates], start=1):
        _one(world, number, fate, probes and number % 3 == 0)
    for number in range(copies):
        copy = f"vc-{RUN}-{number:06d}-again"
        world.market.any_side().put(copy)
        world.expected["duplicated"].append(copy)
    world.market.exchange.put("vc-0ld-000001")
    _reads(world)
    return world


def _one(world: Written, number: int, fate: str | None, probe: bool) -> None:
    choose: Fate = _accepted if fate == "accepted" else BAD[fate] if fate else world.market.random.choice(GOOD)
    order = f"vc-probe{number}" if probe else f"vc-{RUN}-{number:06d}"
    told = choose(world.market, order)
    if fate in BAD:
        world.expected[fate].append(order)
    if probe and told.cancel is None:
        world.lines.append({"op": "probe", "id": order, "at": world.now, "outcome": told.outcome})
    else:
        world.lines += _placed(order, world.now, told)
    world.now += STEP


def _placed(order: str, now: int, told: Told) -> Iterable[dict[str, Any]]:
    terms = {"side": "BUY", "symbol": "BTCUSDT", "qty": "0.01", "price": "1000"}
    yield {"op": "place", "id": order, "due": now, "at": now + MS, **terms}
    yield done("place", order, now + 3 * MS, told.outcome)
    if told.cancel is not None:
        yield {"op": "cancel", "id": order, "due": now + 4 * MS, "at": now + 4 * MS}
        yield done("cancel", order, now + 5 * MS, told.cancel)


def done(of: str, order: str, at: int, outcome: str) -> dict[str, Any]:
    status, why = {"accepted": (200, ""), "refused": (503, ""), "unknown": (0, "timeout")}[outcome]
    return {"op": "done", "of": of, "id": order, "at": at, "outcome": outcome, "status": status, "why": why}


def _reads(world: Written) -> None:
    """Once too early, when nothing has settled yet, and once for good."""
    market = world.market
    for at, early in ((world.now + STEP, True), (world.now + 10 * STEP, False)):
        for side, book in (("gateway", market.gateway), ("exchange", market.exchange)):
            world.lines.append({"op": "read", "side": side, "at": at, "ok": not early, "why": ""})
            listed = [(order, *entry) for order, entries in book.entries.items() for entry in entries]
            market.random.shuffle(listed)
            for order, state, filled in listed[: len(listed) // 2] if early else listed:
                world.lines.append(
                    {"op": "found", "side": side, "id": order, "state": state, "qty": "0.01", "filled": filled}
                )
