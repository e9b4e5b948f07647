"""The engine's books: risk checks, orders, positions and balances, as plain functions of messages.

Amounts are decimal strings on the wire and in the checkpoint, Decimals inside. A settlement names what an order has
executed in total, so that telling it twice changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

MAX_NOTIONAL = Decimal(1_000_000)
OPENING = {"USDT": "1000000", "BTC": "10", "ETH": "100", "BNB": "100"}
OPEN = ("PENDING", "NEW", "PARTIALLY_FILLED", "UNKNOWN")
NOT_OPEN = ""


@dataclass
class Entry:
    """One order as the engine knows it; `executed` and `quote` are totals so far."""

    symbol: str
    side: str
    qty: str
    price: str
    status: str = "PENDING"
    executed: str = "0"
    quote: str = "0"


@dataclass
class Ledger:
    orders: dict[str, Entry] = field(default_factory=dict)
    positions: dict[str, list[str]] = field(default_factory=dict)  # symbol -> [quantity, cost]
    balances: dict[str, str] = field(default_factory=lambda: dict(OPENING))
    locked: dict[str, Decimal] = field(default_factory=dict)  # what open orders lock, kept up to date


def assets(symbol: str) -> tuple[str, str]:
    return symbol.removesuffix("USDT"), "USDT"


def refusal(ledger: Ledger, entry: Entry) -> str | None:
    """Why the risk check refuses an order, or None."""
    notional = Decimal(entry.qty) * Decimal(entry.price)
    base, quote = assets(entry.symbol)
    if base not in ledger.balances:
        return f"unknown symbol {entry.symbol}"
    if notional > MAX_NOTIONAL:
        return f"notional {notional} above the limit of {MAX_NOTIONAL}"
    asset, needed = (quote, notional) if entry.side == "BUY" else (base, Decimal(entry.qty))
    return f"insufficient {asset}" if needed > Decimal(ledger.balances[asset]) else None


def accept(ledger: Ledger, client_order_id: str, entry: Entry) -> str | None:
    """Record an order that passes the risk check; the refusal otherwise. An order already known is accepted."""
    if client_order_id in ledger.orders:
        return None
    reason = refusal(ledger, entry)
    if reason is None:
        ledger.orders[client_order_id] = entry
        _lock(ledger, entry, 1)
    return reason


def settle(ledger: Ledger, client_order_id: str, told: Entry) -> bool:
    """Take over what the exchange says of an order: status, total executed quantity and quote amount. News or not?"""
    if ledger.orders.get(client_order_id) == told:
        return False
    known = ledger.orders.setdefault(client_order_id, Entry(told.symbol, told.side, told.qty, told.price, NOT_OPEN))
    _lock(ledger, known, -1)
    quantity = Decimal(told.executed) - Decimal(known.executed)
    amount = Decimal(told.quote) - Decimal(known.quote)
    known.status, known.executed, known.quote = told.status, told.executed, told.quote
    if quantity:
        _book(ledger, told.symbol, quantity if told.side == "BUY" else -quantity, amount)
    known.price = told.price
    _lock(ledger, known, 1)
    return True


def _book(ledger: Ledger, symbol: str, quantity: Decimal, amount: Decimal) -> None:
    """Move `quantity` (negative: sold) of the base asset against `amount` (positive) of the quote asset."""
    paid = amount if quantity > 0 else -amount
    base, quote = assets(symbol)
    held, cost = map(Decimal, ledger.positions.get(symbol, ["0", "0"]))
    ledger.positions[symbol] = [str(held + quantity), str(cost + paid)]
    ledger.balances[base] = str(Decimal(ledger.balances.get(base, "0")) + quantity)
    ledger.balances[quote] = str(Decimal(ledger.balances[quote]) - paid)


def positions(ledger: Ledger) -> list[dict[str, str]]:
    return [
        {"symbol": symbol, "qty": plain(Decimal(held)), "avg_price": plain(_average(Decimal(held), Decimal(cost)))}
        for symbol, (held, cost) in sorted(ledger.positions.items())
    ]


def _average(held: Decimal, cost: Decimal) -> Decimal:
    return round(cost / held, 8) if held else Decimal(0)


def balances(ledger: Ledger) -> list[dict[str, str]]:
    """Per asset what is free, what open orders lock, and the total, which resting orders do not change."""
    locked = ledger.locked
    return [_balance(asset, Decimal(total), locked.get(asset, Decimal(0))) for asset, total in _sorted(ledger)]


def _sorted(ledger: Ledger) -> list[tuple[str, str]]:
    return sorted(ledger.balances.items())


def _balance(asset: str, total: Decimal, locked: Decimal) -> dict[str, str]:
    return {"asset": asset, "free": plain(total - locked), "locked": plain(locked), "total": plain(total)}


def _lock(ledger: Ledger, entry: Entry, sign: int) -> None:
    """Lock (1) or free (-1) what an order needs, if it is open."""
    if entry.status in OPEN:
        base, quote = assets(entry.symbol)
        left = Decimal(entry.qty) - Decimal(entry.executed)
        asset, amount = (quote, left * Decimal(entry.price)) if entry.side == "BUY" else (base, left)
        ledger.locked[asset] = ledger.locked.get(asset, Decimal(0)) + sign * amount


def plain(number: Decimal) -> str:
    """Without exponent and without trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_dict(ledger: Ledger) -> dict[str, Any]:
    orders = {name: vars(entry) for name, entry in ledger.orders.items()}
    return {"orders": orders, "positions": ledger.positions, "balances": ledger.balances}


def from_dict(fields: dict[str, Any]) -> Ledger:
    orders = {name: Entry(**entry) for name, entry in fields["orders"].items()}
    ledger = Ledger(orders, fields["positions"], fields["balances"])
    for entry in orders.values():
        _lock(ledger, entry, 1)
    return ledger
