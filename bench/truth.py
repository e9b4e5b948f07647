"""Measured intervals against the sandbox's truth log: N runs of engine-crash, probes at 50 ms, idle or all cores busy.

    python -m bench.truth [--runs 100] [--busy]

The truth of detection is the instant at which the gateway's answers began to tell of the loss, the truth of recovery
the instant at which it had its engine again; both are written by the gateway itself at that moment, on the same clock.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import stand
from veloz_chaos.core.history import History
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.measure import measure
from veloz_chaos.engine.conduct import Request, conduct
from veloz_chaos.registry import Registry
from veloz_chaos.sandbox.control import Sandbox

_BURN = "import os\nwhile os.getppid() == {parent}: sum(range(100_000))"


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """One process a core that does nothing but compute; each ends with this one."""
    command = [sys.executable, "-c", _BURN.format(parent=os.getpid())]
    burners = [subprocess.Popen(command) for _ in range(stand.cores())] if wanted else []
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def one(stack: Sandbox, experiment: Path, environment: Path, runs: Path) -> dict[str, Any]:
    result = conduct(Request(experiment, environment, runs=runs), Registry())
    row: dict[str, Any] = {"run": result.judgement.run, "verdict": result.judgement.verdict}
    row["inconclusive"] = [f.expectation for f in result.judgement.findings if f.verdict == "inconclusive"]
    return row | against_truth(result.history, stack)


def against_truth(history: History, stack: Sandbox) -> dict[str, Any]:
    m = measure(history)
    if m.began is None or m.detection is None or m.recovery is None:
        return {"measured": False}
    since = m.began.at_least
    events = [event for event in stand.truth(stack, "gateway") if event["at"] >= since]
    lost = next(event["at"] for event in events if event["event"] == "engine-lost")
    back = max(event["at"] for event in events if event["event"] == "engine-connected")
    died = next(e["at"] for e in stand.truth(stack, "supervisor") if e["event"] == "exited" and e["at"] >= since)
    return {
        "measured": True,
        "detection": _row(m.detection, lost, m.time_to_detect, lost - died),
        "recovery": _row(m.recovery, back, m.time_to_recover, back - died),
    }


def _row(at: Interval, truth: int, length: Interval | None, true_length: int) -> dict[str, Any]:
    assert length is not None
    return {
        "inside": at.holds(truth),
        "width_ms": at.width / 1e6,
        "length_ms": [length.at_least / 1e6, length.at_most / 1e6],
        "length_width_ms": length.width / 1e6,
        "truth_length_ms": true_length / 1e6,
        "truth_offset_ms": (truth - at.at_least) / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder, stand.sandbox() as stack:
        experiment = stand.shortened("engine-crash", Path(folder), "1s", "1s")
        environment = stand.looking_every("50ms", stack, Path(folder))
        with busy(options.busy):
            for number in range(options.runs):
                rows.append(one(stack, experiment, environment, Path(folder) / "runs"))
                print(number + 1, rows[-1]["verdict"], rows[-1]["inconclusive"], flush=True)
    path = stand.keep("truth-busy" if options.busy else "truth-idle", rows)
    report(rows)
    print(path)


def report(rows: list[dict[str, Any]]) -> None:
    measured = [row for row in rows if row["measured"]]
    for what in ("detection", "recovery"):
        inside = sum(row[what]["inside"] for row in measured)
        widths = [row[what]["length_width_ms"] for row in measured]
        print(f"{what}: truth inside {inside} of {len(rows)}; width of the time in ms: {stand.spread(widths)}")
    verdicts = [row["verdict"] for row in rows]
    print({verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))})
    print("median width", statistics.median(row["recovery"]["length_width_ms"] for row in measured), "ms")


if __name__ == "__main__":
    main()
