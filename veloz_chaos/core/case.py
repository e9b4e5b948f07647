"""One order's own history, so that a reader sees what happened to it and need not believe a count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.length import length
from veloz_chaos.core.orders import NOBODY, OUTCOMES, PENDING, PROBE, SIDES, STATES, Orders

#: Orders of one category that are told in full.
TOLD = 10
K = TypeVar("K")


@dataclass(frozen=True)
class Operation:
    """Boot-time ns."""

    at: int
    what: str


@dataclass(frozen=True)
class Case:
    order: str
    history: tuple[Operation, ...]

    def __str__(self) -> str:
        """`placed (BUY 0.01 BTCUSDT at 1000), 12 ms later accepted (200), …`: each length from the one before it."""
        if not self.history:
            return "nothing is known of it"
        said, before = [self.history[0].what], self.history[0].at
        for operation in self.history[1:]:
            said.append(f"{length(max(0, operation.at - before))} later {operation.what}")
            before = operation.at
        return ", ".join(said)


def cases(orders: Orders, rows: Mapping[K, Sequence[int]], most: int = TOLD) -> dict[K, tuple[Case, ...]]:
    """The first orders of each category, told from what was sent, answered and found, in the order of time."""
    wanted = {row for found in rows.values() for row in found[:most]}
    told: dict[int, list[Operation]] = {row: list(_placing(orders, row)) for row in wanted}
    for row, operation in [*_cancels(orders, wanted), *_found(orders, wanted)]:
        told[row].append(operation)
    return {
        key: tuple(Case(orders.ids[row], tuple(sorted(told[row], key=_instant))) for row in found[:most])
        for key, found in rows.items()
    }


def _instant(operation: Operation) -> int:
    return operation.at


def _placing(orders: Orders, row: int) -> Iterator[Operation]:
    placed = orders.placed
    if placed.origin[row] == NOBODY:
        return
    by = "placed by a probe" if placed.origin[row] == PROBE else "placed"
    terms = orders.terms.values[placed.terms[row]]
    yield Operation(placed.at[row], by + (f" ({_terms(*terms)})" if terms else ""))
    if placed.outcome[row] != PENDING:
        yield Operation(placed.done[row], _outcome(orders, placed.outcome[row], placed.answer[row]))


def _terms(side: str, quantity: str, symbol: str, price: str) -> str:
    return f"{side} {quantity} {symbol} at {price}"


def _outcome(orders: Orders, outcome: int, answer: int) -> str:
    status, why = orders.answers.values[answer]
    because = ": ".join(str(part) for part in (status, why) if part)
    word = "of unknown outcome" if OUTCOMES[outcome] == "unknown" else OUTCOMES[outcome]
    return word + (f" ({because})" if because else "")


def _cancels(orders: Orders, wanted: set[int]) -> Iterator[tuple[int, Operation]]:
    cancels = orders.cancels
    for n, row in enumerate(cancels.order):
        if row in wanted:
            yield row, Operation(cancels.at[n], "a cancel was sent")
            if cancels.outcome[n] != PENDING:
                said = _outcome(orders, cancels.outcome[n], cancels.answer[n])
                yield row, Operation(cancels.done[n], f"the cancel was {said}")


def _found(orders: Orders, wanted: set[int]) -> Iterator[tuple[int, Operation]]:
    for side in SIDES:
        held = orders.sides.get(side)
        if held is None:
            continue
        missing = set(wanted)
        for row, state, filled in zip(held.order, held.state, held.filled, strict=True):
            if row in wanted:
                missing.discard(row)
                more = f" with {filled:g} filled" if filled else ""
                yield row, Operation(held.at, f"{STATES[state]}{more} at the {side}")
        absent = f"absent at the {side}" if held.ok else f"the {side} could not be read"
        yield from ((row, Operation(held.at, absent)) for row in sorted(missing))


def as_json(case: Case, started: int) -> dict[str, object]:
    """Instants in seconds since the run started."""
    history = [{"at": round((op.at - started) / SECOND, 6), "what": op.what} for op in case.history]
    return {"order": case.order, "history": history}
