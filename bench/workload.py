"""Orders at 500/s for 20 s beside ten probes at 50 ms, the whole sandbox on the same machine.

    python -m bench.workload [--rate 500] [--seconds 20] [--bare]

Schedule lag: an order's `at` − `due`, from orders.jsonl. Probe lateness, from the journal: for every tick of a probe's
grid, how long after it the first look was asked; the grid is the latest that no look precedes, so that a tick left out
counts with all the time until the next look. `--bare` has the orders go to a gateway that answers at once and does
nothing, instead of the sandbox's: what is left is the price of our own processes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bench import stand
from veloz_chaos.core import event as ev
from veloz_chaos.engine import journal
from veloz_chaos.sandbox.control import Sandbox

PERIOD = 50_000_000
PATHS = ("/health", "/health/live", "/api/market?symbol=BTCUSDT", "/api/config", "/api/account") * 2


def environment(stack: Sandbox, options: argparse.Namespace, bare: str, folder: Path) -> Path:
    """The sandbox's own, with ten probes of the gateway, a quiet one of the bare gateway, and a workload."""
    gateway = f"http://{bare}" if options.bare else "${gateway}"
    order = {"side": "${side}", "symbol": "${symbol}", "qty": "${qty}", "price": "${price}"}
    order |= {"type": "LIMIT", "time_in_force": "IOC", "client_order_id": "${id}"}
    listed = "map(o, {'id': o.%s, 'state': o.status, 'qty': o.%s, 'filled': o.%s})"
    read = {
        "gateway": {"http": {"get": gateway + "/api/orders"},
                    "orders": "json.orders." + listed % ("client_order_id", "qty", "executed_qty")},
        "exchange": {"http": {"get": "${exchange}/api/v3/allOrders?symbol=${symbol}"},
                     "orders": "json." + listed % ("clientOrderId", "origQty", "executedQty")},
    }  # fmt: skip
    flow = {
        "rate": f"{options.rate}/s",
        "symbols": ["BTCUSDT", "ETHUSDT"],
        "prices": {"BTCUSDT": {"BUY": "1000", "SELL": "900000"}, "ETHUSDT": {"BUY": "10", "SELL": "90000"}},
        "place": {"http": {"post": gateway + "/api/order", "json": order},
                  "accepted": "status == 200 && json.ok",
                  "refused": "status == 200 && !json.ok || status == 503"},
        "settle": "1s",
        "read": read,
        "states": {"NEW": "open", "FILLED": "filled", "CANCELED": "cancelled", "EXPIRED": "expired"},
    }  # fmt: skip
    own = yaml.safe_load(stack.environment.read_text())
    looks = {"every": "50ms", "timeout": "2s"}
    own["probes"] = {f"p{n}": {"http": {"get": "${gateway}" + path}, **looks} for n, path in enumerate(PATHS)}
    own["probes"]["quiet"] = {"tcp": {"connect": bare}, "every": "1s", "timeout": "900ms"}
    own |= {"workloads": {"orders": flow}, "budget": {"gateway": "5000/s"}}
    (folder / "environment.yaml").write_text(yaml.safe_dump(own))
    return folder / "environment.yaml"


def experiment(seconds: int, folder: Path) -> Path:
    """A placebo whose baseline is the measurement: no probe of the ten can end it."""
    data = yaml.safe_load((stand.ROOT / "experiments" / "engine-crash.yaml").read_text())
    probes = [f"p{n}" for n in range(len(PATHS))]
    data |= {"baseline": f"{seconds}s", "steady-state": ["quiet"], "workload": "orders"}
    data["expect"] = {"while": {"recovered": {"eventually": probes}}, "recovery": {"hold": "1s"}}
    (folder / "workload.yaml").write_text(yaml.safe_dump(data))
    return folder / "workload.yaml"


def quantile(values: Sequence[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 3)


def lags(folder: Path, until: int) -> tuple[list[float], dict[str, int]]:
    """Milliseconds for each order due before `until`, and what became of them."""
    lines = [json.loads(line) for line in (folder / "orders.jsonl").read_text().splitlines()]
    outcomes: dict[str, int] = defaultdict(int)
    for line in lines:
        if line["op"] == "done":
            outcomes[line["outcome"] + (f" {line['why']}" if not line["status"] else "")] += 1
    found = [(line["at"] - line["due"]) / 1e6 for line in lines if line["op"] == "place" and line["due"] < until]
    return found, outcomes


def lateness(events: Sequence[ev.Event], since: int, until: int) -> list[float]:
    """Milliseconds for each tick of each of the ten probes."""
    asked: dict[str, list[int]] = defaultdict(list)
    for event in events:
        if isinstance(event, ev.LookTaken) and since <= event.asked < until and event.probe != "quiet":
            asked[event.probe].append(event.asked)
    return [late for times in asked.values() for late in _late(sorted(times))]


def _late(times: Sequence[int]) -> list[float]:
    residues = sorted(time % PERIOD for time in times)
    gaps = [(b - a, b) for a, b in zip([residues[-1] - PERIOD, *residues], residues, strict=False)]
    offset = max(gaps)[1]  # behind the widest gap: the earliest that a look ever was
    ticks = range(times[0] - (times[0] - offset) % PERIOD, times[-1] + 1, PERIOD)
    late, at = [], 0
    for tick in ticks:
        while at < len(times) and times[at] < tick:
            at += 1
        late.append((times[at] - tick) / 1e6 if at < len(times) else 0.0)
    return late


def measured(stack: Sandbox, options: argparse.Namespace, bare: str, folder: Path) -> dict[str, Any]:
    command = [*stand.PRODUCT, "run", str(experiment(options.seconds, folder)), "--placebo", "-q", "--json"]
    command += ["-e", str(environment(stack, options, bare, folder)), "--runs", str(folder / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=stand.ROOT, check=False)
    assert done.stdout, done.stderr
    (run,) = (folder / "runs").glob("*")
    events = journal.read(run)
    began = next(event.at for event in events if isinstance(event, ev.BaselineBegan))
    until = began + options.seconds * 1_000_000_000
    lag, outcomes = lags(run, until)
    late = lateness(events, began, until)
    return {
        "rate": options.rate,
        "gateway": "bare" if options.bare else "sandbox",
        "orders": len(lag),
        "outcomes": outcomes,
        "lag_p50_ms": quantile(lag, 0.5),
        "lag_p99_ms": quantile(lag, 0.99),
        "lag_max_ms": max(lag),
        "looks": len(late),
        "lateness_p50_ms": quantile(late, 0.5),
        "lateness_p99_ms": quantile(late, 0.99),
        "lateness_max_ms": max(late),
        "stalls": sum(isinstance(event, ev.LoopStalled) for event in events),
        "ended": json.loads(done.stdout)["runs"][0]["reasons"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    rows = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder, stand.sandbox() as stack:
            bare = subprocess.Popen(
                [sys.executable, "-m", "bench.bare"], stdout=subprocess.PIPE, text=True, cwd=stand.ROOT
            )
            assert bare.stdout is not None
            address = f"127.0.0.1:{bare.stdout.readline().strip()}"
            try:
                rows.append(measured(stack, options, address, Path(folder)))
            finally:
                bare.kill()
                bare.wait()
        print(rows[-1], flush=True)
    print(stand.keep("workload-bare" if options.bare else "workload", rows))


if __name__ == "__main__":
    main()
