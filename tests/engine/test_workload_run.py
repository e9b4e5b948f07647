"""Runs with a workload: started before the baseline, ended after the watch, and on every other way out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.engine.gateway import Gateway, gateway
from tests.engine.system import LOOK, System, names, running, verdicts
from tests.engine.test_run import _at_look
from veloz_chaos import errors
from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.engine import journal
from veloz_chaos.engine.conduct import Request, planned
from veloz_chaos.registry import Registry
from veloz_chaos.reports.planned import as_json, describe

ROOT = Path(__file__).parent.parent.parent
EXPECT = {"detection": ["reported-down"], "recovery": {"hold": "300ms"}}


def environment(system: System, server: Gateway, **changes: Any) -> Path:
    """The small system's, with orders; a look that places one; a look at the workload itself."""
    look = {**LOOK, "timeout": "1s"}
    probes = {
        "healthy": {"http": {"get": "${url}/health"}, "ok": "status == 200", **look},
        "reported-down": {"http": {"get": "${url}/status"}, "ok": "status == 503", **look},
        "alarm": {"http": {"get": "${url}/alarm"}, "ok": "status == 503", **look},
        "own-order": {"http": {"post": server.url + "/order", "json": {"id": "${unique}", "symbol": "X", "qty": "1"}},
                      "writes": "orders", "ok": "true", **look},
        "flowing": {"workload": {}, "ok": "json.sent > 0 && json.lag.p99_ms >= 0.0", **look},
    }  # fmt: skip
    workload = server.workload(**{"rate": "50/s", "settle": "10s"} | changes)
    return system.environment(probes=probes, workloads={"orders": workload})


def event(events: list[ev.Event], name: str) -> Any:
    [found] = [one for one in events if one.event == name]
    return found


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_a_run_starts_its_workload_and_keeps_the_hash_of_its_history(tmp_path: Path) -> None:
    with running(tmp_path) as system, gateway() as server:
        experiment = system.experiment(
            workload="orders", expect={"while": {"recovered": {"always": ["flowing"]}}} | EXPECT
        )
        result, events = system.run(experiment, environment(system, server))
        assert server.open == []
    assert result.judgement.verdict == "passed", verdicts(result)
    assert names(events)[:3] == ["run-started", "workload-started", "baseline-began"]
    assert names(events)[-2:] == ["workload-ended", "run-ended"]
    ended = event(events, "workload-ended")
    assert ended.sha256 == sha256((result.folder / ended.file).read_bytes()).hexdigest()
    assert (ended.error, ended.left) == ("", 0)
    assert ended.accepted > 0
    assert gone(event(events, "workload-started").pid)
    history = of(journal.read(result.folder))
    assert (history.orders_file, history.orders_sha256) == (ended.file, ended.sha256)


def test_a_look_that_places_an_order_says_under_which_id(tmp_path: Path) -> None:
    with running(tmp_path) as system, gateway() as server:
        experiment = system.experiment(expect=EXPECT | {"while": {"recovered": {"always": ["own-order"]}}})
        _, events = system.run(experiment, environment(system, server))
        placed = {e.order for e in events if isinstance(e, ev.LookTaken) and e.probe == "own-order"}
        others = {e.order for e in events if isinstance(e, ev.LookTaken) and e.probe != "own-order"}
        asked = list(server.asked)
        last = max(number for number, name in enumerate(asked) if name in placed)
        assert placed >= set(asked[: last + 1])  # what was under way when the run ended nobody waits for
        assert others == {None}


def test_a_start_refused_before_the_first_look_leaves_no_workload(tmp_path: Path) -> None:
    with running(tmp_path) as system, gateway() as server:
        experiment = system.experiment(workload="orders", steady_state=["healthy", "blind"])
        path = environment(system, server)
        data = yaml.safe_load(path.read_text())
        data["probes"]["blind"] = {"http": {"get": "https://127.0.0.1:1/", "ca": "/nobody/s.pem"}, "every": "50ms"}
        path.write_text(yaml.safe_dump(data))
        result, events = system.run(experiment, path)
        assert server.open == []
    assert result.judgement.exit_code == errors.REFUSED
    assert (names(events)[1], names(events)[-2:]) == ("run-refused", ["workload-ended", "run-ended"])
    assert event(events, "workload-ended").error == ""


@pytest.mark.parametrize(("mode", "why"), [("refuses", "503 "), ("ok-false", "200 "), ("drops", "unknown (closed)")])
def test_a_gateway_that_accepts_no_order_before_the_fault_is_a_refused_start(
    mode: Any, why: str, tmp_path: Path
) -> None:
    with running(tmp_path) as system, gateway(mode) as server:
        result, events = system.run(system.experiment(workload="orders"), environment(system, server))
    assert result.judgement.exit_code == errors.REFUSED
    [reason] = result.judgement.reasons
    assert reason.startswith("no order of orders was accepted in the baseline: ")
    assert why in reason
    assert "fault-prepared" not in names(events)
    assert gone(event(events, "workload-started").pid)


def test_a_workload_that_dies_ends_the_run_which_takes_the_fault_out(tmp_path: Path) -> None:
    pause = {"pause": {"service": "system", "for": {"until": "decided", "at-most": "20s"}}}
    pids: list[int] = []

    def kill(event: ev.Event) -> None:
        if isinstance(event, ev.WorkloadStarted):
            pids.append(event.pid)
        if isinstance(event, ev.InjectionReturned):
            os.kill(pids[0], signal.SIGKILL)

    with running(tmp_path) as system, gateway() as server:
        experiment = system.experiment(pause, workload="orders")
        result, events = system.run(experiment, environment(system, server), observe=kill)
        assert system.healthy
    assert result.judgement.exit_code == errors.ABORTED
    assert result.judgement.reasons == ("the workload died: killed by SIGKILL",)
    assert event(events, "workload-ended").error == "the workload died: killed by SIGKILL"
    assert gone(pids[0])


def test_a_bug_of_ours_leaves_no_workload_and_no_open_order(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    registry, observe = _at_look(5, fail, ev.WorkloadStarted)
    with running(tmp_path) as system, gateway() as server:
        experiment = system.experiment(workload="orders")
        result, events = system.run(experiment, environment(system, server), registry=registry, observe=observe)
        assert server.open == []
    assert result.judgement.exit_code == errors.BUG
    assert gone(event(events, "workload-started").pid)


def test_a_killed_runner_leaves_no_workload_and_no_open_order(tmp_path: Path) -> None:
    with running(tmp_path) as system, gateway() as server:
        experiment = system.experiment(workload="orders", baseline="60s")
        command = [sys.executable, "-m", "veloz_chaos", "run", str(experiment), "-q", "--runs", str(tmp_path / "runs")]
        command += ["-e", str(environment(system, server))]
        run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: len(server.orders) > 20)
        [folder] = (tmp_path / "runs").glob("*")
        pid = event(journal.read(folder), "workload-started").pid
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        until(lambda: gone(pid))
        assert server.open == []
        sent = len(server.asked)
        lines = [json.loads(line) for line in (folder / "orders.jsonl").read_text().splitlines()]
        assert sum(line["op"] == "place" for line in lines) == sent


def test_a_plan_shows_the_workload(tmp_path: Path) -> None:
    with running(tmp_path) as system, gateway() as server:
        request = Request(system.experiment(workload="orders"), environment(system, server))
        made = planned(request, Registry())
    text = " ".join(" ".join(describe(made)).split())
    assert "orders: workload orders" in text
    assert "50/s" in text
    assert f"POST {server.url}/order" in text
    assert f"reads GET {server.url}/gateway (gateway)" in text
    assert as_json(made)["workload"]["rate"] == "50/s"
