"""Each flaw shows its weakness, and the rest behaves."""

from __future__ import annotations

import signal

import pytest

from tests.sandbox.conftest import Start
from tests.sandbox.stack import Stack, let_pass, until

pytestmark = pytest.mark.sandbox


def unhealthy(stack: Stack) -> bool:
    return stack.gateway("/health").status == 503


def cut_exchange_off(stack: Stack) -> None:
    stack.links("POST", "/proxies/exchange", {"enabled": False})
    until(lambda: stack.gateway("/health").json["exchange"]["status"] == "unavailable")


def down_for_seconds(stack: Stack, service: str) -> float:
    """From its last death to its next start, by the truth log."""
    exited = stack.truth("supervisor", "exited")[-1]["at"]
    starts = [event["at"] for event in stack.truth("supervisor", "started") if event["service"] == service]
    return float(starts[-1] - exited) / 1e9


def test_engine_slow_restart(start: Start) -> None:
    stack = start("engine-slow-restart")
    stack.kill("engine", signal.SIGKILL)
    until(lambda: unhealthy(stack))
    until(stack.healthy)
    assert down_for_seconds(stack, "engine") >= 12


def test_engine_never_restarts(start: Start) -> None:
    stack = start("engine-never-restarts")
    stack.kill("engine", signal.SIGKILL)
    until(lambda: stack.service("engine")["state"] == "down")
    stack.kill("gateway", signal.SIGKILL)
    until(lambda: stack.service("gateway")["restarts"] == 1)
    until(lambda: unhealthy(stack))
    assert stack.service("engine") == {"state": "down", "pid": None, "restarts": 0, "last_exit": "killed"}


def test_gateway_hangs_without_engine(start: Start) -> None:
    stack = start("gateway-hangs-without-engine", "engine-never-restarts")
    stack.kill("engine", signal.SIGKILL)
    until(lambda: unhealthy(stack))
    assert stack.order("hung", seconds=0.7).status == 0
    assert stack.gateway("/api/positions", seconds=0.7).status == 0
    assert stack.gateway("/api/cancel", {"client_order_id": "seed-resting-buy"}, seconds=0.7).status == 0
    assert stack.gateway("/api/account").status == 503 and stack.gateway("/api/market").status == 200


def test_health_lies(start: Start) -> None:
    stack = start("health-lies")
    stack.kill("engine", signal.SIGSTOP)
    until(lambda: stack.order("refused").status == 503)
    told = stack.gateway("/health")
    assert told.status == 200 and told.json["engine"] == {"connected": True}
    assert all(part["status"] == "ok" for name, part in told.json.items() if name not in ("status", "engine"))
    assert stack.truth("gateway", "engine-lost")


def test_no_exchange_cache(start: Start) -> None:
    stack = start("no-exchange-cache")
    assert stack.gateway("/api/market").status == 200
    cut_exchange_off(stack)
    market = stack.gateway("/api/market")
    assert (market.status, market.json["error"]) == (503, "exchange_unavailable")
    assert stack.gateway("/health").json["status"] == "degraded"


def test_gateway_state_not_restored(start: Start) -> None:
    stack = start("gateway-state-not-restored")
    stack.kill("gateway", signal.SIGKILL)
    until(lambda: stack.service("gateway")["restarts"] == 1)
    until(stack.healthy)
    assert stack.gateway("/api/orders").json["orders"] == []
    assert stack.gateway("/api/positions").json["positions"]
    assert len(stack.exchange("GET", "openOrders").json) == 2


def test_relapses_after_recovery(start: Start) -> None:
    stack = start("relapses-after-recovery")
    assert not stack.truth("supervisor", "exited")
    stack.kill("engine", signal.SIGKILL)
    until(lambda: len(stack.truth("supervisor", "exited")) >= 3)
    healthy = [event["at"] for event in stack.truth("supervisor", "healthy") if event["service"] == "engine"]
    deaths = [event["at"] for event in stack.truth("supervisor", "exited")]
    assert all(death - start >= 2.4e9 for start, death in zip(healthy[1:], deaths[1:], strict=False))


def test_detection_flaps(start: Start) -> None:
    stack = start("detection-flaps", "engine-never-restarts")
    stack.kill("engine", signal.SIGKILL)
    until(lambda: unhealthy(stack))
    for _ in range(2):
        until(lambda: not unhealthy(stack))
        assert stack.order("refused").status == 503
        until(lambda: unhealthy(stack))


def test_without_a_flaw_the_engine_is_back_soon_and_stays(start: Start) -> None:
    stack = start()
    with stack.unattended():
        stack.kill("engine", signal.SIGKILL)
        until(lambda: unhealthy(stack))
    until(stack.healthy)
    assert 0.9 <= down_for_seconds(stack, "engine") < 12
    let_pass(4)
    assert len(stack.truth("supervisor", "exited")) == 1
