"""Orders under fire: while services are killed, every acknowledged order exists exactly once, on both sides alike."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.sandbox.stack import Answer, Stack, let_pass, until

pytestmark = pytest.mark.sandbox


@pytest.mark.parametrize("victim", ["gateway", "engine", "exchange", "links"])
def test_kill_under_order_flow(stack: Stack, victim: str) -> None:
    """The flow outlasts the loss, however late we are."""
    enough, outcomes = threading.Event(), dict[str, Answer]()
    names: Iterator[int] = count()

    def flow() -> None:
        while not enough.is_set():
            name = f"flow-{next(names)}"
            outcomes[name] = stack.order(name, time_in_force="GTC")
            let_pass(0 if outcomes[name].status == 200 else 0.02)

    with ThreadPoolExecutor(4) as pool:
        going = [pool.submit(flow) for _ in range(4)]
        try:
            until(lambda: len(stack.gateway("/api/orders", seconds=1).text) > 20_000)
            stack.kill(victim, signal.SIGKILL)
            until(lambda: any(answer.status != 200 for answer in list(outcomes.values())))
            until(lambda: stack.service(victim)["restarts"] == 1)
        finally:
            enough.set()
        for one in going:
            one.result()
    until(lambda: stack.service(victim)["restarts"] == 1 and stack.service(victim)["state"] == "healthy")
    until(stack.healthy)
    until(lambda: set(states(stack).values()) <= {"NEW", "FILLED"})
    at_the_exchange = placed_at_exchange(stack)
    acknowledged = {name for name, answer in outcomes.items() if answer.status == 200 and answer.json["ok"]}
    refused = {name for name, answer in outcomes.items() if answer.status == 503}
    assert acknowledged and acknowledged < set(outcomes)
    assert len(at_the_exchange) == len(set(at_the_exchange))
    assert acknowledged <= set(at_the_exchange) and not refused & set(at_the_exchange)
    assert set(states(stack)) == set(at_the_exchange)


def states(stack: Stack) -> dict[str, str]:
    answer = stack.gateway("/api/orders_state")
    found: dict[str, str] = answer.json["orders"] if answer.status == 200 else {"": "unanswered"}
    return found


def placed_at_exchange(stack: Stack) -> list[str]:
    both = [stack.exchange("GET", "allOrders", symbol=symbol).json for symbol in ("BTCUSDT", "ETHUSDT")]
    return [body["clientOrderId"] for bodies in both for body in bodies]
