"""The gateway's HTTP routes: what users, load balancers and probes see."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from veloz_chaos.sandbox import order_request
from veloz_chaos.sandbox.engine_client import EngineAway, EngineClient
from veloz_chaos.sandbox.event_stream import EventStream
from veloz_chaos.sandbox.exchange_client import ExchangeClient
from veloz_chaos.sandbox.gateway_log import log_orders
from veloz_chaos.sandbox.metrics import Metrics
from veloz_chaos.sandbox.order_store import OrderStore, shown
from veloz_chaos.sandbox.settings import Settings
from veloz_chaos.sandbox.trading import Answer, Trading, refusal

FLAP_EVERY = 0.3
ALL_WELL = {"status": "ok", "engine": {"connected": True}, "exchange": {"status": "ok"}}
#: A part of the gateway as /health tells it: its `status` ("ok", or what is wrong) and whatever else helps.
Part = Callable[[], dict[str, Any]]


class GatewayApi:
    def __init__(
        self,
        settings: Settings,
        engine: EngineClient,
        exchange: ExchangeClient,
        store: OrderStore,
        trading: Trading,
        events: EventStream,
        metrics: Metrics,
        parts: Mapping[str, Part],
        acknowledged: Callable[[str], None] = lambda _: None,
        of_limits: Callable[[], str] = lambda: "",
    ) -> None:
        self._parts, self._acknowledged, self._of_limits = parts, acknowledged, of_limits
        self._settings, self._engine, self._exchange = settings, engine, exchange
        self._store, self._trading, self._events, self._metrics = store, trading, events, metrics

    async def health(self, _: web.Request) -> web.Response:
        if self._settings.has("health-lies"):
            return web.json_response(ALL_WELL | {name: {"status": "ok"} for name in self._parts})
        exchange = {"status": self._exchange.status, "latency_ms": self._exchange.latency_ms}
        parts = {name: part() for name, part in self._parts.items()}
        return _json(health(self._engine_as_told(), {"exchange": exchange, **parts}))

    def _engine_as_told(self) -> bool:
        """Whether the engine is connected; with the flaw detection-flaps, denied and told in turns while it is not."""
        flaps = self._settings.has("detection-flaps") and int(time.monotonic() / FLAP_EVERY) % 2 == 0
        return self._engine.connected or flaps

    async def live(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def place(self, request: web.Request) -> web.Response:
        try:
            order = order_request.read(await request.json())
        except (order_request.BadParameters, ValueError) as problem:
            return _bad(str(problem))
        answer = await self._trading.place(order)
        if answer[1]["ok"]:
            self._acknowledged(order.client_order_id)
        return _json(answer)

    async def cancel(self, request: web.Request) -> web.Response:
        try:
            fields = await request.json()
        except ValueError as problem:
            return _bad(str(problem))
        name = fields.get("client_order_id") if isinstance(fields, dict) else None
        if not isinstance(name, str) or not name:
            return _bad("client_order_id must be a text")
        return _json(await self._trading.cancel(name))

    async def orders(self, request: web.Request) -> web.Response:
        """The orders that exist, or may: refused and rejected ones are nowhere. `?status=NEW` filters."""
        listed = self._store.json_of(self._store.listed(request.query.get("status")))
        return web.Response(body=b'{"ok": true, "orders": ' + listed + b"}", content_type="application/json")

    async def orders_state(self, _: web.Request) -> web.Response:
        states = {order.client_order_id: order.status for order in self._store.listed()}
        return web.json_response({"ok": True, "orders": states, "count": len(states)})

    async def order_state(self, request: web.Request) -> web.Response:
        name = request.query.get("client_order_id")
        if not name:
            return _bad("client_order_id must be given")
        order = self._store.get(name)
        if order is None:
            return _json((404, {"ok": False, "error": "order_not_found", "client_order_id": name}))
        return web.json_response({"ok": True, **shown(vars(order))})

    async def account(self, _: web.Request) -> web.Response:
        try:
            reply = await self._engine.request("ACCOUNT")
        except EngineAway:
            return _json(refusal("", "engine_unavailable"))
        return web.json_response({"ok": True, "balances": reply["balances"]})

    async def positions(self, _: web.Request) -> web.Response:
        try:
            reply = await self._trading.ask_engine("POSITIONS")
        except EngineAway:
            return _json(refusal("", "engine_unavailable"))
        return web.json_response({"ok": True, "positions": reply["positions"]})

    async def market(self, request: web.Request) -> web.Response:
        symbol = request.query.get("symbol", "BTCUSDT")
        gone = self._exchange.status == "unavailable"
        if gone and self._settings.has("no-exchange-cache"):
            return _json(refusal("", "exchange_unavailable"))
        price = self._exchange.prices.get(symbol)
        if price is None:
            error = "no_price_yet" if gone else "unknown_symbol"
            return _json((503 if gone else 404, {"ok": False, "error": error, "symbol": symbol}))
        age = (time.time_ns() - self._exchange.priced_ns) // 1_000_000
        fields = {"symbol": symbol, "price": price, "ts_ns": self._exchange.priced_ns}
        return web.json_response({"ok": True, **fields, "age_ms": age, "stale": not self._exchange.fresh})

    async def config(self, _: web.Request) -> web.Response:
        symbols = sorted(self._exchange.prices)
        return web.json_response({"ok": True, "market_source": "binance_rest", "symbols": symbols, "sandbox": True})

    async def metrics(self, _: web.Request) -> web.Response:
        text = self._metrics.text(self._engine.connected, self._exchange.status, self._events.clients, self._well())
        return web.Response(
            text=text + self._of_limits(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    def _well(self) -> dict[str, bool]:
        return {name: part()["status"] == "ok" for name, part in self._parts.items()}

    def application(self) -> web.Application:
        app = web.Application(middlewares=[log_orders])
        app.add_routes(
            [
                web.get("/health", self.health),
                web.get("/health/live", self.live),
                web.get("/metrics", self.metrics),
                web.post("/api/order", self.place),
                web.post("/api/cancel", self.cancel),
                web.get("/api/orders", self.orders),
                web.get("/api/orders_state", self.orders_state),
                web.get("/api/order_state", self.order_state),
                web.get("/api/account", self.account),
                web.get("/api/positions", self.positions),
                web.get("/api/market", self.market),
                web.get("/api/config", self.config),
                web.get("/api/stream", self._events.handle),
            ]
        )
        return app


def health(engine_connected: bool, parts: Mapping[str, dict[str, Any]]) -> Answer:
    """200 ok, 200 degraded while some part is not ok, 503 unhealthy without the engine."""
    degraded = "ok" if all(part["status"] == "ok" for part in parts.values()) else "degraded"
    status = degraded if engine_connected else "unhealthy"
    return (200 if engine_connected else 503), {"status": status, "engine": {"connected": engine_connected}, **parts}


def _bad(message: str) -> web.Response:
    return _json((400, {"ok": False, "error": "bad_params", "message": message}))


def _json(answer: Answer) -> web.Response:
    status, body = answer
    headers = {"Retry-After": str(body["retry_after"])} if "retry_after" in body else None
    return web.json_response(body, status=status, headers=headers)
