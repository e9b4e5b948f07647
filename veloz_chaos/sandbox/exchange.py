"""The exchange: Binance's spot endpoints over an order book that survives a restart.

Errors are Binance's {"code": …, "msg": …}; every answer carries X-MBX-USED-WEIGHT-1M, and beyond the weight limit of
a minute the answer is 429 with Retry-After. allOrders differs from Binance's, which gives at most 1000 orders a call:
without `limit` it gives all, with it the latest so many, or the first so many from `orderId` on.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web

from veloz_chaos.sandbox import binance, process
from veloz_chaos.sandbox.book import BASE_PRICES, Book, Order, OrderError, price_of
from veloz_chaos.sandbox.http_server import served
from veloz_chaos.sandbox.listing import Listing
from veloz_chaos.sandbox.settings import Settings
from veloz_chaos.sandbox.truth import TruthLog

Parameters = Mapping[str, str]
AMOUNTS = ("qty", "price", "executed", "quote")


class Exchange:
    """Each public method answers one endpoint: parameters in, JSON body or list of orders out, OrderError for a
    refusal."""

    def __init__(self, book: Book, weight_limit: int, listing: Listing) -> None:
        self.book, self.weight_limit, self.listing = book, weight_limit, listing

    def ping(self, _: Parameters) -> object:
        return {}

    def time(self, _: Parameters) -> object:
        return {"serverTime": int(time.time() * 1000)}

    def exchange_info(self, _: Parameters) -> object:
        return binance.exchange_info(int(time.time() * 1000), self.weight_limit)

    def ticker_price(self, parameters: Parameters) -> object:
        now = time.time()
        if "symbol" not in parameters:
            return [{"symbol": name, "price": f"{price_of(name, now):.8f}"} for name in BASE_PRICES]
        name = binance.symbol(parameters)
        return {"symbol": name, "price": f"{price_of(name, now):.8f}"}

    def place_order(self, parameters: Parameters) -> object:
        now = time.time()
        return binance.placed_body(self.book.place(binance.new_order(parameters, now), now))

    def order(self, parameters: Parameters) -> object:
        return binance.order_body(self._find(parameters, -2013, "Order does not exist."))

    def cancel_order(self, parameters: Parameters) -> object:
        binance.check_time(parameters, time.time())
        order = self._find(parameters, -2011, "Unknown order sent.")
        self.book.cancel(order, time.time())
        return {**binance.order_body(order), "origClientOrderId": order.client_order_id}

    def open_orders(self, parameters: Parameters) -> list[Order]:
        return self.book.open(binance.symbol(parameters) if "symbol" in parameters else None)

    def all_orders(self, parameters: Parameters) -> list[Order]:
        limit, first = binance.whole(parameters, "limit"), binance.whole(parameters, "orderId")
        orders = self.book.all(binance.symbol(parameters))
        if first is not None:
            return [order for order in orders if order.order_id >= first][:limit]
        return orders if limit is None else orders[-limit:]

    def account(self, _: Parameters) -> object:
        balances = [
            {"asset": asset, "free": f"{free:.8f}", "locked": f"{locked:.8f}"}
            for asset, (free, locked) in self.book.balances().items()
        ]
        return {"accountType": "SPOT", "canTrade": True, "balances": balances}

    def _find(self, parameters: Parameters, code: int, message: str) -> Order:
        name = binance.symbol(parameters)
        number, client = parameters.get("orderId"), parameters.get("origClientOrderId")
        if not number and not client:
            binance.required(parameters, "orderId")
        order = self.book.find(name, number, client)
        if order is None:
            raise OrderError(code, message)
        return order


class WeightMeter:
    """Request weight used in the present minute of the clock."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used, self._minute = limit, 0, 0

    def add(self, weight: int, now: float) -> int | None:
        """Count a request; seconds to wait if that is too much, else None."""
        minute = int(now // 60)
        if minute != self._minute:
            self.used, self._minute = 0, minute
        self.used += weight
        return int((minute + 1) * 60 - now) + 1 if self.used > self.limit else None


Answer = Callable[[Parameters], object]


def application(exchange: Exchange) -> web.Application:
    meter = WeightMeter(exchange.weight_limit)
    app = web.Application()
    for method, path, answer in routes(exchange):
        app.router.add_route(method, path, handler(path, answer, exchange, meter))
    return app


def routes(exchange: Exchange) -> list[tuple[str, str, Answer]]:
    return [
        ("GET", "/api/v3/ping", exchange.ping),
        ("GET", "/api/v3/time", exchange.time),
        ("GET", "/api/v3/exchangeInfo", exchange.exchange_info),
        ("GET", "/api/v3/ticker/price", exchange.ticker_price),
        ("POST", "/api/v3/order", exchange.place_order),
        ("GET", "/api/v3/order", exchange.order),
        ("DELETE", "/api/v3/order", exchange.cancel_order),
        ("GET", "/api/v3/openOrders", exchange.open_orders),
        ("GET", "/api/v3/allOrders", exchange.all_orders),
        ("GET", "/api/v3/account", exchange.account),
    ]


def handler(
    path: str, answer: Answer, exchange: Exchange, meter: WeightMeter
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        now = time.time()
        wait = meter.add(binance.WEIGHTS[path], now)
        headers = {"X-MBX-USED-WEIGHT-1M": str(meter.used)}
        if wait is not None:
            message = "Too much request weight used; current limit is exceeded."
            return _error(429, OrderError(-1003, message), {**headers, "Retry-After": str(wait)})
        exchange.book.match(now)
        try:
            content = await _encoded(answer(await _parameters(request)), exchange.listing)
        except OrderError as error:
            return _error(400, error, headers)
        return web.Response(body=content, headers=headers, content_type="application/json")

    return handle


async def _parameters(request: web.Request) -> Parameters:
    form = await request.post() if request.can_read_body else {}
    return {**request.query, **{name: str(value) for name, value in form.items()}}


async def _encoded(answer: object, listing: Listing) -> bytes:
    if isinstance(answer, list) and answer and isinstance(answer[0], Order):
        return await listing.json_of(answer)
    return json.dumps(answer).encode()


def _error(status: int, error: OrderError, headers: Mapping[str, str]) -> web.Response:
    return web.json_response({"code": error.code, "msg": error.message}, status=status, headers=headers)


def restored(file: Path) -> list[Order]:
    """The last recorded state of each order, in the order of first appearance."""
    lines = file.read_text().splitlines() if file.exists() else []
    latest: dict[int, Order] = {}
    for line in lines:
        fields: dict[str, Any] = json.loads(line)
        amounts = {name: Decimal(fields[name]) for name in AMOUNTS}
        latest[fields["order_id"]] = Order(**{**fields, **amounts})
    return list(latest.values())


def recorder(file: Path, listing: Listing) -> Callable[[Order], None]:
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def record(order: Order) -> None:
        os.write(descriptor, json.dumps(vars(order), default=str).encode() + b"\n")
        listing.changed(order)

    return record


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    (settings.directory / "exchange").mkdir(exist_ok=True)
    file = settings.directory / "exchange" / "orders.jsonl"
    listing = Listing()
    exchange = Exchange(Book(restored(file), recorder(file, listing)), settings.weight_limit, listing)
    async with served(application(exchange), settings.ports["exchange"], settings.listen):
        TruthLog(settings.directory, "exchange").write("serving", pid=os.getpid())
        process.ready()
        await stop.wait()


if __name__ == "__main__":
    process.run(serve)
