"""The exchange's order book: matching at a deterministic, moving price, as plain functions of orders and time.

The price of a symbol is a slow sine around its base. An order is marketable when its limit reaches the price; then it
fills whole at the price. Resting orders are matched whenever somebody looks. Amounts are Decimals.
"""

from __future__ import annotations

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
        self._orders: dict[str, Order] = {}
        self._open: dict[str, Order] = {}
        self._totals = dict(OPENING)
        for order in orders:
            self._restore(order)

    def _restore(self, order: Order) -> None:
        self._orders[order.client_order_id] = order
        self._move(order)
        if order.status == "NEW":
            self._open[order.client_order_id] = order

    def place(self, order: Order, now: float) -> Order:
        """Fill it, rest it or expire it. Raises OrderError for a duplicate or for a lack of funds."""
        if order.client_order_id in self._orders:
            raise OrderError(-2010, "Duplicate order sent.")
        price = price_of(order.symbol, now)
        self._check_funds(order, price)
        order.order_id = len(self._orders) + 1
        self._orders[order.client_order_id] = order
        if marketable(order, price):
            self._fill(order, price, now)
        elif order.time_in_force == "GTC":
            self._open[order.client_order_id] = order
            self._record(order)
        else:
            self._change(order, "EXPIRED", now)
        return order

    def cancel(self, order: Order, now: float) -> None:
        if self._open.pop(order.client_order_id, None) is None:
            raise OrderError(-2011, "Unknown order sent.")
        self._change(order, "CANCELED", now)

    def match(self, now: float) -> None:
        """Fill the resting orders that the price has reached."""
        for order in list(self._open.values()):
            price = price_of(order.symbol, now)
            if marketable(order, price):
                del self._open[order.client_order_id]
                self._fill(order, price, now)

    def find(self, symbol: str, order_id: str | None, client_order_id: str | None) -> Order | None:
        order = self._orders.get(client_order_id) if client_order_id else self._by_number(order_id)
        return order if order and order.symbol == symbol else None

    def _by_number(self, order_id: str | None) -> Order | None:
        return next((order for order in self._orders.values() if str(order.order_id) == order_id), None)

    def all(self, symbol: str | None) -> list[Order]:
        return [order for order in self._orders.values() if symbol in (None, order.symbol)]

    def open(self, symbol: str | None) -> list[Order]:
        return [order for order in self._open.values() if symbol in (None, order.symbol)]

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Per asset what is free and what open orders lock."""
        locked = dict.fromkeys(self._totals, Decimal(0))
        for order in self._open.values():
            asset, amount = needs(order, order.price)
            locked[asset] += amount
        return {asset: (total - locked[asset], locked[asset]) for asset, total in sorted(self._totals.items())}

    def _check_funds(self, order: Order, price: Decimal) -> None:
        asset, amount = needs(order, order.price or price)
        if amount > self.balances()[asset][0]:
            raise OrderError(-2010, "Account has insufficient balance for requested action.")

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
