"""The gateway's routes: what they answer when all is well, and to wrong requests."""

from __future__ import annotations

import http.client
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.sandbox.stack import Stack, until

pytestmark = pytest.mark.sandbox


@pytest.mark.parametrize(
    "wrong",
    [{"side": "HOLD"}, {"qty": 0}, {"qty": "many"}, {"price": -1}, {"symbol": ""}, {"type": "STOP"}, {"price": None}],
)
def test_bad_parameters(shared: Stack, wrong: dict[str, Any]) -> None:
    answer = shared.order("bad", **wrong)
    assert (answer.status, answer.json["ok"], answer.json["error"]) == (400, False, "bad_params")


@pytest.mark.parametrize("body", ["{", "[]", "null"])
def test_bodies_that_are_no_order(shared: Stack, body: str) -> None:
    assert shared.gateway("/api/order", body).json["error"] == "bad_params"
    assert shared.gateway("/api/cancel", body).json["error"] == "bad_params"


def test_order_life(shared: Stack) -> None:
    placed = shared.order("life", time_in_force="GTC").json
    assert placed == {
        "ok": True,
        "client_order_id": "life",
        "order_id": placed["order_id"],
        "status": "NEW",
        "executed_qty": "0.00000000",
    }
    assert shared.order("life", time_in_force="GTC").json == placed
    assert shared.gateway("/api/cancel", {"client_order_id": "life"}).json["status"] == "CANCELED"
    assert shared.gateway("/api/order_state?client_order_id=life").json["status"] == "CANCELED"
    assert shared.gateway("/api/cancel", {"client_order_id": "life"}).json["error"] == "not_open"
    assert shared.gateway("/api/cancel", {"client_order_id": "nobody"}).status == 404


def test_the_same_order_at_once_is_placed_once(shared: Stack) -> None:
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: shared.order("once", type="MARKET").json, range(5)))
    assert {answer["order_id"] for answer in answers} == {answers[0]["order_id"]} and answers[0]["ok"]


def test_refusals_with_200(shared: Stack) -> None:
    risk = shared.order("too-big", qty=1000)
    assert (risk.status, risk.json["ok"], risk.json["error"]) == (200, False, "risk_rejected")
    filtered = shared.order("bad-tick", price=20000.001)
    assert (filtered.status, filtered.json["ok"], filtered.json["code"]) == (200, False, -1013)
    states = shared.gateway("/api/orders_state").json["orders"]
    assert "too-big" not in states and "bad-tick" not in states


def test_fills_move_positions_and_balances(shared: Stack) -> None:
    def held() -> tuple[float, float]:
        positions = {body["symbol"]: float(body["qty"]) for body in shared.gateway("/api/positions").json["positions"]}
        balances = {body["asset"]: float(body["total"]) for body in shared.gateway("/api/account").json["balances"]}
        return positions.get("BNBUSDT", 0.0), balances["BNB"]

    before = held()
    assert shared.order("buy-bnb", symbol="BNBUSDT", qty=2, type="MARKET").json["status"] == "FILLED"
    assert held() == pytest.approx((before[0] + 2, before[1] + 2))


def test_market(shared: Stack) -> None:
    market = shared.gateway("/api/market?symbol=ETHUSDT").json
    assert market["symbol"] == "ETHUSDT" and not market["stale"] and 2_900 < market["price"] < 3_100
    assert market["age_ms"] >= 0 and market["ts_ns"] > 0
    assert shared.gateway("/api/market?symbol=NOPE").status == 404


def test_metrics_and_config(shared: Stack) -> None:
    text = shared.gateway("/metrics").text
    assert "\nveloz_engine_connected 1\n" in text and 'veloz_orders_total{result="accepted"}' in text
    assert 'veloz_exchange_latency_seconds_bucket{le="+Inf"}' in text
    assert shared.gateway("/api/config").json["symbols"] == ["BNBUSDT", "BTCUSDT", "ETHUSDT"]


def listen(stack: Stack, last_id: str = "") -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", stack.sandbox.ports["gateway"], timeout=20)
    connection.request("GET", "/api/stream", headers={"Last-Event-ID": last_id} if last_id else {})
    return connection, connection.getresponse()


def order_events(stack: Stack, last_id: str, last_name: str) -> list[int]:
    """The ids of order events after `last_id` up to the first that shows `last_name` expired."""
    connection, stream = listen(stack, last_id)
    ids = []
    for raw in stream:
        line = raw.decode()
        if line.startswith("id: "):
            ids.append(int(line[4:]))
        if line.startswith("data: ") and last_name in line and "EXPIRED" in line:
            break
    connection.close()
    return ids


def test_stream_resumes_without_a_gap_over_a_restart(stack: Stack) -> None:
    connection, stream = listen(stack)
    assert stream.readline() == b": connected\n"
    stack.order("first")
    seen = next(int(line[4:]) for line in stream if line.startswith(b"id: "))
    connection.close()
    stack.kill("gateway", signal.SIGKILL)
    until(lambda: stack.service("gateway")["restarts"] == 1)
    until(stack.healthy)
    stack.order("second")
    ids = order_events(stack, str(seen), "second")
    assert ids == list(range(seen + 1, seen + 1 + len(ids)))


def test_stream_is_kept_alive(shared: Stack) -> None:
    connection, stream = listen(shared)
    assert any(line == b": keep-alive\n" for line in stream)
    connection.close()


def test_log_names_the_changes(shared: Stack) -> None:
    text = shared.log()
    assert "INFO engine connected: HELLO answered" in text and "INFO exchange is ok" in text
