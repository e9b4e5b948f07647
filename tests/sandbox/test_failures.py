"""What the failure modes promise: the stack is hurt from outside, and must notice, refuse, degrade and recover."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.sandbox.stack import Stack, call, until
from veloz_chaos.sandbox.book import price_of

pytestmark = pytest.mark.sandbox


def comes_back(stack: Stack, service: str) -> None:
    """It died, is started, and serves: so the supervisor says, and whatever /status shows in between is in that order
    (a look may come too late for one)."""
    order, seen = ["down", "starting", "healthy"], list[str]()

    def look() -> bool:
        told = stack.service(service)
        if told["restarts"] == 1 or told["state"] == "down":
            seen.append(told["state"])
        return bool(told["restarts"] == 1 and told["state"] == "healthy")

    until(look)
    assert seen == sorted(seen, key=order.index)
    events = [(event, one["at"]) for event in ("exited", "started", "healthy") for one in lived(stack, service, event)]
    assert [event for event, _ in sorted(events, key=lambda one: one[1])][-3:] == ["exited", "started", "healthy"]


def lived(stack: Stack, service: str, event: str) -> list[dict[str, Any]]:
    return [one for one in stack.truth("supervisor", event) if one["service"] == service]


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def kept(stack: Stack) -> tuple[Any, Any]:
    return stack.gateway("/api/positions").json, stack.gateway("/api/account").json


def test_engine_killed(stack: Stack) -> None:
    before = kept(stack)
    with stack.unattended():
        dead = stack.kill("engine", signal.SIGKILL)
        until(lambda: stack.gateway("/health").status == 503)
        health = stack.gateway("/health")
        assert health.json["status"] == "unhealthy" and health.json["engine"] == {"connected": False}
        refused = stack.order("refused")
        assert (refused.status, refused.json["ok"], refused.json["error"]) == (503, False, "engine_unavailable")
        assert stack.gateway("/api/positions").status == stack.gateway("/api/account").status == 503
        assert stack.gateway("/api/cancel", {"client_order_id": "seed-resting-buy"}).status == 503
        assert stack.gateway("/health/live").status == 200
    until(lambda: stack.service("engine")["restarts"] == 1)
    until(stack.healthy)
    assert stack.pid("engine") != dead and kept(stack) == before
    assert stack.gateway("/api/order_state?client_order_id=refused").status == 404
    assert stack.truth("supervisor", "exited")[0]["signal"] == signal.SIGKILL
    assert stack.service("engine")["restarts"] == 1


def test_engine_terminated(stack: Stack) -> None:
    stack.kill("engine", signal.SIGTERM)
    comes_back(stack, "engine")
    assert stack.truth("supervisor", "exited")[0]["code"] == 0


def test_engine_stopped_is_noticed_by_heartbeat(stack: Stack) -> None:
    engine = stack.kill("engine", signal.SIGSTOP)
    until(lambda: stack.gateway("/health").status == 503)
    assert stack.truth("gateway", "engine-lost")[-1]["why"] == "no answer to the heartbeat"
    assert stack.order("while-stopped").json["error"] == "engine_unavailable"
    os.kill(engine, signal.SIGCONT)
    until(stack.healthy)
    assert stack.pid("engine") == engine


def test_gateway_killed(stack: Stack) -> None:
    assert stack.order("before", time_in_force="GTC").json["status"] == "NEW"
    before = stack.gateway("/api/orders").json
    stack.kill("gateway", signal.SIGKILL)
    comes_back(stack, "gateway")
    until(stack.healthy)
    assert stack.gateway("/api/orders").json == before
    again = stack.order("before", time_in_force="GTC").json
    assert again["ok"] and again["status"] == "NEW"
    assert len([1 for order in stack.gateway("/api/orders").json["orders"] if order["price"] == "20000"]) == 1


def test_hung_gateway_is_killed_by_the_liveness_check(stack: Stack) -> None:
    hung = stack.kill("gateway", signal.SIGSTOP)
    until(lambda: stack.pid("gateway") != hung)
    until(stack.healthy)
    assert stack.truth("supervisor", "exited")[0] | {"at": 0} == {
        "at": 0,
        "event": "exited",
        "service": "gateway",
        "pid": hung,
        "signal": signal.SIGKILL,
    }


def test_exchange_killed(stack: Stack) -> None:
    with stack.unattended():
        stack.kill("exchange", signal.SIGKILL)
        until(lambda: stack.gateway("/health").json["exchange"]["status"] == "unavailable")
        assert stack.order("refused").json["error"] == "exchange_unavailable"
    until(stack.healthy)
    begun = time.time()
    price = stack.gateway("/api/market?symbol=BTCUSDT").json["price"]
    assert any(abs(price / float(price_of("BTCUSDT", begun + n / 2 - 5)) - 1) < 0.001 for n in range(20))
    bodies = stack.exchange("GET", "openOrders").json
    assert {body["clientOrderId"] for body in bodies} == {"seed-resting-buy", "seed-resting-sell"}


def test_exchange_cut_off(stack: Stack) -> None:
    stack.links("POST", "/proxies/exchange", {"enabled": False})
    until(lambda: stack.gateway("/health").json["status"] == "degraded")
    health = stack.gateway("/health")
    assert health.status == 200 and health.json["exchange"]["status"] == "unavailable"
    refused = stack.order("refused")
    assert (refused.status, refused.json["error"]) == (503, "exchange_unavailable")
    market = stack.gateway("/api/market?symbol=BTCUSDT").json
    assert market["stale"] and market["price"] > 0
    assert until(lambda: stack.gateway("/api/market?symbol=BTCUSDT").json["age_ms"] > market["age_ms"])
    assert 'veloz_exchange_status{status="unavailable"} 1' in stack.gateway("/metrics").text
    stack.links("POST", "/proxies/exchange", {"enabled": True})
    until(stack.healthy)
    assert stack.order("refused").json["ok"]
    assert not stack.gateway("/api/market?symbol=BTCUSDT").json["stale"]


def test_slow_exchange(stack: Stack) -> None:
    stack.links("POST", "/proxies/exchange/toxics", {"type": "latency", "attributes": {"latency": 600}})
    until(lambda: stack.gateway("/health").json["exchange"]["status"] == "slow")
    assert stack.gateway("/health").json["exchange"]["latency_ms"] >= 600
    begun = time.monotonic()
    assert stack.order("late").json["ok"] and time.monotonic() - begun >= 0.6
    stack.links("DELETE", "/proxies/exchange/toxics/latency_downstream")
    until(stack.healthy)


def test_unknown_outcome_is_settled(stack: Stack) -> None:
    """The order arrives, the answer does not: not a refusal, and known for sure in the end."""
    stack.links("POST", "/proxies/exchange/toxics", {"type": "timeout", "stream": "downstream", "name": "cut"})
    unknown = stack.order("unknown", seconds=20)
    assert (unknown.status, unknown.json["error"]) == (504, "outcome_unknown")
    assert stack.exchange("GET", "order", symbol="BTCUSDT", origClientOrderId="unknown").json["status"] == "EXPIRED"
    stack.links("DELETE", "/proxies/exchange/toxics/cut")
    state = "/api/order_state?client_order_id=unknown"
    until(lambda: stack.gateway(state).json["status"] == "EXPIRED")


def test_order_that_never_arrived_is_settled(stack: Stack) -> None:
    stack.links("POST", "/proxies/exchange/toxics", {"type": "timeout", "stream": "upstream", "name": "cut"})
    assert stack.order("lost", seconds=20).status == 504
    stack.links("DELETE", "/proxies/exchange/toxics/cut")
    until(lambda: stack.gateway("/api/order_state?client_order_id=lost").json["status"] == "REJECTED")
    assert "lost" not in stack.gateway("/api/orders_state").json["orders"]
    assert stack.exchange("GET", "order", symbol="BTCUSDT", origClientOrderId="lost").json["code"] == -2013


def test_engine_partitioned(stack: Stack) -> None:
    engine = stack.pid("engine")
    stack.links("POST", "/proxies/engine/toxics", {"type": "timeout", "name": "cut"})
    until(lambda: stack.gateway("/health").status == 503)
    assert stack.order("refused").status == 503
    stack.links("DELETE", "/proxies/engine/toxics/cut")
    until(stack.healthy)
    assert stack.pid("engine") == engine and stack.service("engine")["restarts"] == 0
    assert len(stack.truth("links", "toxic-added")) == len(stack.truth("links", "toxic-removed")) == 1


def test_engine_hears_later_of_what_was_filled_without_it(stack: Stack) -> None:
    """The engine dies while the exchange answers slowly: acknowledged, and in the books when it is back."""
    stack.links("POST", "/proxies/exchange/toxics", {"type": "latency", "attributes": {"latency": 1000}})
    before = stack.gateway("/api/positions").json["positions"][0]["qty"]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stack.order, "filled-alone", type="MARKET")
        until(lambda: stack.gateway("/api/orders_state").json["orders"].get("filled-alone") == "PENDING")
        stack.kill("engine", signal.SIGKILL)
        assert answer.result().json["status"] == "FILLED"
    stack.links("POST", "/reset")
    until(stack.healthy)
    after = until(lambda: stack.gateway("/api/positions").json["positions"][0]["qty"] != before and kept(stack))
    assert float(after[0]["positions"][0]["qty"]) == pytest.approx(float(before) + 0.01)


def test_outside_measurement_agrees_with_the_truth(stack: Stack) -> None:
    """What looks at /health say of the loss of the engine encloses what the gateway noted."""
    last_good = now()
    with stack.unattended():
        stack.kill("engine", signal.SIGKILL)
        while True:
            asked = now()
            answer = call(stack.sandbox.url("gateway") + "/health")
            if answer.status == 503:
                break
            if answer.status == 200:  # no answer at all says nothing of the engine
                last_good = asked
        answered = now()
    lost = [event["at"] for event in stack.truth("gateway", "engine-lost") if event["at"] <= answered]
    assert last_good <= lost[-1]
    until(stack.healthy)
    served = [event["at"] for event in stack.truth("engine", "serving")]
    assert served[-1] <= stack.truth("gateway", "engine-connected")[-1]["at"] <= now()
