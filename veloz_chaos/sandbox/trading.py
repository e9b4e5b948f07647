"""What happens to an order in the gateway: risk check by the engine, the exchange, the books; and putting right
afterwards what was left open.

An answer is a pair of HTTP status and body. "ok": true means the exchange has the order; false with 200 is a refusal;
503 means it was not sent; 504 with "outcome_unknown" means it may have arrived: it is then settled in the background,
by asking the exchange until it knows the order, or until `recvWindow` makes sure that it never will.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from veloz_chaos.sandbox.engine_client import EngineAway, EngineClient
from veloz_chaos.sandbox.exchange_client import ExchangeAway, ExchangeClient
from veloz_chaos.sandbox.order_store import OPEN, UNSETTLED, Order, OrderStore

ORDER_TIMEOUT, QUERY_TIMEOUT = 5.0, 2.0
RECV_WINDOW_MS = 3_000
RECONCILE_EVERY = 0.5
ORDER_PATH = "/api/v3/order"
Answer = tuple[int, dict[str, Any]]


class Trading:
    """`hangs` is the flaw gateway-hangs-without-engine: to wait for the engine instead of refusing; `refuses` tells the
    error with which every new order is refused at the moment, if any."""

    def __init__(
        self,
        engine: EngineClient,
        exchange: ExchangeClient,
        store: OrderStore,
        count: Callable[[str], None],
        hangs: bool = False,
        refuses: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._engine, self._exchange, self._store = engine, exchange, store
        self._count, self._hangs, self._refuses = count, hangs, refuses
        self._running: dict[str, asyncio.Task[Answer]] = {}
        self._told: set[str] = set()

    async def place(self, order: Order) -> Answer:
        """Place it once, however often and concurrently it is asked for."""
        name = order.client_order_id
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.create_task(self._counted(self._place(order)))
            task.add_done_callback(lambda _: self._running.pop(name, None))
        return await asyncio.shield(task)

    async def _counted(self, placing: Coroutine[Any, Any, Answer]) -> Answer:
        status, body = await placing
        self._count("accepted" if body["ok"] else body["error"])
        return status, body

    async def _place(self, order: Order) -> Answer:
        known = self._store.get(order.client_order_id)
        if known and known.status != "REFUSED":
            return answer(known)
        if error := self._refuses():
            return refusal(order.client_order_id, error)
        if self._engine.connected and not self._exchange.available:
            return refusal(order.client_order_id, "exchange_unavailable")
        try:
            reply = await self.ask_engine("ORDER", **self._as_entry(order))
        except EngineAway:
            return refusal(order.client_order_id, "engine_unavailable")
        if not reply["ok"]:
            body = {"ok": False, "error": reply["error"], "message": reply.get("message", "")}
            return 200, {**body, "client_order_id": order.client_order_id}
        return await self._send(order)

    async def ask_engine(self, kind: str, **fields: object) -> dict[str, Any]:
        """The engine's answer. Raises EngineAway; with the flaw, waits for ever instead."""
        while True:
            try:
                return await self._engine.request(kind, **fields)
            except EngineAway:
                if not self._hangs:
                    raise
                await self._engine.wait_connected()

    def _as_entry(self, order: Order) -> dict[str, object]:
        price = order.price if order.type == "LIMIT" else str(self._exchange.prices.get(order.symbol, 0))
        entry = {"symbol": order.symbol, "side": order.side, "qty": order.qty, "price": price}
        amounts = {"executed": order.executed_qty, "quote": order.quote_qty}
        return {"client_order_id": order.client_order_id, "order": {**entry, "status": order.status, **amounts}}

    async def _send(self, order: Order) -> Answer:
        order.sent_ns, order.status = time.time_ns(), "PENDING"
        self._store.save(order)
        try:
            status, body = await self._exchange.call("POST", ORDER_PATH, new_order(order), ORDER_TIMEOUT)
            take(order, status, body)
        except ExchangeAway as away:
            order.status, order.message = ("UNKNOWN" if away.sent else "REFUSED"), "no answer from the exchange"
        self._store.save(order)
        await self._tell_engine(order)
        return answer(order)

    async def cancel(self, client_order_id: str) -> Answer:
        order = self._store.get(client_order_id)
        try:
            await self.ask_engine("PING")
            if order is None or order.status == "REFUSED":
                return 404, {"ok": False, "error": "order_not_found", "client_order_id": client_order_id}
            status, body = await self._exchange.call("DELETE", ORDER_PATH, naming(order), ORDER_TIMEOUT)
        except EngineAway:
            return refusal(client_order_id, "engine_unavailable")
        except ExchangeAway:
            return refusal(client_order_id, "exchange_unavailable")
        return await self._cancelled(order, status, body)

    async def _cancelled(self, order: Order, status: int, body: dict[str, Any]) -> Answer:
        if status == 200:
            await self._settle(order, status, body)
        name = {"client_order_id": order.client_order_id, "order_id": order.order_id, "status": order.status}
        if status == 200:
            return 200, {"ok": True, **name}
        return 200, {"ok": False, "error": "not_open", "code": body.get("code"), "message": body.get("msg"), **name}

    async def _settle(self, order: Order, status: int, body: dict[str, Any]) -> None:
        take(order, status, body)
        self._store.save(order)
        self._told.discard(order.client_order_id)
        await self._tell_engine(order)

    async def _tell_engine(self, order: Order) -> None:
        """Tell the engine what became of an order; if it is away it is told when it comes back."""
        if order.status in UNSETTLED or order.client_order_id in self._told:
            return
        try:
            await self._engine.request("RESULT", **self._as_entry(order))
            self._told.add(order.client_order_id)
        except EngineAway:
            pass

    async def reconcile_forever(self) -> None:
        for order in self._store.in_state(("PENDING",)):
            order.status = "UNKNOWN"
            self._store.save(order)
        while True:
            await asyncio.sleep(RECONCILE_EVERY)
            try:
                await self._reconcile()
            except ExchangeAway:
                continue

    async def _reconcile(self) -> None:
        """Ask about orders of unknown outcome, and about open ones that are open no longer; tell the engine."""
        for order in self._store.in_state(("UNKNOWN",)):
            await self._ask_about(order)
        if mine := self._store.in_state(OPEN):
            _, bodies = await self._exchange.call("GET", "/api/v3/openOrders", {}, QUERY_TIMEOUT)
            still_open = {body["clientOrderId"] for body in bodies} if isinstance(bodies, list) else None
            for order in mine:
                if still_open is not None and order.client_order_id not in still_open:
                    await self._ask_about(order)
        for order in self._store.all():
            if self._engine.connected:
                await self._tell_engine(order)

    async def _ask_about(self, order: Order) -> None:
        status, body = await self._exchange.call("GET", ORDER_PATH, naming(order), QUERY_TIMEOUT)
        missing = status == 400 and body.get("code") == -2013
        if status == 200:
            await self._settle(order, status, body)
        elif missing and time.time_ns() - order.sent_ns > (RECV_WINDOW_MS + 500) * 1_000_000:
            await self._settle(order, 400, {"code": -2013, "msg": "never reached the exchange"})


def new_order(order: Order) -> dict[str, str]:
    """The parameters of POST /api/v3/order; the exchange refuses it if it arrives later than the window allows."""
    limit = {"timeInForce": order.time_in_force, "price": order.price} if order.type == "LIMIT" else {}
    amounts = {"side": order.side, "type": order.type, "quantity": order.qty, **limit}
    window = {"timestamp": str(order.sent_ns // 1_000_000), "recvWindow": str(RECV_WINDOW_MS)}
    return {"symbol": order.symbol, **amounts, "newClientOrderId": order.client_order_id, **window}


def naming(order: Order) -> dict[str, str]:
    return {"symbol": order.symbol, "origClientOrderId": order.client_order_id}


def take(order: Order, status: int, body: dict[str, Any]) -> None:
    """Take over what the exchange answered. Its 5xx and a duplicate say nothing of what became of the order."""
    if status == 200:
        order.status, order.order_id = body["status"], body["orderId"]
        order.executed_qty, order.quote_qty = body["executedQty"], body["cummulativeQuoteQty"]
        order.code, order.message = None, ""
        return
    order.code, order.message = body.get("code"), body.get("msg", f"HTTP {status}")
    if status in (418, 429):
        order.status = "REFUSED"
    else:
        order.status = "UNKNOWN" if status >= 500 or "Duplicate" in order.message else "REJECTED"


def answer(order: Order) -> Answer:
    name = {"client_order_id": order.client_order_id, "order_id": order.order_id, "status": order.status}
    if order.status == "REFUSED":
        return refusal(order.client_order_id, "exchange_unavailable")
    if order.status in UNSETTLED:
        return 504, {"ok": False, "error": "outcome_unknown", "message": order.message, **name}
    if order.status == "REJECTED":
        return 200, {"ok": False, "error": "exchange_rejected", "code": order.code, "message": order.message, **name}
    return 200, {"ok": True, **name, "executed_qty": order.executed_qty}


MESSAGES = {
    "engine_unavailable": "the trading engine is not connected",
    "exchange_unavailable": "the exchange is not available",
    "database_unavailable": "the database is not available",
    "no_credentials": "there are no credentials for the exchange",
}


def refusal(client_order_id: str, error: str) -> Answer:
    return 503, {"ok": False, "error": error, "message": MESSAGES[error], "client_order_id": client_order_id}
