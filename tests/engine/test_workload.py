"""The order flow against gateways of every temper: the schedule is kept, nothing is sent twice, nothing stays open."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.engine.gateway import Gateway, gateway
from tests.property.simulation.plans import plan
from veloz_chaos.core import event as ev
from veloz_chaos.core.workload import PlannedWorkload
from veloz_chaos.engine import order_books, order_flow
from veloz_chaos.engine.order_file import NAME, OrderFile
from veloz_chaos.engine.order_flow import Flow
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.engine.tally import Tally
from veloz_chaos.engine.workload import Workload
from veloz_chaos.errors import Refused

RUN = "0123abcd"
Deed = Callable[[Workload], Awaitable[None]]


def planned(server: Gateway, **changes: Any) -> PlannedWorkload:
    return PlannedWorkload.model_validate({"name": "orders", **server.workload(**changes)})


async def until(holds: Callable[[], object], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


def flow(server: Gateway, folder: Path, deed: Deed, audit: bool = True, **changes: Any) -> ev.WorkloadEnded:
    """A workload of its own process: started, watched by the deed, ended."""
    made = plan().model_copy(update={"workload": planned(server, **changes)})
    lock = os.open(folder, os.O_RDONLY)

    async def whole() -> ev.WorkloadEnded:
        workload = Workload.start(made, RUN, folder, lock)
        assert workload is not None
        workload.listen()
        try:
            await workload.await_ready()
            await deed(workload)
            workload.halt()
            return await workload.end(settle=audit)
        finally:
            await asyncio.to_thread(workload.dismiss)

    try:
        return asyncio.run(whole())
    finally:
        os.close(lock)


def sending(count: int) -> Deed:
    async def deed(workload: Workload) -> None:
        await until(lambda: workload.placed("sent") >= count)

    return deed


def lines(folder: Path, op: str = "") -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (folder / NAME).read_text().splitlines()]
    return [line for line in read if op in ("", line["op"])]


def outcomes(folder: Path) -> Counter[tuple[str, int, str]]:
    done = [line for line in lines(folder, "done") if line["of"] == "place"]
    return Counter((line["outcome"], line["status"], line["why"]) for line in done)


def test_every_order_is_recorded_answered_read_back_and_cancelled(tmp_path: Path) -> None:
    with gateway() as server:
        ended = flow(server, tmp_path, sending(60), timeout="20s")
        assert server.open == []
        placed = lines(tmp_path, "place")
        assert {line["id"] for line in placed} == set(server.orders)
    assert (ended.error, ended.left) == ("", 0)
    assert ended.sha256 == sha256((tmp_path / NAME).read_bytes()).hexdigest()
    assert ended.accepted == len(placed) == outcomes(tmp_path)["accepted", 200, ""]
    assert ended.operations == len(placed) + len(lines(tmp_path, "cancel"))
    assert [(line["side"], line["ok"]) for line in lines(tmp_path, "read")] == [("gateway", True), ("exchange", True)]
    found = Counter((line["side"], line["state"]) for line in lines(tmp_path, "found"))
    assert found == {("gateway", "cancelled"): len(placed), ("exchange", "cancelled"): len(placed)}
    assert placed[0]["id"] == f"vc-{RUN}-000001"


def test_the_same_seed_places_the_same_orders(tmp_path: Path) -> None:
    sequences = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with gateway() as server:
            flow(server, tmp_path / name, sending(30))
        placed = lines(tmp_path / name, "place")[:30]
        sequences.append([(line["id"], line["side"], line["symbol"], line["price"]) for line in placed])
    assert sequences[0] == sequences[1]
    assert {line[1:3] for line in sequences[0]} == {("BUY", "BTCUSDT"), ("SELL", "BTCUSDT"), ("BUY", "ETHUSDT")}


def test_a_stall_does_not_slow_the_schedule_and_hides_no_delay(tmp_path: Path) -> None:
    """While nothing is answered, orders go on being sent when they are due; what comes late is found by reading."""
    with gateway() as server:

        async def stall(workload: Workload) -> None:
            await until(lambda: workload.placed("accepted") >= 10)
            server.mode = "stalls"
            await until(lambda: workload.placed("unknown") >= 30)
            server.mode = "accepts"
            server.go.set()
            await until(lambda: workload.placed("accepted") >= 20)

        ended = flow(server, tmp_path, stall)
        assert server.open == []
        assert set(server.asked.values()) == {1}, "nothing is sent twice"
    placed = lines(tmp_path, "place")
    assert {b["due"] - a["due"] for a, b in pairwise(placed)} == {10_000_000}
    assert all(line["at"] >= line["due"] for line in placed)
    assert outcomes(tmp_path)["unknown", 0, "timeout"] == ended.unknown >= 30
    in_doubt = {line["id"] for line in lines(tmp_path, "done") if line["outcome"] == "unknown"}
    found = {line["id"] for line in lines(tmp_path, "found") if line["side"] == "exchange"}
    assert in_doubt <= found


@pytest.mark.parametrize(("mode", "status"), [("refuses", 503), ("ok-false", 200)])
def test_a_clear_no_is_a_refusal_also_with_200(mode: Any, status: int, tmp_path: Path) -> None:
    with gateway(mode) as server:
        ended = flow(server, tmp_path, sending(20), timeout="20s")
    [(outcome, said, why)] = outcomes(tmp_path)
    assert (outcome, said) == ("refused", status)
    assert "engine_unavailable" in why
    assert ended.refused == len(lines(tmp_path, "place"))
    assert lines(tmp_path, "found") == []


def test_a_dropped_connection_is_unknown_and_never_tried_again(tmp_path: Path) -> None:
    with gateway() as server:

        async def drop(workload: Workload) -> None:
            await until(lambda: workload.placed("accepted") >= 5)
            server.mode = "drops"  # also connections that were kept
            await until(lambda: workload.placed("unknown") >= 20)

        flow(server, tmp_path, drop, timeout="20s")
        assert set(server.asked.values()) == {1}
    kinds = {why for outcome, _, why in outcomes(tmp_path) if outcome == "unknown"}
    assert kinds <= {"closed", "reset"}
    assert kinds


def test_a_gateway_that_dies_leaves_unknown_outcomes_and_an_unreadable_side(tmp_path: Path) -> None:
    with gateway() as server:

        async def die(workload: Workload) -> None:
            await until(lambda: workload.placed("accepted") >= 5)
            await asyncio.to_thread(server.die)
            await until(lambda: workload.placed("unknown") >= 20)

        ended = flow(server, tmp_path, die, settle="300ms")
        assert server.open
    assert ended.error == ""
    assert ended.left >= 5 * 0.8 - 1
    assert outcomes(tmp_path)["unknown", 0, "refused"] > 0
    assert [(line["ok"], line["why"]) for line in lines(tmp_path, "read")] == [(False, "refused")] * 2


def test_a_side_that_says_nonsense_is_unreadable_and_not_empty(tmp_path: Path) -> None:
    with gateway() as server:
        server.lies = {"gateway": {"orders": None}, "exchange": {"orders": [{"id": "vc-1"}]}}
        flow(server, tmp_path, sending(5), settle="100ms")
    assert [line["ok"] for line in lines(tmp_path, "read")] == [False, False]
    assert all(line["why"] for line in lines(tmp_path, "read"))


def test_sides_that_never_agree_are_read_until_the_deadline(tmp_path: Path) -> None:
    with gateway() as server:
        server.lies = {"exchange": {"orders": []}}
        flow(server, tmp_path, sending(5), settle="700ms")
    reads = {line["side"]: line["at"] for line in lines(tmp_path, "read")}
    last = max(line["at"] for line in lines(tmp_path, "done") if line["of"] == "place")
    assert reads["gateway"] - last >= 700_000_000
    assert [line for line in lines(tmp_path, "found") if line["side"] == "exchange"] == []


def test_orders_of_other_runs_are_not_ours_and_those_of_probes_are(tmp_path: Path) -> None:
    with gateway() as server:
        for name in ("vc-99999999-000001", "vc-0a1b2c3d4e5f60718293", "somebody"):
            server.orders[name] = {"id": name, "state": "NEW", "symbol": "BTCUSDT", "qty": "1"}
        flow(server, tmp_path, sending(5))
        assert len(server.open) == 3, "they are left alone"
    found = {line["id"] for line in lines(tmp_path, "found")}
    assert "vc-0a1b2c3d4e5f60718293" in found
    assert not found & {"vc-99999999-000001", "somebody"}


def test_to_leave_is_to_cancel_without_reading(tmp_path: Path) -> None:
    with gateway() as server:
        ended = flow(server, tmp_path, sending(20), audit=False)
        assert server.open == []
    assert lines(tmp_path, "read") == []
    assert ended.left == 0


def test_a_workload_that_is_killed_says_so(tmp_path: Path) -> None:
    with gateway() as server:

        async def kill(workload: Workload) -> None:
            await until(lambda: workload.placed("accepted") >= 5)
            assert workload.death == ""
            os.kill(workload.pid, signal.SIGKILL)
            await until(lambda: workload.death)

        ended = flow(server, tmp_path, kill)
    assert ended.error == "the workload died: killed by SIGKILL"
    assert ended.sha256 == sha256((tmp_path / NAME).read_bytes()).hexdigest()


def test_a_secret_reaches_the_gateway_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", 'hush "quoted" hush')
    with gateway("refuses") as server:
        place = server.workload()["place"]
        place["http"]["headers"] = {"X-Token": "${env:TOKEN}"}
        flow(server, tmp_path, sending(5), place=place)
        assert server.headers[0]["x-token"] == 'hush "quoted" hush'
    text = (tmp_path / NAME).read_text()
    assert "hush" not in text
    assert "[secret]" in text


def test_a_secret_that_is_missing_refuses_the_start(tmp_path: Path) -> None:
    with gateway() as server:
        place = server.workload()["place"]
        place["http"]["headers"] = {"X-Token": "${env:NOWHERE_TO_BE_FOUND}"}
        with pytest.raises(Refused, match="NOWHERE_TO_BE_FOUND"):
            flow(server, tmp_path, sending(5), place=place)


def test_beyond_the_bound_an_order_is_recorded_as_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_flow, "IN_FLIGHT", 5)
    with gateway("stalls") as server:

        async def whole() -> None:
            file = OrderFile(tmp_path / NAME)
            flow = Flow(planned(server), RUN, 0, file, Tally(), Secrets())
            flow.start()
            await until(lambda: flow.tally.unknown >= 10)
            flow.stop()
            await flow.drained()
            file.close()

        asyncio.run(whole())
        assert sum(server.asked.values()) <= 10
    told = outcomes(tmp_path)
    assert told["unknown", 0, "not sent"] >= 5
    assert told["unknown", 0, "timeout"] >= 5
    placed = lines(tmp_path, "place")
    assert {b["due"] - a["due"] for a, b in pairwise(placed)} == {10_000_000}


def test_a_flow_that_stood_still_for_long_is_broken_and_does_not_catch_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_flow, "STOOD_STILL", -1)
    with gateway() as server:

        async def whole() -> None:
            flow = Flow(planned(server), RUN, 0, OrderFile(tmp_path / NAME), Tally(), Secrets())
            flow.start()
            await flow.broken

        with pytest.raises(order_flow.StoodStill, match="stood still"):
            asyncio.run(whole())


def test_a_hanging_gateway_does_not_hang_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelling is given up after a while, and the rest is counted as left."""
    monkeypatch.setattr(order_books, "CLEAN_UP", 0.2)
    with gateway() as server:

        async def whole() -> int:
            file, secrets = OrderFile(tmp_path / NAME), Secrets()
            workload = planned(server)
            flow = Flow(workload, RUN, 0, file, Tally(), secrets)
            books = order_books.Books(workload, RUN, flow, file, secrets)
            flow.start()
            await until(lambda: flow.tally.accepted >= 30)
            flow.stop()
            await flow.drained()
            monkeypatch.setattr(server, "cancel", lambda _: (server.go.wait(), (200, {"ok": False}))[1])
            await books.leave()
            return books.left

        assert asyncio.run(whole()) >= 20
