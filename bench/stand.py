"""What the benches share: a sandbox of their own on free ports, shortened experiments, results kept as JSON lines."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from veloz_chaos.sandbox import control

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
#: The product, as a user calls it.
PRODUCT = [sys.executable, "-m", "veloz_chaos"]


@contextmanager
def sandbox(*flaws: str, monitored: bool = False) -> Iterator[control.Sandbox]:
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-bench-") as folder:
        base = ROOT / "environments" / "sandbox.yaml"
        files = ROOT / "environments" / "monitoring" if monitored else None
        stack = control.up(Path(folder) / "sandbox", free_ports=True, flaws=flaws, base=base, monitored=files)
        try:
            yield stack
        finally:
            control.down(stack.directory)


def shortened(name: str, folder: Path, baseline: str, hold: str, **changes: Any) -> Path:
    """A copy of a shipped experiment with a shorter baseline and hold; its faults and limits are untouched."""
    data = yaml.safe_load((ROOT / "experiments" / f"{name}.yaml").read_text())
    data["baseline"] = baseline
    data["expect"]["recovery"] = {"hold": hold}
    data.update(changes)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def looking_every(period: str, stack: control.Sandbox, folder: Path) -> Path:
    """The sandbox's environment with its frequent probes at another period."""
    shared = folder / "environments"
    shared.mkdir()
    for path in (ROOT / "environments").glob("*.yaml"):
        (shared / path.name).write_text(path.read_text().replace("every: 100ms", f"every: {period}"))
    own = yaml.safe_load(stack.environment.read_text()) | {"uses": ["environments/sandbox.yaml"]}
    own["budget"] = {"gateway": "300/s"}
    (folder / "environment.yaml").write_text(yaml.safe_dump(own))
    return folder / "environment.yaml"


def keep(name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
    """The raw results of one bench, one line each."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def spread(values: Iterable[float]) -> str:
    ordered = sorted(values)
    return f"min {ordered[0]:.4g}  median {statistics.median(ordered):.4g}  max {ordered[-1]:.4g}"


def resident(pid: int) -> int:
    """Resident memory of a process in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def truth(stack: control.Sandbox, process: str) -> list[dict[str, Any]]:
    """What a process of the sandbox wrote down at the moment it happened. Boot-time nanoseconds."""
    text = (stack.directory / "truth" / f"{process}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def cores() -> int:
    return len(os.sched_getaffinity(0))
