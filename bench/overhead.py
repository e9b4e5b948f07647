"""A run's wall time beyond its baseline window, its fault, the recovery and the hold: whole processes.

    python -m bench.overhead [--runs 20]

Counted as needed: the baseline window, then from the injection to the end of the settle time after the recovery. The
rest (start, reading, survey, guardian, judging) is overhead.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import stand
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.history import of
from veloz_chaos.core.measure import measure
from veloz_chaos.engine import journal
from veloz_chaos.sandbox.control import Sandbox


def one(stack: Sandbox, name: str, runs: Path) -> dict[str, Any]:
    command = [*stand.PRODUCT, "run", name, "-e", str(stack.environment), "--runs", str(runs), "--json", "-q"]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, cwd=stand.ROOT, check=False)
    wall = time.monotonic() - started
    document = json.loads(done.stdout)["runs"][0]
    history = of(journal.read(Path(document["folder"])))
    m, plan = measure(history), history.plan
    assert plan and m.began and m.recovery and history.baseline_began and history.baseline_ended
    until = max(m.recovery.at_most + nanoseconds(plan.settle), m.ended.at_most if m.ended else 0)
    needed = (history.baseline_ended - history.baseline_began) + (until - m.began.at_least)
    return {
        "experiment": name,
        "verdict": document["verdict"],
        "wall_s": round(wall, 4),
        "needed_s": round(needed / 1e9, 4),
        "beyond_s": round(wall - needed / 1e9, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder, stand.sandbox() as stack:
        for number in range(options.runs):
            name = ("engine-crash", "network-partition")[number % 2]
            rows.append(one(stack, name, Path(folder)))
            print(rows[-1], flush=True)
    path = stand.keep("overhead", rows)
    for name in sorted({row["experiment"] for row in rows}):
        print(name, "beyond, s:", stand.spread(row["beyond_s"] for row in rows if row["experiment"] == name))
    print(path)


if __name__ == "__main__":
    main()
