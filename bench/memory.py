"""Memory of the runner with ten probes at 50 ms for ten minutes of a held fault.

python -m bench.memory [--minutes 10]
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from bench import stand
from veloz_chaos.sandbox.control import Sandbox

PROBES = 10
EVERY = "50ms"


def files(stack: Sandbox, folder: Path, minutes: float) -> tuple[Path, Path]:
    """An environment with ten probes of /health at 50 ms, and an experiment that looks at all of them."""
    probes = {
        f"health-{n}": {
            "http": {"get": "${gateway}/health"},
            "ok": "status == 200",
            "every": "50ms",
            "timeout": "250ms",
        }
        for n in range(PROBES)
    }
    environment = yaml.safe_load(stack.environment.read_text())
    environment |= {"probes": probes, "budget": {"gateway": "1000/s"}}
    (folder / "environment.yaml").write_text(yaml.safe_dump(environment))
    experiment = {
        "kind": "Experiment",
        "version": 1,
        "name": "memory",
        "title": "Ten probes for a long time",
        "failure": "network-latency",
        "allowed-on": ["development"],
        "steady-state": [f"health-{n}" for n in range(PROBES)],
        "baseline": "1s",
        "fault": {"latency": {"link": "gateway->exchange", "delay": "100ms", "for": f"{int(minutes * 60)}s"}},
        "expect": {"impact": "none", "recovery": {"hold": "1s"}},
    }
    (folder / "memory.yaml").write_text(yaml.safe_dump(experiment))
    return folder / "memory.yaml", folder / "environment.yaml"


def watch(command: list[str]) -> tuple[int, list[dict[str, Any]]]:
    started = time.monotonic()
    runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=stand.ROOT)
    rows = []
    while runner.poll() is None:
        rows.append({"s": round(time.monotonic() - started, 1), "rss_kb": stand.resident(runner.pid)})
        time.sleep(5)
    return runner.returncode, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, stand.sandbox() as stack:
        experiment, environment = files(stack, Path(name), options.minutes)
        command = [*stand.PRODUCT, "run", str(experiment), "-e", str(environment), "--runs", f"{name}/runs", "-q"]
        code, rows = watch(command)
    path = stand.keep("memory", rows)
    first_minute = max((row["rss_kb"] for row in rows if row["s"] <= 60), default=0)
    print(
        f"exit {code}; after a minute {first_minute / 1024:.1f} MB, most {max(r['rss_kb'] for r in rows) / 1024:.1f} MB"
    )
    print(path)


if __name__ == "__main__":
    main()
