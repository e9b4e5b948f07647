"""What happens to an order in the gateway: risk check by the engine, the exchange, the books.

An answer is a pair of HTTP status and body. "ok": true means the exchange has the order; false with 200 is a refusal;
503 means it was not sent; 504 with "outcome_unknown" means it may have arrived: `reconciliation.py` then asks the
exchange until it knows. An order whose outcome is unknown is never sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from veloz_chaos.sandbox.engine_client import EngineAway, EngineClient
from veloz_chaos.sandbox.exchange_client import ExchangeAway, ExchangeClient
from veloz_chaos.sandbox.order_store import UNSETTLED, Order, OrderStore
from veloz_chaos.sandbox.rate_limit import STATUSES, RateLimit

ORDER_TIMEOUT = 5.0
#: So long an order or a cancel waits for the end of a pause that the exchange asked for, if that is near. Seconds.
QUEUED_FOR = 0.5
#: More orders than this in hand at once are refused: whoever asks for health must not have to wait behind them.
MOST_AT_ONCE = 300
RECV_WINDOW_MS = 3_000
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
        self.engine, self.exchange, self.store = engine, exchange, store
        self._count, self._hangs, self._refuses = count, hangs, refuses
        self._running: dict[str, asyncio.Task[Answer]] = {}
        #: What the engine has not been told yet; cancels that may have arrived, with the time they were sent.
        self.untold: dict[str, Order] = {order.client_order_id: order for order in store.all()}
        self.doubtful: dict[str, int] = {}

    async def place(self, order: Order) -> Answer:
        """Place it once, however often and concurrently it is asked for."""
        name = order.client_order_id
        task = self._running.get(name)
        if task is None and len(self._running) >= MOST_AT_ONCE:
            return refusal(name, "overloaded")
        if task is None:
            task = self._running[name] = asyncio.create_task(self._counted(self._place(order)))
            task.add_done_callback(lambda _: self._running.pop(name, None))
        return await asyncio.shield(task)

    async def _counted(self, placing: Coroutine[Any, Any, Answer]) -> Answer:
        status, body = await placing
        self._count("accepted" if body["ok"] else body["error"])
        return status, body

    async def _place(self, order: Order) -> Answer:
        known = self.store.get(order.client_order_id)
        if known and known.status != "REFUSED":
            return self._answer(known)
        if error := self._refuses():
            return refusal(order.client_order_id, error)
        if self.engine.connected and not await self._exchange_takes_calls():
            return self._not_sent(order.client_order_id)
        try:
            reply = await self.ask_engine("ORDER", **self._as_entry(order))
        except EngineAway:
            return refusal(order.client_order_id, "engine_unavailable")
        if not reply["ok"]:
            body = {"ok": False, "error": reply["error"], "message": reply.get("message", "")}
            return 200, {**body, "client_order_id": order.client_order_id}
        return await self._send(order)

    async def _exchange_takes_calls(self) -> bool:
        """Whether the exchange may be called; a pause that it asked for is waited for if its end is near."""
        return await self.exchange.limit.passes(QUEUED_FOR) and self.exchange.available

    async def ask_engine(self, kind: str, **fields: object) -> dict[str, Any]:
        """The engine's answer. Raises EngineAway; with the flaw, waits for ever instead."""
        while True:
            try:
                return await self.engine.request(kind, **fields)
            except EngineAway:
                if not self._hangs:
                    raise
                await self.engine.wait_connected()

    def _as_entry(self, order: Order) -> dict[str, object]:
        price = order.price if order.type == "LIMIT" else str(self.exchange.prices.get(order.symbol, 0))
        entry = {"symbol": order.symbol, "side": order.side, "qty": order.qty, "price": price}
        amounts = {"executed": order.executed_qty, "quote": order.quote_qty}
        return {"client_order_id": order.client_order_id, "order": {**entry, "status": order.status, **amounts}}

    async def _send(self, order: Order) -> Answer:
        order.sent_ns, order.status = time.time_ns(), "PENDING"
        self.store.save(order)
        try:
            status, body = await self.exchange.call("POST", ORDER_PATH, new_order(order), ORDER_TIMEOUT)
            take(order, status, body)
        except ExchangeAway as away:
            order.status, order.message = ("UNKNOWN" if away.sent else "REFUSED"), "no answer from the exchange"
        self.store.save(order)
        await self.tell_engine(order)
        return self._answer(order)

    async def cancel(self, client_order_id: str) -> Answer:
        order = self.store.get(client_order_id)
        try:
            await self.ask_engine("PING")
        except EngineAway:
            return refusal(client_order_id, "engine_unavailable")
        if order is None or order.status == "REFUSED":
            return 404, {"ok": False, "error": "order_not_found", "client_order_id": client_order_id}
        if not await self._exchange_takes_calls():
            return self._not_sent(client_order_id)
        return await self._cancel(order)

    async def _cancel(self, order: Order) -> Answer:
        asked = time.time_ns()
        try:
            status, body = await self.exchange.call("DELETE", ORDER_PATH, cancellation(order, asked), ORDER_TIMEOUT)
        except ExchangeAway as away:
            status, body = (500 if away.sent else 0), {}
        if status == 0 or status in STATUSES:
            return self._not_sent(order.client_order_id)
        if status >= 500:
            self.doubtful[order.client_order_id] = asked
            return 504, {
                "ok": False,
                "error": "outcome_unknown",
                "message": MESSAGES["outcome_unknown"],
                **named(order),
            }
        if status == 200:
            await self.settle(order, status, body)
            return 200, {"ok": True, **named(order)}
        code = {"code": body.get("code"), "message": body.get("msg")}
        return 200, {"ok": False, "error": "not_open", **code, **named(order)}

    async def settle(self, order: Order, status: int, body: dict[str, Any]) -> None:
        """Take over what the exchange says of an order, and tell the engine."""
        take(order, status, body)
        self.store.save(order)
        await self.tell_engine(order)

    async def tell_engine(self, order: Order) -> None:
        """Tell the engine what became of an order; if it is away it is told when it comes back."""
        if order.status in UNSETTLED:
            return
        self.untold[order.client_order_id] = order
        told = order.ts_ns
        try:
            await self.engine.request("RESULT", **self._as_entry(order))
        except EngineAway:
            return
        if told == order.ts_ns:
            self.untold.pop(order.client_order_id, None)

    def _answer(self, order: Order) -> Answer:
        return self._not_sent(order.client_order_id) if order.status == "REFUSED" else answer(order)

    def _not_sent(self, client_order_id: str) -> Answer:
        """Refused because the exchange is not there, or does not want to be called."""
        if not self.exchange.limit.limited:
            return refusal(client_order_id, "exchange_unavailable")
        return limited(client_order_id, self.exchange.limit)


def new_order(order: Order) -> dict[str, str]:
    """The parameters of POST /api/v3/order; the exchange refuses it if it arrives later than the window allows."""
    limit = {"timeInForce": order.time_in_force, "price": order.price} if order.type == "LIMIT" else {}
    amounts = {"side": order.side, "type": order.type, "quantity": order.qty, **limit}
    return {"symbol": order.symbol, **amounts, "newClientOrderId": order.client_order_id, **window(order.sent_ns)}


def cancellation(order: Order, sent_ns: int) -> dict[str, str]:
    return {**naming(order), **window(sent_ns)}


def window(sent_ns: int) -> dict[str, str]:
    """Arrives it later than this, the exchange refuses it."""
    return {"timestamp": str(sent_ns // 1_000_000), "recvWindow": str(RECV_WINDOW_MS)}


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
    if status in STATUSES:
        order.status = "REFUSED"
    else:
        order.status = "UNKNOWN" if status >= 500 or "Duplicate" in order.message else "REJECTED"


def answer(order: Order) -> Answer:
    """What became of an order that was sent."""
    if order.status in UNSETTLED:
        return 504, {"ok": False, "error": "outcome_unknown", "message": order.message, **named(order)}
    if order.status == "REJECTED":
        rejection = {"error": "exchange_rejected", "code": order.code, "message": order.message}
        return 200, {"ok": False, **rejection, **named(order)}
    return 200, {"ok": True, **named(order), "executed_qty": order.executed_qty}


def named(order: Order) -> dict[str, object]:
    return {"client_order_id": order.client_order_id, "order_id": order.order_id, "status": order.status}


MESSAGES = {
    "engine_unavailable": "the trading engine is not connected",
    "exchange_unavailable": "the exchange is not available",
    "database_unavailable": "the database is not available",
    "no_credentials": "there are no credentials for the exchange",
    "rate_limited": "the exchange asked not to be called for a while",
    "overloaded": "too many orders at once",
    "outcome_unknown": "no answer from the exchange",
}


def refusal(client_order_id: str, error: str) -> Answer:
    return 503, {"ok": False, "error": error, "message": MESSAGES[error], "client_order_id": client_order_id}


def limited(client_order_id: str, limit: RateLimit) -> Answer:
    """The refusal that says when to come again: `retry_after` in whole seconds, also as the header Retry-After."""
    status, body = refusal(client_order_id, "rate_limited")
    return status, {**body, "retry_after": limit.whole_seconds()}
