"""The exchange speaks as Binance's spot API does: shapes, error codes, weights."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest

from tests.sandbox.stack import Stack, until
from veloz_chaos.sandbox.exchange import WeightMeter

pytestmark = pytest.mark.sandbox
LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}


def place(stack: Stack, name: str) -> None:
    assert stack.exchange("POST", "order", **LIMIT, price="20000", newClientOrderId=name).json["status"] == "NEW"


def test_plain_endpoints(shared: Stack) -> None:
    assert shared.exchange("GET", "ping").json == {}
    assert shared.exchange("GET", "time").json["serverTime"] > 1_600_000_000_000
    info = shared.exchange("GET", "exchangeInfo").json
    assert info["rateLimits"][0]["limit"] == 60_000 and len(info["symbols"]) == 3
    price = shared.exchange("GET", "ticker/price", symbol="BTCUSDT").json
    assert price["symbol"] == "BTCUSDT" and 49_000 < float(price["price"]) < 51_000
    assert {body["asset"] for body in shared.exchange("GET", "account").json["balances"]} >= {"BTC", "USDT"}


def test_weight_is_counted(shared: Stack) -> None:
    answer = shared.exchange("GET", "ping")
    assert int(answer.headers["X-MBX-USED-WEIGHT-1M"]) > 0


def test_weight_limit() -> None:
    meter = WeightMeter(10)
    assert meter.add(10, 120.0) is None
    assert meter.add(1, 130.0) == 51
    assert meter.add(1, 180.0) is None


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"price": "20000"}, "NEW"),
        ({"price": "20000", "timeInForce": "IOC"}, "EXPIRED"),
        ({"price": "60000"}, "FILLED"),
        ({"price": "60000", "timeInForce": "IOC"}, "FILLED"),
        ({"side": "SELL", "price": "60000"}, "NEW"),
        ({"side": "SELL", "price": "40000"}, "FILLED"),
        ({"type": "MARKET"}, "FILLED"),
    ],
)
def test_matching(shared: Stack, fields: dict[str, str], status: str, names: Iterator[str]) -> None:
    body = shared.exchange("POST", "order", **{**LIMIT, "newClientOrderId": next(names), **fields}).json
    assert body["status"] == status
    assert (float(body["executedQty"]) > 0) == (status == "FILLED") == bool(body["fills"])
    assert float(body["cummulativeQuoteQty"]) == pytest.approx(
        sum(float(fill["price"]) * float(fill["qty"]) for fill in body["fills"])
    )


@pytest.fixture
def names(request: pytest.FixtureRequest) -> Iterator[str]:
    return (f"{request.node.name}-{number}"[-36:] for number in range(100))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"symbol": "NOPE"}, -1121),
        ({"symbol": ""}, -1102),
        ({"side": "HOLD"}, -1117),
        ({"type": "STOP"}, -1116),
        ({"timeInForce": "GTX"}, -1115),
        ({"quantity": "0"}, -1013),
        ({"quantity": "much"}, -1100),
        ({"price": "20000.001"}, -1013),
        ({"quantity": "1000", "price": "60000"}, -2010),
        ({"timestamp": "1000", "recvWindow": "5000"}, -1021),
    ],
)
def test_errors(shared: Stack, fields: dict[str, str], code: int, names: Iterator[str]) -> None:
    parameters = {**LIMIT, "price": "20000", "newClientOrderId": next(names), **fields}
    answer = shared.exchange("POST", "order", **parameters)
    assert (answer.status, answer.json["code"]) == (400, code) and answer.json["msg"]


def test_order_life(shared: Stack) -> None:
    name = {"symbol": "BTCUSDT", "origClientOrderId": "x-life"}
    place(shared, "x-life")
    assert shared.exchange("GET", "order", **name).json["status"] == "NEW"
    duplicate = shared.exchange("POST", "order", **{**LIMIT, "price": "1", "newClientOrderId": "x-life"})
    assert (duplicate.status, duplicate.json) == (400, {"code": -2010, "msg": "Duplicate order sent."})
    assert "x-life" in {body["clientOrderId"] for body in shared.exchange("GET", "openOrders").json}
    assert shared.exchange("DELETE", "order", **name).json["status"] == "CANCELED"
    assert shared.exchange("DELETE", "order", **name).json["code"] == -2011
    assert "x-life" in {body["clientOrderId"] for body in shared.exchange("GET", "allOrders", symbol="BTCUSDT").json}
    assert shared.exchange("GET", "order", symbol="BTCUSDT", orderId="999").json["code"] == -2013
    assert shared.exchange("GET", "order", symbol="BTCUSDT").json["code"] == -1102


def test_an_id_may_be_used_again_once_its_order_is_not_open(shared: Stack) -> None:
    name = {"symbol": "BTCUSDT", "origClientOrderId": "x-twice"}
    place(shared, "x-twice")
    shared.exchange("DELETE", "order", **name)
    place(shared, "x-twice")
    both = [o for o in shared.exchange("GET", "allOrders", symbol="BTCUSDT").json if o["clientOrderId"] == "x-twice"]
    assert [order["status"] for order in both] == ["CANCELED", "NEW"]
    assert shared.exchange("GET", "order", **name).json == both[1]
    first = {"symbol": "BTCUSDT", "orderId": both[0]["orderId"]}
    assert shared.exchange("GET", "order", **first).json == both[0]
    assert shared.exchange("DELETE", "order", **name).json["orderId"] == both[1]["orderId"]


def test_all_orders_may_be_limited(shared: Stack) -> None:
    for number in range(3):
        place(shared, f"x-many-{number}")
    everything = shared.exchange("GET", "allOrders", symbol="BTCUSDT").json
    assert shared.exchange("GET", "allOrders", symbol="BTCUSDT", limit=2).json == everything[-2:]
    first = everything[1]["orderId"]
    assert shared.exchange("GET", "allOrders", symbol="BTCUSDT", orderId=first).json == everything[1:]
    assert shared.exchange("GET", "allOrders", symbol="BTCUSDT", orderId=first, limit=1).json == everything[1:2]
    assert shared.exchange("GET", "allOrders", symbol="BTCUSDT", limit="-1").json["code"] == -1100


def test_a_restart_keeps_orders_and_balances(stack: Stack) -> None:
    place(stack, "x-kept")
    before = stack.exchange("GET", "allOrders", symbol="BTCUSDT").json, stack.exchange("GET", "account").json
    stack.kill("exchange", signal.SIGKILL)
    until(lambda: stack.service("exchange")["restarts"] == 1)
    until(lambda: stack.exchange("GET", "ping").status == 200)
    assert before == (
        stack.exchange("GET", "allOrders", symbol="BTCUSDT").json,
        stack.exchange("GET", "account").json,
    )
    assert (
        stack.exchange("POST", "order", **{**LIMIT, "price": "1", "newClientOrderId": "x-kept"}).json["code"] == -2010
    )


def test_rate_limit_is_binances_and_the_gateway_stops_calling(stack: Stack) -> None:
    until(lambda: time.time() % 60 < 35)  # what was used is forgotten with each minute: not while we look
    file = stack.directory / "sandbox.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "weight_limit": 10}))
    stack.kill("exchange", signal.SIGKILL)
    until(lambda: stack.exchange("GET", "ping").status == 429)
    limited = stack.exchange("GET", "ping")
    assert limited.json["code"] == -1003 and 0 < int(limited.headers["Retry-After"]) <= 61
    until(lambda: stack.gateway("/health").json["exchange"]["status"] == "rate-limited")
    refused = stack.order("limited")
    assert (refused.status, refused.json["error"]) == (503, "rate_limited")
    assert 0 < refused.json["retry_after"] == int(refused.headers["Retry-After"]) <= 61
    assert stack.gateway("/api/market?symbol=BTCUSDT").json["stale"]
