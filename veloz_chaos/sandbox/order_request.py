"""Reading the JSON of POST /api/order into an order."""

from __future__ import annotations

import uuid
from decimal import Decimal, InvalidOperation
from typing import Any

from veloz_chaos.sandbox.order_store import Order


class BadParameters(Exception):
    """The message says which one and why."""


def read(fields: Any) -> Order:
    """{side, symbol, qty, price, client_order_id?, type? = LIMIT, time_in_force? = GTC}. Raises BadParameters."""
    if not isinstance(fields, dict):
        raise BadParameters("the body must be a JSON object")
    kind = _one_of(fields, "type", ("LIMIT", "MARKET"), "LIMIT")
    return Order(
        client_order_id=_text(fields, "client_order_id", f"gw-{uuid.uuid4().hex}"),
        symbol=_text(fields, "symbol", ""),
        side=_one_of(fields, "side", ("BUY", "SELL"), ""),
        type=kind,
        time_in_force=_one_of(fields, "time_in_force", ("GTC", "IOC", "FOK"), "GTC"),
        qty=_amount(fields, "qty"),
        price=_amount(fields, "price") if kind == "LIMIT" else "0",
    )


def _text(fields: dict[str, Any], name: str, default: str) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or not 0 < len(value) <= 64:
        raise BadParameters(f"{name} must be a text of 1 to 64 characters")
    return value


def _one_of(fields: dict[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = str(fields.get(name, default)).upper()
    if value not in allowed:
        raise BadParameters(f"{name} must be one of {', '.join(allowed)}")
    return value


def _amount(fields: dict[str, Any], name: str) -> str:
    try:
        value = Decimal(str(fields.get(name)))
    except InvalidOperation:
        raise BadParameters(f"{name} must be a number") from None
    if not value.is_finite() or value <= 0:
        raise BadParameters(f"{name} must be positive")
    return f"{value:f}"
