"""Putting right afterwards what was left open: orders and cancels of unknown outcome, open orders that are open no
longer, and what the engine has not heard.

An order that the exchange does not know is settled as rejected once `recvWindow` makes sure that it never will: asking
comes first, and nothing is ever sent again. All of it goes through what is in question, never through all orders.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable

from veloz_chaos.sandbox.exchange_client import ExchangeAway
from veloz_chaos.sandbox.order_store import OPEN, UNSETTLED, Order
from veloz_chaos.sandbox.trading import ORDER_PATH, RECV_WINDOW_MS, Trading, naming

EVERY, QUERY_TIMEOUT = 0.5, 2.0
AT_ONCE = 16
#: The list of open orders is asked for in every round while it has up to so many, else proportionally less often.
SHORT_LIST = 100
#: What the engine has not heard is told so many orders a round, the newest first.
TOLD_A_ROUND = 200
NEVER_LATER_NS = (RECV_WINDOW_MS + 500) * 1_000_000


class Reconciliation:
    def __init__(self, trading: Trading) -> None:
        self._trading, self._store, self._exchange = trading, trading.store, trading.exchange
        self._list_due = 0.0

    async def run(self) -> None:
        for order in self._store.all():
            if order.status == "PENDING":
                order.status = "UNKNOWN"
                self._store.save(order)
        while True:
            await asyncio.sleep(EVERY)
            await self.round()

    async def round(self) -> None:
        await self._ask_about(self._store.unknown())
        await self._ask_about_cancels()
        if time.monotonic() >= self._list_due:
            await self._compare_open_orders()
        await self._tell_engine()

    async def _ask_about(self, orders: Iterable[Order]) -> None:
        waiting = iter(orders)
        while some := list(itertools.islice(waiting, AT_ONCE)):
            await asyncio.gather(*map(self._ask, some))

    async def _ask(self, order: Order) -> None:
        """What came to be known of it meanwhile, by a cancel say, counts more than what this says."""
        known = order.ts_ns
        try:
            status, body = await self._exchange.call("GET", ORDER_PATH, naming(order), QUERY_TIMEOUT)
        except ExchangeAway:
            return
        missing = status == 400 and body.get("code") == -2013
        if order.ts_ns != known:
            return
        if status == 200 and (body["status"], body["executedQty"]) != (order.status, order.executed_qty):
            await self._trading.settle(order, status, body)
        elif missing and time.time_ns() - order.sent_ns > NEVER_LATER_NS:
            await self._trading.settle(order, 400, {"code": -2013, "msg": "never reached the exchange"})

    async def _ask_about_cancels(self) -> None:
        """Until the order is open no longer, or the cancel can arrive no more."""
        doubtful = self._trading.doubtful
        for name, asked in list(doubtful.items()):
            order, late = self._store.get(name), time.time_ns() - asked > NEVER_LATER_NS
            if order is not None and self._exchange.available:
                await self._ask(order)
                if late or order.status not in OPEN:
                    doubtful.pop(name, None)

    async def _compare_open_orders(self) -> None:
        """Ask about every order that is open here and not in the exchange's list."""
        mine = self._store.open()
        self._list_due = time.monotonic() + EVERY * max(len(mine) / SHORT_LIST - 1, 0)
        if not mine:
            return
        try:
            _, bodies = await self._exchange.call("GET", "/api/v3/openOrders", {}, QUERY_TIMEOUT)
        except ExchangeAway:
            return
        if isinstance(bodies, list):
            there = {body["clientOrderId"] for body in bodies}
            await self._ask_about(order for order in mine if order.client_order_id not in there)

    async def _tell_engine(self) -> None:
        untold = self._trading.untold
        for name in list(itertools.islice(reversed(untold), TOLD_A_ROUND)):
            if not self._trading.engine.connected:
                return
            order = untold.pop(name, None)
            if order is not None and order.status not in UNSETTLED:
                await self._trading.tell_engine(order)
