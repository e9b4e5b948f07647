"""The gateway's orders: one line per state in `<directory>/gateway/orders.jsonl`, restored at start, last line wins.

The number of the line is the id of the event that /api/stream sends, so that a client can resume over a restart.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Sent, or about to be, and not known to have arrived.
UNSETTLED = ("PENDING", "UNKNOWN")
OPEN = ("NEW", "PARTIALLY_FILLED")
#: Known to exist nowhere; not listed. REFUSED was never sent and may be tried again under the same id.
NOWHERE = ("REFUSED", "REJECTED")


@dataclass
class Order:
    """Amounts are decimal strings; `price` is "0" for MARKET; times are nanoseconds since the epoch."""

    client_order_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    qty: str
    price: str
    status: str = "PENDING"
    order_id: int | None = None
    executed_qty: str = "0"
    quote_qty: str = "0"
    code: int | None = None
    message: str = ""
    sent_ns: int = 0
    ts_ns: int = 0


Listener = Callable[[int, Order], None]


class OrderStore:
    """`forget` ignores what an earlier incarnation left, for the flaw of that name."""

    def __init__(self, file: Path, listener: Listener, forget: bool = False) -> None:
        self._listener = listener
        self._orders: dict[str, Order] = {}
        self._lines = 0
        if forget:
            file.unlink(missing_ok=True)
        for fields in _lines(file):
            self._take(Order(**fields))
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def save(self, order: Order) -> None:
        order.ts_ns = time.time_ns()
        os.write(self._file, json.dumps(asdict(order)).encode() + b"\n")
        self._take(order)

    def _take(self, order: Order) -> None:
        self._lines += 1
        self._orders[order.client_order_id] = order
        self._listener(self._lines, order)

    def get(self, client_order_id: str) -> Order | None:
        return self._orders.get(client_order_id)

    def all(self) -> list[Order]:
        return list(self._orders.values())

    def in_state(self, states: tuple[str, ...]) -> list[Order]:
        return [order for order in self._orders.values() if order.status in states]


def _lines(file: Path) -> list[dict[str, Any]]:
    """The complete lines; a last one torn by a kill is cut off."""
    if not file.exists():
        return []
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(file, len(whole))
    return [json.loads(line) for line in whole.splitlines()]
