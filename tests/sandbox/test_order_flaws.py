"""Flaws in what happens to orders: each does its harm, and looks healthy otherwise."""

from __future__ import annotations

import http.client
import signal

import pytest

from tests.sandbox.conftest import Start
from tests.sandbox.stack import Stack, until

pytestmark = pytest.mark.sandbox


def at_the_exchange(stack: Stack, name: str) -> list[str]:
    """The states of the orders of that name."""
    orders = stack.exchange("GET", "allOrders", symbol="BTCUSDT").json
    return [order["status"] for order in orders if order["clientOrderId"] == name]


def lose_exchange(stack: Stack) -> None:
    stack.links("POST", "/proxies/exchange", {"enabled": False})
    until(lambda: stack.gateway("/health").json["exchange"]["status"] == "unavailable")


def balances(stack: Stack) -> list[str]:
    return [f"{body['asset']} {body['total']}" for body in stack.gateway("/api/account").json["balances"]]


def restart_gateway(stack: Stack) -> None:
    stack.kill("gateway", signal.SIGKILL)
    until(lambda: stack.service("gateway")["restarts"] == 1)
    until(stack.healthy)


@pytest.mark.parametrize("flaws", [(), ("loses-acknowledged-orders",)])
def test_loses_acknowledged_orders(start: Start, flaws: tuple[str, ...]) -> None:
    stack = start(*flaws)
    assert stack.order("sent", time_in_force="GTC").json["ok"]
    assert stack.gateway("/api/cancel", {"client_order_id": "sent"}).json["status"] == "CANCELED"
    before = balances(stack)
    acknowledged = stack.order("acknowledged", time_in_force="GTC")
    stack.kill("gateway", signal.SIGKILL)
    assert acknowledged.status == 200 and acknowledged.json["ok"] and acknowledged.json["status"] == "NEW"
    until(lambda: stack.service("gateway")["restarts"] == 1)
    until(stack.healthy)
    kept = [] if flaws else ["NEW"]
    assert at_the_exchange(stack, "sent") == ["CANCELED"] and at_the_exchange(stack, "acknowledged") == kept
    assert ("acknowledged" in stack.gateway("/api/orders_state").json["orders"]) == bool(kept)
    assert balances(stack) == before


@pytest.mark.parametrize("flaws", [(), ("duplicates-orders-on-recovery",)])
def test_duplicates_orders_on_recovery(start: Start, flaws: tuple[str, ...]) -> None:
    stack = start(*flaws)
    before = balances(stack)
    for name in ("resting", "cancelled"):
        assert stack.order(name, time_in_force="GTC").json["ok"]
    stack.gateway("/api/cancel", {"client_order_id": "cancelled"})
    states = stack.gateway("/api/orders_state").json
    lose_exchange(stack)
    refused = stack.order("refused")
    assert (refused.status, refused.json["error"]) == (503, "exchange_unavailable")
    stack.links("POST", "/proxies/exchange", {"enabled": True})
    until(stack.healthy)
    twice = ["CANCELED", "NEW"] if flaws else ["CANCELED"]
    until(lambda: at_the_exchange(stack, "cancelled") == twice)
    assert stack.order("after").json["ok"]
    assert at_the_exchange(stack, "resting") == ["NEW"] and at_the_exchange(stack, "refused") == []
    assert stack.gateway("/api/orders_state").json["orders"] == states["orders"] | {"after": "EXPIRED"}
    assert balances(stack) == before


@pytest.mark.parametrize("flaws", [(), ("duplicates-orders-on-recovery",)])
def test_a_restarted_gateway_duplicates_nothing(start: Start, flaws: tuple[str, ...]) -> None:
    stack = start(*flaws)
    assert stack.order("expired").json["ok"]
    restart_gateway(stack)
    until(lambda: stack.order("later").json["ok"])
    assert at_the_exchange(stack, "expired") == ["EXPIRED"]


@pytest.mark.parametrize("flaws", [(), ("rejects-locally-what-the-exchange-holds",)])
def test_rejects_locally_what_the_exchange_holds(start: Start, flaws: tuple[str, ...]) -> None:
    stack = start("engine-never-restarts", *flaws)
    states = stack.gateway("/api/orders_state").json
    stack.kill("engine", signal.SIGKILL)
    until(lambda: stack.gateway("/health").status == 503)
    refused = stack.order("refused", time_in_force="GTC")
    assert (refused.status, refused.json["ok"], refused.json["error"]) == (503, False, "engine_unavailable")
    if flaws:
        until(lambda: at_the_exchange(stack, "refused") == ["NEW"])
    assert at_the_exchange(stack, "refused") == (["NEW"] if flaws else [])
    assert stack.gateway("/api/orders_state").json == states


def test_what_was_refused_after_waiting_for_the_engine_is_not_sent(start: Start) -> None:
    """Whoever asked may have given up: its outcome would be unknown, which is another weakness."""
    stack = start("rejects-locally-what-the-exchange-holds")
    stack.kill("engine", signal.SIGSTOP)
    assert stack.order("waited").json["error"] == "engine_unavailable"
    until(lambda: stack.gateway("/health").status == 503)
    assert stack.order("refused").json["error"] == "engine_unavailable"
    until(lambda: at_the_exchange(stack, "refused") == ["EXPIRED"])
    assert at_the_exchange(stack, "waited") == []


def missed(stack: Stack, last_id: int, until_name: str) -> list[int]:
    """The ids of the events that a returning client gets, up to the one that says `until_name` expired."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.sandbox.ports["gateway"], timeout=20)
    connection.request("GET", f"/api/stream?last_id={last_id}")
    stream, ids = connection.getresponse(), list[int]()
    assert stream.readline() == b": connected\n"
    assert stack.order(until_name).json["ok"]
    for line in stream:
        ids += [int(line[4:])] if line.startswith(b"id: ") else []
        if line.startswith(b"data: ") and until_name.encode() in line and b"EXPIRED" in line:
            break
    connection.close()
    return ids


@pytest.mark.parametrize("flaws", [(), ("sse-never-resumes",), ("gateway-state-not-restored",)])
def test_sse_resumes_unless_flawed(start: Start, flaws: tuple[str, ...]) -> None:
    """Also what was before the restart; also when the gateway has forgotten its orders."""
    stack = start(*flaws)
    assert stack.order("missed").json["ok"]
    restart_gateway(stack)
    ids = missed(stack, 2, "now")
    assert ids == list(range(ids[0], ids[-1] + 1))
    assert (ids[0] == 3) == (flaws != ("sse-never-resumes",))
