"""SIGKILL of the runner at random moments of a held fault: is anything left, does anything come back?

    python -m bench.killed [--runs 100] [--seed 1]

Half of the runs are of network-latency, half of network-partition. After each kill the links' own API is asked until no
toxic is left, then for 3 s more whether one reappears.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench import stand
from veloz_chaos.sandbox.control import Sandbox

EXPERIMENTS = ("network-latency", "network-partition")
#: Seconds after the start at which a run is killed: from before its injection to after its revert.
EARLIEST, LATEST = 1.3, 4.0


def toxics(stack: Sandbox) -> list[str]:
    with urllib.request.urlopen(f"{stack.url('links')}/proxies", timeout=2) as answer:
        proxies = json.load(answer)
    return [toxic["name"] for proxy in proxies.values() for toxic in proxy["toxics"]]


def one(stack: Sandbox, experiment: Path, runs: Path, moment: float) -> dict[str, Any]:
    command = [*stand.PRODUCT, "run", str(experiment), "-e", str(stack.environment), "--runs", str(runs), "-q"]
    runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    before = toxics(stack)
    runner.kill()
    killed = time.monotonic()
    runner.wait()
    gone = _gone_after(stack, killed)
    reappeared = _seen_within(stack, 3.0)
    return {
        "experiment": experiment.stem,
        "moment_s": round(moment, 3),
        "in_place_when_killed": before,
        "gone_after_s": gone,
        "reappeared": reappeared,
    }


def _gone_after(stack: Sandbox, since: float) -> float | None:
    """Seconds until the API shows no toxic; None if one is still there after 10 s."""
    while time.monotonic() < since + 10:
        if not toxics(stack):
            return round(time.monotonic() - since, 4)
        time.sleep(0.005)
    return None


def _seen_within(stack: Sandbox, seconds: float) -> list[str]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen = toxics(stack)
        if seen:
            return seen
        time.sleep(0.01)
    return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder, stand.sandbox() as stack:
        files = [stand.shortened(name, Path(folder), "1s", "1s") for name in EXPERIMENTS]
        for number in range(options.runs):
            moment = chance.uniform(EARLIEST, LATEST)
            rows.append(one(stack, files[number % 2], Path(folder) / "runs", moment))
            print(number + 1, rows[-1], flush=True)
    path = stand.keep("killed", rows)
    times = [row["gone_after_s"] for row in rows if row["gone_after_s"] is not None]
    hit = sum(bool(row["in_place_when_killed"]) for row in rows)
    print(f"killed {len(rows)} runs, {hit} with the fault in place")
    print(
        f"gone after s: {stand.spread(times)}; never {len(rows) - len(times)}; within 1 s {sum(t <= 1 for t in times)}"
    )
    print(f"reappeared: {sum(bool(row['reappeared']) for row in rows)}")
    print(path)


if __name__ == "__main__":
    main()
