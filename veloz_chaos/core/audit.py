"""The fate of every order: what the gateway and the exchange hold afterwards, against what each order was told.

An acknowledged order exists exactly once, at the exchange and in the gateway alike; a refused one nowhere; one of
unknown outcome is settled. Each order falls in at most one category, the gravest. The rules, and what they leave open,
are in docs/decisions/0006-the-fate-of-an-order.md.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from veloz_chaos.core.case import Case, cases
from veloz_chaos.core.orders import (
    ABSENT,
    ACCEPTED,
    FILLED,
    NOBODY,
    OUTCOMES,
    PENDING,
    PROBE,
    REFUSED,
    REJECTED,
    SIDES,
    UNKNOWN,
    UNSURE,
    WORKLOAD,
    Held,
    Orders,
)

Category = Literal["duplicated", "resurrected", "lost", "cancelled-yet-filled", "divergent", "unresolved"]
#: The first one that fits counts.
CATEGORIES: tuple[Category, ...] = (
    "duplicated", "resurrected", "lost", "cancelled-yet-filled", "divergent", "unresolved",
)  # fmt: skip


@dataclass(frozen=True)
class Audit:
    """`ids` has every order that is not as it must be, `cases` the first of them with what happened to each."""

    #: why nothing can be said to be right; empty if all was seen
    why: str = ""
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    ids: dict[Category, tuple[str, ...]] = field(default_factory=dict)
    cases: dict[Category, tuple[Case, ...]] = field(default_factory=dict)

    def count(self, category: Category) -> int:
        return len(self.ids.get(category, ()))

    @property
    def clean(self) -> bool:
        return not self.why and not any(self.ids.values())


@dataclass
class _Holding:
    """One side, one row an order: how often it listed it, in which state, how much of it filled."""

    times: bytearray
    state: bytearray
    filled: array[float]


def audit(orders: Orders) -> Audit:
    """Pure; an order that a probe placed after a side was last read is nobody's business any more."""
    why = next(_gaps(orders), "")
    told = Counter(_told_of(orders, WORKLOAD)) + Counter(_told_of(orders, PROBE))
    rows: dict[Category, list[int]] = {category: [] for category in CATEGORIES}
    for row, category in _wrong(orders):
        rows[category].append(row)
    counts = {name: told[code] for code, name in enumerate(OUTCOMES) if code}
    ids = {category: tuple(orders.ids[row] for row in found) for category, found in rows.items()}
    return Audit(why, **counts, ids=ids, cases=cases(orders, rows))


def _told_of(orders: Orders, whose: int) -> Iterator[int]:
    placed = orders.placed
    return (outcome for origin, outcome in zip(placed.origin, placed.outcome, strict=True) if origin == whose)


# --- what was not seen ---------------------------------------------------------------------------------------------


def _gaps(orders: Orders) -> Iterator[str]:
    """Why the history does not tell the fate of every order."""
    if orders.unreadable:
        yield f"the order history cannot be read: {orders.unreadable}"
    if orders.torn:
        yield "the order history breaks off in its last line"
    if ACCEPTED not in _told_of(orders, WORKLOAD):
        yield "no order was accepted, so none shows anything"
    for side in SIDES:
        held = orders.sides.get(side)
        if held is None:
            yield f"the {side}'s orders were never read"
        elif not held.ok:
            yield f"the {side}'s orders could not be read" + (f": {held.why}" if held.why else "")
    yield from _without_end(orders)
    yield from _after_the_read(orders)


def _without_end(orders: Orders) -> Iterator[str]:
    placed = orders.placed
    waiting = [row for row, outcome in enumerate(placed.outcome) if outcome == PENDING and placed.origin[row] != NOBODY]
    if waiting:
        yield f"{len(waiting)} orders, first {orders.ids[waiting[0]]}, have no end in the order history"
    read, cancels = _last_read(orders), orders.cancels
    open_ = [n for n, outcome in enumerate(cancels.outcome) if outcome == PENDING and cancels.at[n] <= read]
    if open_:
        yield f"{len(open_)} cancels, first of {orders.ids[cancels.order[open_[0]]]}, have no end in the order history"


def _after_the_read(orders: Orders) -> Iterator[str]:
    """An order that went on when a side was read for the last time was not seen there, whatever became of it."""
    read, placed = _last_read(orders), orders.placed
    late = [row for row, at in enumerate(placed.done) if at > read and placed.origin[row] == WORKLOAD]
    if late:
        yield f"{len(late)} orders, first {orders.ids[late[0]]}, had their outcome only after the sides were read"


def _last_read(orders: Orders) -> int:
    """Until when both sides were looked at."""
    return min((held.at for held in orders.sides.values()), default=0)


# --- what is wrong -------------------------------------------------------------------------------------------------


def _wrong(orders: Orders) -> Iterator[tuple[int, Category]]:
    gateway, exchange = (_holding(orders, side) for side in SIDES)
    cancelled = _cancelled(orders)
    ours, read, placed = _prefix(orders), _last_read(orders), orders.placed
    for row, origin in enumerate(placed.origin):
        if origin == NOBODY:
            listed = gateway.times[row] or exchange.times[row]
            if ours and listed and orders.ids[row].startswith(ours):
                yield row, "duplicated"
        elif origin == WORKLOAD or placed.done[row] <= read:
            category = _category(placed.outcome[row], row, gateway, exchange, row in cancelled)
            if category is not None:
                yield row, category


def _prefix(orders: Orders) -> str:
    """How the ids of this run's workload begin: `vc-<run>-`. What begins so and was placed by nobody is a copy."""
    first = next((row for row, origin in enumerate(orders.placed.origin) if origin == WORKLOAD), None)
    return "" if first is None else orders.ids[first].rpartition("-")[0] + "-"


def _holding(orders: Orders, side: str) -> _Holding:
    size = len(orders)
    holding = _Holding(bytearray(size), bytearray(size), array("d", bytes(8 * size)))
    held = orders.sides.get(side) or Held(0, False, "")
    for row, state, filled in zip(held.order, held.state, held.filled, strict=True):
        holding.times[row] = min(holding.times[row] + 1, 2)
        holding.state[row] = state
        holding.filled[row] = filled
    return holding


def _cancelled(orders: Orders) -> frozenset[int]:
    """Whose cancel was accepted, and asked for before the sides were read."""
    read, cancels = _last_read(orders), orders.cancels
    rows = zip(cancels.order, cancels.at, cancels.outcome, strict=True)
    return frozenset(row for row, at, outcome in rows if outcome == ACCEPTED and at <= read)


def _category(outcome: int, row: int, gateway: _Holding, exchange: _Holding, cancelled: bool) -> Category | None:
    if gateway.times[row] > 1 or exchange.times[row] > 1:
        return "duplicated"
    here, there = gateway.state[row], exchange.state[row]
    if outcome == REFUSED:
        return None if _nowhere(here) and _nowhere(there) else "resurrected"
    if outcome == ACCEPTED and there == ABSENT:
        return "lost"
    if cancelled and there == FILLED:
        return "cancelled-yet-filled"
    same = here == there and gateway.filled[row] == exchange.filled[row]
    if outcome == UNKNOWN:
        return None if (same and here != UNSURE) or (_nowhere(here) and _nowhere(there)) else "unresolved"
    if outcome == ACCEPTED and not same:
        return "divergent"
    return "unresolved" if here == UNSURE else None


def _nowhere(state: int) -> bool:
    """A side that lists an order as rejected says that there is no such order."""
    return state in (ABSENT, REJECTED)
