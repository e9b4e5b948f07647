"""The exchange's order book: matching at a deterministic, moving price, as plain functions of orders and time.

The price of a symbol is a slow sine around its base. An order is marketable when its limit reaches the price; then it
fills whole at the price. Resting orders are matched whenever somebody looks, the best price first. Amounts are
Decimals. A client order id names the latest order with it: it may be used again once that is no longer open, as at
Binance.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

BASE_PRICES = {"BTCUSDT": 50_000, "ETHUSDT": 3_000, "BNBUSDT": 600}
SWING, PERIOD = 0.001, 60.0
TICK, STEP = Decimal("0.01"), Decimal("0.00001")
OPENING = {"USDT": Decimal(10_000_000), "BTC": Decimal(100), "ETH": Decimal(1_000), "BNB": Decimal(1_000)}


class OrderError(Exception):
    """Binance's error body: a negative code and a message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Order:
    """Times in milliseconds since the epoch; `price` is 0 for MARKET; `quote` is the amount executed so far."""

    symbol: str
    order_id: int
    client_order_id: str
    side: str
    type: str
    time_in_force: str
    qty: Decimal
    price: Decimal
    time: int
    update_time: int
    status: str = "NEW"
    executed: Decimal = Decimal(0)
    quote: Decimal = Decimal(0)


def price_of(symbol: str, seconds: float) -> Decimal:
    """The price at a wall-clock time, to the tick."""
    base = BASE_PRICES[symbol]
    swing = SWING * math.sin(2 * math.pi * seconds / PERIOD + len(symbol) + base)
    return Decimal(base * (1 + swing)).quantize(TICK)


def marketable(order: Order, price: Decimal) -> bool:
    if order.type == "MARKET":
        return True
    return order.price >= price if order.side == "BUY" else order.price <= price


def assets(symbol: str) -> tuple[str, str]:
    return symbol.removesuffix("USDT"), "USDT"


class Book:
    """All orders ever placed; `record` is called with an order after each change of it."""

    def __init__(self, orders: Iterable[Order], record: Callable[[Order], None]) -> None:
        self._record = record
        self._orders: list[Order] = []
        self._latest: dict[str, Order] = {}
        self._open: dict[int, Order] = {}
        self._queues: dict[tuple[str, str], list[tuple[Decimal, int]]] = {}
        self._totals = dict(OPENING)
        self._locked = dict.fromkeys(OPENING, Decimal(0))
        for order in orders:
            self._add(order)
            self._move(order)
            if order.status == "NEW":
                self._rest(order)

    def place(self, order: Order, now: float) -> Order:
        """Fill it, rest it or expire it. Raises OrderError: an open order has its id, or funds are lacking."""
        earlier = self._latest.get(order.client_order_id)
        if earlier and earlier.order_id in self._open:
            raise OrderError(-2010, "Duplicate order sent.")
        price = price_of(order.symbol, now)
        self._check_funds(order, price)
        order.order_id = len(self._orders) + 1
        self._add(order)
        if marketable(order, price):
            self._fill(order, price, now)
        elif order.time_in_force == "GTC":
            self._rest(order)
            self._record(order)
        else:
            self._change(order, "EXPIRED", now)
        return order

    def cancel(self, order: Order, now: float) -> None:
        if order.order_id not in self._open:
            raise OrderError(-2011, "Unknown order sent.")
        self._take_off(order)
        self._change(order, "CANCELED", now)

    def match(self, now: float) -> None:
        """Fill the resting orders that the price has reached."""
        for (symbol, _), queue in self._queues.items():
            price = price_of(symbol, now)
            while queue and self._done_with(queue[0][1], price, now):
                heapq.heappop(queue)

    def _done_with(self, number: int, price: Decimal, now: float) -> bool:
        """Whether the order is open no longer, perhaps because it is filled right here."""
        order = self._open.get(number)
        if order and marketable(order, price):
            self._take_off(order)
            self._fill(order, price, now)
            return True
        return order is None

    def find(self, symbol: str, order_id: str | None, client_order_id: str | None) -> Order | None:
        order = self._latest.get(client_order_id) if client_order_id else self._by_number(order_id or "")
        return order if order and order.symbol == symbol else None

    def _by_number(self, text: str) -> Order | None:
        number = int(text) if text.isdigit() else 0
        return self._orders[number - 1] if 0 < number <= len(self._orders) else None

    def all(self, symbol: str) -> list[Order]:
        return [order for order in self._orders if order.symbol == symbol]

    def open(self, symbol: str | None) -> list[Order]:
        return [order for order in self._open.values() if symbol in (None, order.symbol)]

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Per asset what is free and what open orders lock."""
        return {asset: self._balance(asset) for asset in sorted(self._totals)}

    def _balance(self, asset: str) -> tuple[Decimal, Decimal]:
        return self._totals[asset] - self._locked[asset], self._locked[asset]

    def _check_funds(self, order: Order, price: Decimal) -> None:
        asset, amount = needs(order, order.price or price)
        if amount > self._balance(asset)[0]:
            raise OrderError(-2010, "Account has insufficient balance for requested action.")

    def _add(self, order: Order) -> None:
        self._orders.append(order)
        self._latest[order.client_order_id] = order

    def _rest(self, order: Order) -> None:
        self._open[order.order_id] = order
        asset, amount = needs(order, order.price)
        self._locked[asset] += amount
        best_first = -order.price if order.side == "BUY" else order.price
        heapq.heappush(self._queues.setdefault((order.symbol, order.side), []), (best_first, order.order_id))

    def _take_off(self, order: Order) -> None:
        del self._open[order.order_id]
        asset, amount = needs(order, order.price)
        self._locked[asset] -= amount

    def _fill(self, order: Order, price: Decimal, now: float) -> None:
        order.executed, order.quote = order.qty, order.qty * price
        self._move(order)
        self._change(order, "FILLED", now)

    def _move(self, order: Order) -> None:
        base, quote = assets(order.symbol)
        sign = 1 if order.side == "BUY" else -1
        self._totals[base] += sign * order.executed
        self._totals[quote] -= sign * order.quote

    def _change(self, order: Order, status: str, now: float) -> None:
        order.status, order.update_time = status, int(now * 1000)
        self._record(order)


def needs(order: Order, price: Decimal) -> tuple[str, Decimal]:
    """The asset and the amount of it that the order takes if it fills at this price."""
    base, quote = assets(order.symbol)
    return (quote, order.qty * price) if order.side == "BUY" else (base, order.qty)
