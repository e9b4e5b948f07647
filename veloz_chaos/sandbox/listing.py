"""Long lists of orders as the exchange answers them: JSON kept per order until it changes, made without holding up
whoever else asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from veloz_chaos.sandbox.binance import order_body
from veloz_chaos.sandbox.book import Order

#: So many orders are written down between two looks at what else there is to do.
AT_ONCE = 250


class Listing:
    def __init__(self) -> None:
        self._bodies: dict[int, bytes] = {}

    def changed(self, order: Order) -> None:
        self._bodies.pop(order.order_id, None)

    async def json_of(self, orders: Sequence[Order]) -> bytes:
        """A JSON array of the orders."""
        bodies: list[bytes] = []
        for start in range(0, len(orders), AT_ONCE):
            bodies += map(self._body, orders[start : start + AT_ONCE])
            await asyncio.sleep(0)
        return b"[" + b",".join(bodies) + b"]"

    def _body(self, order: Order) -> bytes:
        body = self._bodies.get(order.order_id)
        if body is None:
            body = self._bodies[order.order_id] = json.dumps(order_body(order)).encode()
        return body
