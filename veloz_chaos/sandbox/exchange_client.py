"""The gateway's view of the exchange: polled prices, a status, and a circuit breaker before every order.

A price poll starts every 200 ms on a new connection, at most eight at a time. The status is "unavailable" when polls
fail and none has succeeded for a second; "slow" when the last three round trips all took more than 250 ms (one alone
may be our own machine's hiccup); else "ok". While it is unavailable calls in flight are given up. After a 429 or 418
nothing is sent before Retry-After has passed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

POLL_EVERY, POLL_TIMEOUT, MAX_POLLS = 0.2, 1.5, 8
UNAVAILABLE_AFTER, SLOW = 1.0, 0.25
BASE = "http://127.0.0.1"


class ExchangeAway(Exception):
    """No answer. `sent` tells whether the request may have arrived."""

    def __init__(self, sent: bool) -> None:
        super().__init__()
        self.sent = sent


class ExchangeClient:
    """`on_status` is called with each new status; `on_round_trip` with the seconds of each answered poll."""

    def __init__(self, port: int, on_status: Callable[[str], None], on_round_trip: Callable[[float], None]) -> None:
        self._base, self._on_status, self._on_round_trip = f"{BASE}:{port}", on_status, on_round_trip
        self.status = "unavailable"
        self.prices: dict[str, float] = {}
        self.priced_ns = 0
        self._round_trips: deque[float] = deque(maxlen=3)
        self._last_success = self._paused_until = 0.0
        self._failed = True
        self._unavailable = asyncio.Event()
        self._unavailable.set()
        self._polls: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        #: Asked before each request; whoever knows our API key sets it.
        self.headers: Callable[[], Mapping[str, str]] = dict

    @property
    def available(self) -> bool:
        return self.status != "unavailable" and time.monotonic() >= self._paused_until

    @property
    def retry_after(self) -> float:
        """Seconds for which the exchange asked not to be called."""
        return max(self._paused_until - time.monotonic(), 0.0)

    @property
    def latency_ms(self) -> float | None:
        return round(self._round_trips[-1] * 1000, 1) if self._round_trips else None

    async def run(self) -> None:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(connector=connector) as self._session:
            while True:
                self._start_poll()
                await asyncio.sleep(POLL_EVERY)
                self._judge()

    async def call(self, method: str, path: str, parameters: Mapping[str, str], seconds: float) -> tuple[int, Any]:
        """Status and JSON body. Raises ExchangeAway, also when the exchange becomes unavailable meanwhile."""
        if not self.available:
            raise ExchangeAway(sent=False)
        request = asyncio.ensure_future(self._request(method, path, parameters, seconds))
        gone = asyncio.ensure_future(self._unavailable.wait())
        try:
            await asyncio.wait({request, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not request.done():
                raise ExchangeAway(sent=True)
            return request.result()
        finally:
            gone.cancel()
            request.cancel()

    async def _request(self, method: str, path: str, parameters: Mapping[str, str], seconds: float) -> tuple[int, Any]:
        if self._session is None:
            raise ExchangeAway(sent=False)
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.request(
                method, self._base + path, params=parameters, headers=self.headers(), timeout=timeout
            ) as answer:
                text = await answer.text()
        except aiohttp.ClientConnectorError:
            raise ExchangeAway(sent=False) from None
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeDecodeError):
            raise ExchangeAway(sent=True) from None
        if answer.status in (418, 429):
            self._pause(answer.headers.get("Retry-After", ""))
        return answer.status, _decoded(text)

    def _pause(self, retry_after: str) -> None:
        seconds = int(retry_after) if retry_after.isdigit() else 1
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _start_poll(self) -> None:
        if len(self._polls) >= MAX_POLLS or self.retry_after:
            return
        task = asyncio.create_task(self._poll())
        self._polls.add(task)
        task.add_done_callback(self._polls.discard)

    async def _poll(self) -> None:
        asked = time.monotonic()
        try:
            status, body = await self._request("GET", "/api/v3/ticker/price", {}, POLL_TIMEOUT)
            prices = {entry["symbol"]: float(entry["price"]) for entry in body} if status == 200 else {}
        except (ExchangeAway, ValueError, KeyError, TypeError):
            prices = {}
        if prices:
            self._succeeded(prices, asked)
        else:
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
            self._round_trips.clear()
            self._unavailable.set()
        else:
            self._unavailable.clear()
        self._on_status(status)

    def _present_status(self) -> str:
        if self._failed and time.monotonic() - self._last_success > UNAVAILABLE_AFTER:
            return "unavailable"
        return "slow" if min(self._round_trips, default=0.0) > SLOW else "ok"


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}
