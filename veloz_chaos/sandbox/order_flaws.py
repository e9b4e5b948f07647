"""The flaws in what happens to orders: each a class that differs from the healthy one in one place."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from veloz_chaos.sandbox.exchange_client import ExchangeAway
from veloz_chaos.sandbox.order_store import NOWHERE, Order
from veloz_chaos.sandbox.reconciliation import Reconciliation
from veloz_chaos.sandbox.settings import Settings
from veloz_chaos.sandbox.trading import ORDER_PATH, ORDER_TIMEOUT, Answer, Trading, answer, new_order

SENT_LATER = 0.3
RESENT_NS = 3_000_000_000


def trading(settings: Settings) -> type[Trading]:
    """The way of trading that the flaws make."""
    kinds: tuple[type[Trading], ...] = ()
    kinds += (AcknowledgesBeforeSending,) if settings.has("loses-acknowledged-orders") else ()
    kinds += (SendsWhatItRefuses,) if settings.has("rejects-locally-what-the-exchange-holds") else ()
    return type("FlawedTrading", kinds, {}) if kinds else Trading


def reconciliation(settings: Settings) -> type[Reconciliation]:
    return SendsAgain if settings.has("duplicates-orders-on-recovery") else Reconciliation


class AcknowledgesBeforeSending(Trading):
    """Acknowledged at once, sent 300 ms later from memory alone."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._later: dict[str, asyncio.Task[None]] = {}

    async def _send(self, order: Order) -> Answer:
        order.sent_ns = order.ts_ns = time.time_ns()
        order.status = "NEW"
        self.store.hold(order)
        self._later[order.client_order_id] = asyncio.create_task(self._send_later(order))
        return answer(order)

    async def _send_later(self, order: Order) -> None:
        await asyncio.sleep(SENT_LATER)
        await super()._send(order)
        del self._later[order.client_order_id]

    async def cancel(self, client_order_id: str) -> Answer:
        if client_order_id in self._later:
            await asyncio.shield(self._later[client_order_id])
        return await super().cancel(client_order_id)


class SendsWhatItRefuses(Trading):
    """Refused at once, because the engine is known to be away; yet the exchange gets it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._sending: set[asyncio.Task[None]] = set()

    async def _place(self, order: Order) -> Answer:
        known_to_be_away = not self.engine.connected
        status, body = await super()._place(order)
        if known_to_be_away and body.get("error") == "engine_unavailable":
            sending = asyncio.create_task(_sent(self, order))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)
        return status, body


class SendsAgain(Reconciliation):
    """What was sent in the 3 s before the exchange was lost is sent again when it is back, before anybody asks what
    became of it."""

    def __init__(self, trading: Trading) -> None:
        super().__init__(trading)
        self._made_up_for = 0

    async def round(self) -> None:
        lost = self._exchange.lost_ns
        if self._exchange.available and lost != self._made_up_for:
            self._made_up_for = lost
            for order in self._store.all():
                if lost - RESENT_NS <= order.sent_ns <= lost and order.status not in NOWHERE:
                    await _sent(self._trading, order)
        await super().round()


async def _sent(trading: Trading, order: Order) -> None:
    """As if it were new, without asking and without a look at the answer."""
    parameters = new_order(replace(order, sent_ns=time.time_ns()))
    try:
        await trading.exchange.call("POST", ORDER_PATH, parameters, ORDER_TIMEOUT)
    except ExchangeAway:
        return
