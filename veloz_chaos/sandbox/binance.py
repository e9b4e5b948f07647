"""Binance's spot wire format: parameters checked as Binance checks them, orders and errors as Binance writes them.

Source: the Binance spot REST API documentation ("General endpoints", "Trading endpoints", "Errors", "Filters").
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from veloz_chaos.sandbox.book import BASE_PRICES, STEP, TICK, Order, OrderError, assets

WEIGHTS = {
    "/api/v3/ping": 1,
    "/api/v3/time": 1,
    "/api/v3/exchangeInfo": 20,
    "/api/v3/ticker/price": 2,
    "/api/v3/order": 1,
    "/api/v3/openOrders": 6,
    "/api/v3/allOrders": 20,
    "/api/v3/account": 20,
}
Parameters = Mapping[str, str]


def required(parameters: Parameters, name: str) -> str:
    value = parameters.get(name, "")
    if not value:
        raise OrderError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return value


def one_of(parameters: Parameters, name: str, allowed: tuple[str, ...], code: int, message: str) -> str:
    value = required(parameters, name)
    if value not in allowed:
        raise OrderError(code, message)
    return value


def symbol(parameters: Parameters) -> str:
    return one_of(parameters, "symbol", tuple(BASE_PRICES), -1121, "Invalid symbol.")


def amount(parameters: Parameters, name: str, step: Decimal, filter_name: str) -> Decimal:
    """A positive multiple of the step."""
    try:
        value = Decimal(required(parameters, name))
    except InvalidOperation:
        raise OrderError(-1100, f"Illegal characters found in parameter '{name}'.") from None
    if not value.is_finite() or value <= 0 or value % step:
        raise OrderError(-1013, f"Filter failure: {filter_name}")
    return value


def whole(parameters: Parameters, name: str) -> int | None:
    """A positive whole number, if it is given."""
    value = parameters.get(name, "")
    if value and not (value.isdigit() and int(value) > 0):
        raise OrderError(-1100, f"Illegal characters found in parameter '{name}'.")
    return int(value) if value else None


def check_time(parameters: Parameters, now: float) -> None:
    """A request may say when it was made and how long it is good for: `timestamp`, `recvWindow` in milliseconds."""
    sent = parameters.get("timestamp", "")
    window = parameters.get("recvWindow", "") or "5000"
    if sent and not (sent.isdigit() and window.isdigit() and now * 1000 - int(sent) <= int(window)):
        raise OrderError(-1021, "Timestamp for this request is outside of the recvWindow.")


def new_order(parameters: Parameters, now: float) -> Order:
    check_time(parameters, now)
    stamp = int(now * 1000)
    kind = one_of(parameters, "type", ("LIMIT", "MARKET"), -1116, "Invalid orderType.")
    limit = kind == "LIMIT"
    return Order(
        symbol=symbol(parameters),
        order_id=0,
        client_order_id=parameters.get("newClientOrderId") or f"x-{time.time_ns()}",
        side=one_of(parameters, "side", ("BUY", "SELL"), -1117, "Invalid side."),
        type=kind,
        time_in_force=_time_in_force(parameters) if limit else "IOC",
        qty=amount(parameters, "quantity", STEP, "LOT_SIZE"),
        price=amount(parameters, "price", TICK, "PRICE_FILTER") if limit else Decimal(0),
        time=stamp,
        update_time=stamp,
    )


def _time_in_force(parameters: Parameters) -> str:
    return one_of(parameters, "timeInForce", ("GTC", "IOC", "FOK"), -1115, "Invalid timeInForce.")


def order_body(order: Order) -> dict[str, object]:
    """As GET /api/v3/order answers."""
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        "price": f"{order.price:.8f}",
        "origQty": f"{order.qty:.8f}",
        "executedQty": f"{order.executed:.8f}",
        "cummulativeQuoteQty": f"{order.quote:.8f}",
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
        "stopPrice": "0.00000000",
        "icebergQty": "0.00000000",
        "time": order.time,
        "updateTime": order.update_time,
        "isWorking": True,
        "workingTime": order.time,
        "origQuoteOrderQty": "0.00000000",
        "selfTradePreventionMode": "NONE",
    }


def placed_body(order: Order) -> dict[str, object]:
    """As POST /api/v3/order answers: with `transactTime` and the fills."""
    left_out = ("time", "updateTime", "isWorking", "stopPrice", "icebergQty")
    body = {name: value for name, value in order_body(order).items() if name not in left_out}
    return {**body, "transactTime": order.update_time, "fills": _fills(order)}


def _fills(order: Order) -> list[dict[str, object]]:
    if not order.executed:
        return []
    price = f"{order.quote / order.executed:.8f}"
    return [{"price": price, "qty": f"{order.executed:.8f}", "commission": "0.00000000", "commissionAsset": "BNB"}]


def exchange_info(now_ms: int, weight_limit: int) -> dict[str, object]:
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_limit}
    symbols = [_symbol_info(name) for name in BASE_PRICES]
    return {"timezone": "UTC", "serverTime": now_ms, "rateLimits": [limit], "exchangeFilters": [], "symbols": symbols}


def _symbol_info(name: str) -> dict[str, object]:
    base, quote = assets(name)
    return {
        "symbol": name,
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": quote,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": f"{TICK}", "maxPrice": "1000000.00", "tickSize": f"{TICK}"},
            {"filterType": "LOT_SIZE", "minQty": f"{STEP}", "maxQty": "9000.00000", "stepSize": f"{STEP}"},
        ],
    }
