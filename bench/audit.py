"""A million order operations (500,000 orders placed and answered, then read back from both sides: two million lines),
read and audited in a process of its own: how long, and how much memory at most."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import stand
from veloz_chaos.core.audit import audit
from veloz_chaos.core.orders import read
from veloz_chaos.core.phases import phases

ORDERS, REPEATS, LOST_EVERY = 500_000, 5, 100_000
MS = 1_000_000
START = 10**15
LIMIT_SECONDS, LIMIT_MB = 10.0, 1000.0


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-bench-") as folder:
        path = Path(folder) / "orders.jsonl"
        with path.open("w") as file:
            file.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in history())
        rows = [_measured(path) for _ in range(REPEATS)]
    stand.keep("audit", rows)
    print(
        "read and audited, s:", stand.spread(row["read"] + row["audit"] for row in rows), f"(reach {LIMIT_SECONDS:g})"
    )
    print("processor, all, s:  ", stand.spread(row["processor"] for row in rows))
    print("phases, s:          ", stand.spread(row["phases"] for row in rows))
    print("memory at most, MB: ", stand.spread(row["megabytes"] for row in rows), f"(reach {LIMIT_MB:g})")


def history() -> Iterator[dict[str, Any]]:
    """500 orders a second; every hundred-thousandth is lost at the exchange."""
    for n in range(ORDERS):
        due = START + n * 2 * MS
        terms = {"side": "BUY", "symbol": "BTCUSDT", "qty": "0.01", "price": "1000"}
        yield {"op": "place", "id": _id(n), "due": due, "at": due + 50_000, **terms}
        done = {"op": "done", "of": "place", "id": _id(n), "at": due + (3 + n % 97) * MS, "outcome": "accepted"}
        yield done | {"status": 200, "why": ""}
    for side in ("gateway", "exchange"):
        yield {"op": "read", "side": side, "at": START + (2 * ORDERS + 10_000) * MS, "ok": True, "why": ""}
        for n in range(ORDERS):
            if side == "gateway" or n % LOST_EVERY:
                yield {"op": "found", "side": side, "id": _id(n), "state": "open", "qty": "0.01", "filled": "0"}


def _id(n: int) -> str:
    return f"vc-0badcafe-{n:06d}"


def _measured(path: Path) -> dict[str, float]:
    run = subprocess.run([sys.executable, "-m", "bench.audit", str(path)], check=True, capture_output=True, text=True)
    row: dict[str, float] = json.loads(run.stdout)
    return row


def measure(path: Path) -> dict[str, float]:
    """Seconds of each part, and the process's peak memory."""
    clock = [time.perf_counter()]
    with path.open("rb") as lines:
        orders = read(lines)
    clock.append(time.perf_counter())
    found = audit(orders)
    clock.append(time.perf_counter())
    middle = START + ORDERS * MS
    told = phases(orders, {"baseline": (START, middle), "fault": (middle, middle + ORDERS * MS)})
    clock.append(time.perf_counter())
    assert found.count("lost") == ORDERS // LOST_EVERY and not found.why
    assert sum(phase.placed for phase in told.values()) == ORDERS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    parts = zip(("read", "audit", "phases"), clock, clock[1:], strict=False)
    times = {name: round(end - start, 3) for name, start, end in parts}
    return times | {"processor": round(time.process_time(), 3), "megabytes": round(peak, 1)}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(Path(sys.argv[1]))))
    else:
        main()
