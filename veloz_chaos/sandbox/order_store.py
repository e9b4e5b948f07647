"""The gateway's orders: one line per state in an order log, restored at start, the last line of an order wins.

Orders of unknown outcome and open ones are indexed, and every order's JSON is kept until it changes: what is done all
the time costs no more with ten thousand orders than with ten.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from veloz_chaos.sandbox.order_log import OrderLog

#: Sent, or about to be, and not known to have arrived.
UNSETTLED = ("PENDING", "UNKNOWN")
OPEN = ("NEW", "PARTIALLY_FILLED")
#: Known to exist nowhere; not listed. REFUSED was never sent and may be tried again under the same id.
NOWHERE = ("REFUSED", "REJECTED")
#: Of an order's line, what nobody outside is shown.
HIDDEN = ("code", "message", "sent_ns")


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
    """`forget` restores nothing but orders of unknown outcome, for the flaw gateway-state-not-restored."""

    def __init__(self, log: OrderLog, listener: Listener, forget: bool = False) -> None:
        self._log, self._listener = log, listener
        self._orders: dict[str, Order] = {}
        self._indexed: dict[str, dict[str, Order]] = {"UNKNOWN": {}, "OPEN": {}}
        self._bodies: dict[str, bytes] = {}
        for number, line in enumerate(log.restored(), 1):
            self._take(number, Order(**json.loads(line)))
        for order in self.all() if forget else ():
            if order.status not in UNSETTLED:
                self._forget(order.client_order_id)

    def save(self, order: Order) -> None:
        order.ts_ns = time.time_ns()
        self._take(self._log.append(json.dumps(vars(order)).encode()), order)

    def _take(self, number: int, order: Order) -> None:
        self.hold(order)
        self._listener(number, order)

    def hold(self, order: Order) -> None:
        """In memory alone."""
        name = order.client_order_id
        self._orders[name] = order
        self._bodies.pop(name, None)
        for index, holds in (("UNKNOWN", order.status == "UNKNOWN"), ("OPEN", order.status in OPEN)):
            if holds:
                self._indexed[index][name] = order
            else:
                self._indexed[index].pop(name, None)

    def _forget(self, name: str) -> None:
        for orders in (self._orders, *self._indexed.values()):
            orders.pop(name, None)
        self._bodies.pop(name, None)

    def get(self, client_order_id: str) -> Order | None:
        return self._orders.get(client_order_id)

    def all(self) -> list[Order]:
        return list(self._orders.values())

    def unknown(self) -> list[Order]:
        """Those whose outcome is unknown."""
        return list(self._indexed["UNKNOWN"].values())

    def open(self) -> list[Order]:
        return list(self._indexed["OPEN"].values())

    def listed(self, status: str | None = None) -> list[Order]:
        """The orders that exist, or may; only those of one status if one is given."""
        return [
            order
            for order in self._orders.values()
            if order.status not in NOWHERE and (status is None or order.status == status)
        ]

    def json_of(self, orders: Iterable[Order]) -> bytes:
        """A JSON array of what is shown of them."""
        return b"[" + b",".join(map(self._body, orders)) + b"]"

    def _body(self, order: Order) -> bytes:
        body = self._bodies.get(order.client_order_id)
        if body is None:
            body = self._bodies[order.client_order_id] = json.dumps(shown(vars(order))).encode()
        return body


def shown(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of an order's line."""
    return {name: value for name, value in fields.items() if name not in HIDDEN}
