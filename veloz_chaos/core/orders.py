"""The order history of a workload, one operation a line, read into columns: a million of them fit into some 100 MB.

Every order has one row; what a side held when it was last read stands in that side's own columns. Instants are
boot-time nanoseconds. A torn last line is left out and remembered; anything else that is no operation is an error.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from typing import Any, Literal

Side = Literal["gateway", "exchange"]
SIDES: tuple[Side, ...] = ("gateway", "exchange")
PENDING, ACCEPTED, REFUSED, UNKNOWN = range(4)
OUTCOMES = ("pending", "accepted", "refused", "unknown")
NOBODY, WORKLOAD, PROBE = range(3)
ABSENT, OPEN, FILLED, CANCELLED, EXPIRED, REJECTED, UNSURE = range(7)
STATES = ("absent", "open", "filled", "cancelled", "expired", "rejected", "unknown")

_OUTCOME = {name: code for code, name in enumerate(OUTCOMES) if code}
_STATE = {name: code for code, name in enumerate(STATES) if code}
#: So many lines are parsed in one go.
_CHUNK = 500


class UnreadableOrders(ValueError):
    """What is no order history; names the line."""


class Interned:
    """Few distinct values, each kept once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._codes: dict[Any, int] = {}

    def code(self, value: Any) -> int:
        found = self._codes.get(value)
        if found is None:
            found = self._codes[value] = len(self.values)
            self.values.append(value)
        return found


@dataclass
class Placed:
    """One row an order. `answer` and `terms` are codes of `Orders.answers` and `Orders.terms`."""

    origin: bytearray = field(default_factory=bytearray)
    due: array[int] = field(default_factory=lambda: array("q"))
    at: array[int] = field(default_factory=lambda: array("q"))
    done: array[int] = field(default_factory=lambda: array("q"))
    outcome: bytearray = field(default_factory=bytearray)
    answer: array[int] = field(default_factory=lambda: array("i"))
    terms: array[int] = field(default_factory=lambda: array("i"))

    def add(self, origin: int, due: int, at: int, terms: int) -> None:
        self.origin.append(origin)
        self.due.append(due)
        self.at.append(at)
        self.done.append(0)
        self.outcome.append(PENDING)
        self.answer.append(0)
        self.terms.append(terms)

    def claim(self, row: int, origin: int, due: int, at: int, terms: int) -> None:
        """Of an order that was found before its placing was written down."""
        self.origin[row], self.due[row], self.at[row], self.terms[row] = origin, due, at, terms


@dataclass
class Cancels:
    """One row a cancel, in the order of sending."""

    order: array[int] = field(default_factory=lambda: array("i"))
    at: array[int] = field(default_factory=lambda: array("q"))
    done: array[int] = field(default_factory=lambda: array("q"))
    outcome: bytearray = field(default_factory=bytearray)
    answer: array[int] = field(default_factory=lambda: array("i"))

    def send(self, order: int, at: int) -> int:
        self.order.append(order)
        self.at.append(at)
        self.outcome.append(PENDING)
        self.done.append(0)
        self.answer.append(0)
        return len(self.order) - 1


@dataclass
class Held:
    """What one side held when it was last read: one row an order it listed, twice if it listed it twice."""

    at: int
    ok: bool
    why: str
    order: array[int] = field(default_factory=lambda: array("i"))
    state: bytearray = field(default_factory=bytearray)
    filled: array[float] = field(default_factory=lambda: array("d"))


@dataclass
class Orders:
    ids: list[str] = field(default_factory=list)
    placed: Placed = field(default_factory=Placed)
    cancels: Cancels = field(default_factory=Cancels)
    sides: dict[str, Held] = field(default_factory=dict)
    #: (status, why)
    answers: Interned = field(default_factory=Interned)
    #: (side, quantity, symbol, price)
    terms: Interned = field(default_factory=Interned)
    #: the last line was not whole
    torn: bool = False
    #: why nothing could be read; the rest is empty then
    unreadable: str = ""
    #: of all that was read, torn line included
    sha256: str = ""
    _rows: dict[str, int] = field(default_factory=dict, repr=False)
    #: the cancels of an order that still have no outcome, the oldest first
    _open_cancels: dict[int, list[int]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, line: dict[str, Any]) -> None:
        terms = (line["side"], line.get("qty"), line.get("symbol"), line.get("price"))
        self._place(line["id"], WORKLOAD, line["due"], line["at"], self.terms.code(terms))

    def probe(self, line: dict[str, Any]) -> None:
        at = line["at"]
        row = self._place(line["id"], PROBE, at, at, self.terms.code(None))
        placed = self.placed
        placed.done[row], placed.outcome[row], placed.answer[row] = at, _OUTCOME[line["outcome"]], self._answer(line)

    def _place(self, name: str, origin: int, due: int, at: int, terms: int) -> int:
        row = self._rows.get(name)
        if row is None:
            return self._add(name, origin, due, at, terms)
        if self.placed.origin[row] != NOBODY:
            raise ValueError(f"{name} is placed a second time")
        self.placed.claim(row, origin, due, at, terms)
        return row

    def _add(self, name: str, origin: int, due: int, at: int, terms: int) -> int:
        if not isinstance(name, str):
            raise ValueError(f"an order's id is text, not {name!r}")
        row = self._rows[name] = len(self.ids)
        self.ids.append(name)
        self.placed.add(origin, due, at, terms)
        return row

    def _answer(self, line: dict[str, Any]) -> int:
        return self.answers.code((line.get("status"), line.get("why", "")))

    def cancel(self, line: dict[str, Any]) -> None:
        """Also of what nobody placed: a copy that was found, and is tidied up."""
        name = line["id"]
        row = self._rows.get(name)
        if row is None:
            row = self._add(name, NOBODY, 0, 0, 0)
        self._open_cancels.setdefault(row, []).append(self.cancels.send(row, line["at"]))

    def done(self, line: dict[str, Any]) -> None:
        name, of = line["id"], line["of"]
        row = self._rows.get(name, -1)
        of_them: Placed | Cancels = self.placed
        if of == "cancel":
            under_way = self._open_cancels.get(row)
            row, of_them = under_way.pop(0) if under_way else -1, self.cancels
        elif of != "place":
            raise ValueError(f"nothing is called `{of}` that could be done")
        elif row >= 0 and self.placed.origin[row] == NOBODY:
            row = -1
        if row < 0 or of_them.outcome[row] != PENDING:
            raise ValueError(f"the {of} of {name} is done, but not under way")
        of_them.done[row] = line["at"]
        of_them.outcome[row] = _OUTCOME[line["outcome"]]
        of_them.answer[row] = self._answer(line)

    def read(self, line: dict[str, Any]) -> None:
        if line["side"] not in SIDES:
            raise ValueError(f"there is no side `{line['side']}`")
        self.sides[line["side"]] = Held(line["at"], line["ok"] is True, str(line.get("why", "")))

    def found(self, line: dict[str, Any]) -> None:
        held = self.sides.get(line["side"])
        if held is None:
            raise ValueError(f"an order is found at the {line['side']}, which was not read")
        name = line["id"]
        row = self._rows.get(name)
        held.order.append(self._add(name, NOBODY, 0, 0, 0) if row is None else row)
        held.state.append(_STATE[line["state"]])
        held.filled.append(float(line.get("filled") or 0))


_APPLY: dict[str, Callable[[Orders, dict[str, Any]], None]] = {
    "place": Orders.place,
    "done": Orders.done,
    "found": Orders.found,
    "cancel": Orders.cancel,
    "probe": Orders.probe,
    "read": Orders.read,
}


def read(lines: Iterable[bytes]) -> Orders:
    """The whole history, its lines with their newlines. Raises UnreadableOrders with the line that is wrong."""
    orders, digest, number = Orders(), sha256(), 0
    rest = iter(lines)
    while chunk := list(islice(rest, _CHUNK)):
        digest.update(b"".join(chunk))
        orders.torn = _take_in(orders, chunk, number)
        if orders.torn and (not _is_torn(chunk[-1]) or next(rest, None) is not None):
            raise _wrong(number + len(chunk), chunk[-1])
        number += len(chunk)
    orders.sha256 = digest.hexdigest()
    return orders


def _take_in(orders: Orders, chunk: list[bytes], number: int) -> bool:
    """All lines parsed at once, which is much faster; one by one where that does not work. Is the last one broken?"""
    try:
        found = json.loads(b"[" + b",".join(chunk) + b"]")
        torn = False
    except ValueError:
        found, torn = _one_by_one(chunk, number)
    if len(found) + torn != len(chunk):
        found, torn = _one_by_one(chunk, number)
    _apply(orders, found, number)
    return torn


def _one_by_one(chunk: list[bytes], number: int) -> tuple[list[Any], bool]:
    found: list[Any] = []
    for n, line in enumerate(chunk, start=1):
        try:
            found.append(json.loads(line))
        except ValueError:
            if n < len(chunk):
                raise _wrong(number + n, line) from None
    return found, len(found) < len(chunk)


def _is_torn(line: bytes) -> bool:
    """Whoever wrote it died in it; what ends with a newline was written whole."""
    return not line.endswith(b"\n")


def _wrong(number: int, line: bytes) -> UnreadableOrders:
    return UnreadableOrders(f"line {number}: no operation, but {line[:60]!r}")


def _apply(orders: Orders, found: list[Any], number: int) -> None:
    known = {op: apply.__get__(orders) for op, apply in _APPLY.items()}
    try:
        for line in found:
            number += 1
            known[line["op"]](line)
    except KeyError as error:
        what = (
            f"there is no operation {error}" if line.get("op") not in known else f"an operation without a known {error}"
        )
        raise UnreadableOrders(f"line {number}: {what}") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableOrders(f"line {number}: {error}") from None
