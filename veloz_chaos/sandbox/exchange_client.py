"""The gateway's view of the exchange: polled prices, a status, and a circuit breaker before every order.

A price poll starts every 200 ms on a new connection, at most eight at a time. The status is "unavailable" when polls
fail and none has succeeded for a second, or when DNS never gave an address; "rate-limited" from a 429 or 418 until it
is over (see `rate_limit.py`); "slow" when the last three round trips all took more than 250 ms (one alone may be our
own machine's hiccup); else "ok". While it is unavailable calls in flight are given up.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from veloz_chaos.sandbox.rate_limit import STATUSES, RateLimit

POLL_EVERY, POLL_TIMEOUT, MAX_POLLS = 0.2, 1.5, 8
UNAVAILABLE_AFTER, SLOW = 1.0, 0.25
#: Orders share connections, which are closed after so many idle seconds.
KEEP_ALIVE = 5.0


class ExchangeAway(Exception):
    """No answer. `sent` tells whether the request may have arrived."""

    def __init__(self, sent: bool) -> None:
        super().__init__()
        self.sent = sent


class ExchangeClient:
    """`address` gives where the exchange is, if that is known; `on_status` is called with each new status,
    `on_round_trip` with the seconds of each answered poll."""

    def __init__(
        self,
        address: Callable[[], str | None],
        port: int,
        limit: RateLimit,
        on_status: Callable[[str], None],
        on_round_trip: Callable[[float], None],
    ) -> None:
        self._address, self._port, self.limit = address, port, limit
        self._on_status, self._on_round_trip = on_status, on_round_trip
        self.status = "unavailable"
        self.prices: dict[str, float] = {}
        self.priced_ns = 0
        self._round_trips: deque[float] = deque(maxlen=3)
        self._last_success = 0.0
        self._failed = True
        #: When it was last found to be unavailable; nanoseconds since the epoch, 0 for never.
        self.lost_ns = 0
        self._unavailable = asyncio.Event()
        self._unavailable.set()
        self._polls: set[asyncio.Task[None]] = set()
        self._polling: aiohttp.ClientSession | None = None
        self._calling: aiohttp.ClientSession | None = None
        #: Asked before each request; whoever knows our API key sets it.
        self.headers: Callable[[], Mapping[str, str]] = dict

    @property
    def available(self) -> bool:
        return self.status != "unavailable" and not self.limit.blocks

    @property
    def fresh(self) -> bool:
        """Whether the prices are the exchange's latest."""
        return self.status in ("ok", "slow")

    @property
    def latency_ms(self) -> float | None:
        return round(self._round_trips[-1] * 1000, 1) if self._round_trips else None

    async def run(self) -> None:
        new, kept = (
            aiohttp.TCPConnector(force_close=True, limit=0),
            aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE, limit=0),
        )
        async with (
            aiohttp.ClientSession(connector=new) as self._polling,
            aiohttp.ClientSession(connector=kept) as self._calling,
        ):
            while True:
                self._start_poll()
                await asyncio.sleep(self._until_next_poll())
                self._judge()

    def _until_next_poll(self) -> float:
        """The moment that a pause is over is not missed."""
        return min(POLL_EVERY, self.limit.retry_after or POLL_EVERY)

    async def call(self, method: str, path: str, parameters: Mapping[str, str], seconds: float) -> tuple[int, Any]:
        """Status and JSON body. Raises ExchangeAway, also when the exchange becomes unavailable meanwhile."""
        if not self.available:
            raise ExchangeAway(sent=False)
        request = asyncio.ensure_future(self._request(self._calling, method, path, parameters, seconds))
        gone = asyncio.ensure_future(self._unavailable.wait())
        try:
            await asyncio.wait({request, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not request.done():
                raise ExchangeAway(sent=True)
            return request.result()
        finally:
            gone.cancel()
            request.cancel()

    async def _request(
        self,
        session: aiohttp.ClientSession | None,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        seconds: float,
    ) -> tuple[int, Any]:
        address = self._address()
        if session is None or address is None:
            raise ExchangeAway(sent=False)
        asked, url = time.monotonic(), f"http://{address}:{self._port}{path}"
        try:
            status, retry_after, text = await _answer(session, method, url, parameters, self.headers(), seconds)
        except ExchangeAway:
            self.limit.answered(asked)
            raise
        if status in STATUSES:
            self.limit.refused(retry_after, asked)
            self._judge()
        else:
            self.limit.answered(asked)
        return status, _decoded(text)

    def _start_poll(self) -> None:
        trying = self.limit.blocks and self._polls
        if len(self._polls) >= MAX_POLLS or self.limit.pausing or trying:
            return
        task = asyncio.create_task(self._poll())
        self._polls.add(task)
        task.add_done_callback(self._polls.discard)

    async def _poll(self) -> None:
        asked, status, prices = time.monotonic(), 0, {}
        try:
            status, body = await self._request(self._polling, "GET", "/api/v3/ticker/price", {}, POLL_TIMEOUT)
            prices = {entry["symbol"]: float(entry["price"]) for entry in body} if status == 200 else {}
        except (ExchangeAway, ValueError, KeyError, TypeError):
            pass
        if prices:
            self._succeeded(prices, asked)
        elif status not in STATUSES:
            self._failed = True
        self._judge()

    def _succeeded(self, prices: dict[str, float], asked: float) -> None:
        self._last_success, self._failed = time.monotonic(), False
        self._round_trips.append(self._last_success - asked)
        self._on_round_trip(self._round_trips[-1])
        self.prices, self.priced_ns = prices, time.time_ns()

    def _judge(self) -> None:
        status = self._present_status()
        if status == self.status:
            return
        self.status = status
        if status == "unavailable":
            self.lost_ns = time.time_ns()
            self._round_trips.clear()
            self._unavailable.set()
        else:
            self._unavailable.clear()
        self._on_status(status)

    def _present_status(self) -> str:
        if self._address() is None:
            return "unavailable"
        if self.limit.limited:
            return "rate-limited"
        if self._failed and time.monotonic() - self._last_success > UNAVAILABLE_AFTER:
            return "unavailable"
        return "slow" if min(self._round_trips, default=0.0) > SLOW else "ok"


async def _answer(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    parameters: Mapping[str, str],
    headers: Mapping[str, str],
    seconds: float,
) -> tuple[int, str, str]:
    """Status, Retry-After, text. Raises ExchangeAway."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with session.request(method, url, params=parameters, headers=headers, timeout=timeout) as answer:
            return answer.status, answer.headers.get("Retry-After", ""), await answer.text()
    except aiohttp.ClientConnectorError:
        raise ExchangeAway(sent=False) from None
    except (aiohttp.ClientError, OSError, TimeoutError, UnicodeDecodeError):
        raise ExchangeAway(sent=True) from None


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}
