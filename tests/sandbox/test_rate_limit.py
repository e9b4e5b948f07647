"""The exchange says that it is called too often: it is left alone for as long as it asks, and everybody is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.sandbox.conftest import Start
from tests.sandbox.stack import Answer, Stack, call, until
from veloz_chaos.sandbox import exchange_client
from veloz_chaos.sandbox.exchange_client import ExchangeAway, ExchangeClient
from veloz_chaos.sandbox.rate_limit import RateLimit

pytestmark = pytest.mark.sandbox
PRICES = [{"symbol": "BTCUSDT", "price": "50000.0"}]


class Exchange:
    """Answers as its test says at the moment, and notes when it was called."""

    def __init__(self) -> None:
        self.status, self.headers = 200, {"Retry-After": "1"}
        self.calls: list[tuple[float, str, int]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.calls.append((time.monotonic(), request.method, self.status))
        return web.json_response(PRICES, status=self.status, headers=self.headers)

    def pauses(self) -> list[float]:
        """Between each refusal and the next call."""
        pairs = zip(self.calls, self.calls[1:], strict=False)
        return [later - at for (at, _, status), (later, _, _) in pairs if status in (418, 429)]


@asynccontextmanager
async def talking(
    limit: RateLimit, every: float = 1.0
) -> AsyncIterator[tuple[Exchange, ExchangeClient, asyncio.Queue[str]]]:
    """Asked for prices so often: by the time of the next call, however slow we are, the last one is answered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange_client, "POLL_EVERY", every)
        async with _talking(limit) as found:
            yield found


@asynccontextmanager
async def _talking(limit: RateLimit) -> AsyncIterator[tuple[Exchange, ExchangeClient, asyncio.Queue[str]]]:
    exchange, told = Exchange(), asyncio.Queue[str]()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", exchange.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = ExchangeClient(lambda: "127.0.0.1", runner.addresses[0][1], limit, told.put_nowait, lambda _: None)
    running = asyncio.create_task(client.run())
    try:
        assert await told.get() == "ok"
        yield exchange, client, told
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await runner.cleanup()


@pytest.mark.parametrize("status", [429, 418])
def test_nothing_is_sent_before_retry_after_and_then_it_goes_on(status: int) -> None:
    async def scenario() -> None:
        async with talking(RateLimit()) as (exchange, client, told):
            exchange.status, exchange.headers = status, {"Retry-After": "4"}
            assert await told.get() == "rate-limited"
            assert not client.available and not client.fresh and 0 < client.limit.retry_after <= 4
            with pytest.raises(ExchangeAway) as away:
                await client.call("POST", "/order", {}, 5)
            assert not away.value.sent
            exchange.status = 200
            assert await client.limit.passes(15) and await told.get() == "ok" and client.fresh
            assert min(exchange.pauses()) >= 4

    asyncio.run(scenario())


@pytest.mark.parametrize("retry_after", ["1", "", "soon"])
def test_refusals_in_a_row_back_off_further(retry_after: str) -> None:
    async def scenario() -> None:
        async with talking(RateLimit()) as (exchange, _, told):
            exchange.status, exchange.headers = 429, {"Retry-After": retry_after}
            assert await told.get() == "rate-limited"
            await seen(lambda: [status for _, _, status in exchange.calls].count(429) == 3)
            exchange.status = 200
            assert await told.get() == "ok"
            first, second, third = exchange.pauses()
            assert first >= 1 and second >= 2 and third >= 4

    asyncio.run(scenario())


async def seen(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not look():
            await asyncio.sleep(0.02)


def test_refusals_of_what_was_under_way_do_not_count_as_further_ones() -> None:
    limit = RateLimit()
    for _ in range(20):
        limit.refused("15", asked=0.0)
    assert 0 < limit.retry_after <= 15
    limit.answered(asked=0.0)
    assert limit.limited and limit.blocks


def test_the_longest_backoff_and_never_before_retry_after() -> None:
    limit = RateLimit()
    for _ in range(20):
        limit.refused("1", asked=time.monotonic() + limit.retry_after + 0.01)
    assert 20 < limit.retry_after <= 30 and 20 < limit.whole_seconds() <= 30
    limit.refused("300", asked=time.monotonic() + limit.retry_after + 0.01)
    assert limit.retry_after > 290


def test_the_queue() -> None:
    """Who comes shortly before the end waits for the trial; its outcome is everybody's; who comes earlier is told."""

    async def scenario() -> None:
        limit = RateLimit()
        limit.refused("3", asked=0.0)
        assert not await limit.passes(0.5)
        good = asyncio.gather(*(limit.passes(20) for _ in range(3)))
        await asyncio.sleep(limit.retry_after)
        limit.answered(asked=time.monotonic())
        assert await good == [True] * 3
        limit.refused("1", asked=time.monotonic())
        bad = asyncio.gather(*(limit.passes(20) for _ in range(3)))
        await asyncio.sleep(limit.retry_after)
        limit.refused("1", asked=time.monotonic())
        assert await bad == [False] * 3
        assert not await limit.passes(limit.retry_after + 0.01)

    asyncio.run(scenario())


def test_the_flaw_tells_it_and_calls_all_the_same() -> None:
    async def scenario() -> None:
        async with talking(RateLimit(obeyed=False), every=0.2) as (exchange, client, told):
            exchange.status = 429
            assert await told.get() == "rate-limited"
            assert client.available and not client.fresh
            assert (await client.call("POST", "/order", {}, 5))[0] == 429
            await seen(lambda: len(exchange.pauses()) >= 4)
            assert min(exchange.pauses()) < 1
            exchange.status = 200
            assert await told.get() == "ok"

    asyncio.run(scenario())


def limit(stack: Stack, **more: Any) -> None:
    fault = {"name": "limit", "status": 429, "retry-after": "2s", "binance": True, "expires": 60, **more}
    answer = call(f"http://127.0.0.1:{stack.sandbox.ports['faults']}/proxies/exchange/faults", "POST", fault)
    assert answer.status == 201, answer.text
    until(lambda: stack.gateway("/health").json["exchange"]["status"] == "rate-limited")


def unlimit(stack: Stack) -> None:
    call(f"http://127.0.0.1:{stack.sandbox.ports['faults']}/proxies/exchange/faults/limit", "DELETE")


def early(stack: Stack) -> int:
    url = f"http://127.0.0.1:{stack.sandbox.ports['faults']}/proxies/exchange/traffic"
    return int(call(url).json["early"])


def refused_order(stack: Stack, name: str) -> Answer:
    """An order that comes early in a pause; those that come late wait, and are refused all the same."""
    refused = stack.order(name)
    assert (refused.status, refused.json["error"], refused.json["ok"]) == (503, "rate_limited", False)
    assert refused.json["retry_after"] == int(refused.headers["Retry-After"]) >= 1
    return refused


def test_a_rate_limited_exchange(stack: Stack) -> None:
    resting = {"client_order_id": "seed-resting-buy"}
    limit(stack)
    health = stack.gateway("/health")
    assert (health.status, health.json["status"]) == (200, "degraded")
    refused_order(stack, "limited")
    cancel = stack.gateway("/api/cancel", resting)
    assert (cancel.status, cancel.json["error"]) == (503, "rate_limited") and "Retry-After" in cancel.headers
    market = stack.gateway("/api/market?symbol=BTCUSDT").json
    assert market["stale"] and market["price"] > 0
    assert 'veloz_exchange_status{status="rate-limited"} 1' in stack.gateway("/metrics").text
    statuses = [event["status"] for event in stack.truth("gateway", "exchange-status")]
    assert statuses[-2:] == ["ok", "rate-limited"]
    unlimit(stack)
    until(stack.healthy)
    assert stack.order("limited").json["ok"] and stack.gateway("/api/cancel", resting).json["ok"]
    assert early(stack) == 0 and not stack.truth("faults", "called-too-early")
    assert stack.exchange("GET", "order", symbol="BTCUSDT", origClientOrderId="limited").json["status"] == "EXPIRED"


def test_orders_wait_for_the_end_of_a_short_pause(stack: Stack) -> None:
    limit(stack, **{"retry-after": "1s"})
    unlimit(stack)
    until(lambda: stack.order("first").json["ok"])
    assert early(stack) == 0


def test_ignores_retry_after(start: Start) -> None:
    stack = start("ignores-retry-after")
    limit(stack)
    refused_order(stack, "limited")
    assert stack.gateway("/api/market?symbol=BTCUSDT").json["stale"]
    until(lambda: early(stack) > 3)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda number: refused_order(stack, f"limited-{number}"), range(20)))
    unlimit(stack)
    until(stack.healthy)
    assert stack.order("limited").json["ok"]
