"""The history: its index made from journals, and what is asked of it when there are 100,000 runs.

python -m bench.history [--runs 100000] [--whole 4000] [--asked 20]

The journals are those of `tests/journals`, each with other ids and instants. For the rebuild they are whole (a hundred
to three hundred kB); for the 100,000 what lies between the first line and the last ones is left out, which no query and
no rebuild reads where a judgement was kept. `unjudged` journals are those of older versions: each is judged again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import stand
from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.core.judge import judge
from veloz_chaos.core.told import told
from veloz_chaos.core.trend import trend
from veloz_chaos.engine import index, journal
from veloz_chaos.engine.index import Query

KEPT = sorted((stand.ROOT / "tests" / "journals").glob("*.jsonl"))
WEEK = 7 * 86_400
#: So many environments are told apart in the 100,000.
ENVIRONMENTS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--whole", type=int, default=4_000)
    parser.add_argument("--asked", type=int, default=20)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for what, count, form in (
        ("rebuild, whole journals", options.whole, "whole"),
        ("rebuild, unjudged journals", options.whole // 20, "unjudged"),
        ("rebuild, short journals", options.runs, "short"),
    ):
        with tempfile.TemporaryDirectory(prefix="veloz-chaos-history-") as folder:
            runs = Path(folder) / "runs"
            laid = lay(runs, count, form)
            for _ in range(3 if form != "short" else 1):
                rows.append(rebuild(runs, what) | {"megabytes": round(laid / 1e6)})
                print(rows[-1], flush=True)
            if form == "short":
                rows += queries(runs, options.asked)
    print(stand.keep("history", rows))


def lay(runs: Path, count: int, form: str) -> int:
    """Journals of `count` runs, one a week for each experiment; returns their size in bytes."""
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    patterns = [_pattern(path, form) for path in KEPT]
    size = 0
    for n in range(count):
        text, run = patterns[n % len(patterns)], f"{n:08x}"
        wall = 1_700_000_000.0 + n * WEEK / len(patterns) / ENVIRONMENTS
        folder = runs / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(wall))}-{run}"
        folder.mkdir()
        where = f"place-{n // len(patterns) % ENVIRONMENTS}"
        data = (
            text.replace(b"@RUN@", run.encode())
            .replace(b"@WALL@", str(wall).encode())
            .replace(b"@PLACE@", where.encode())
        )
        (folder / journal.FILE).write_bytes(data)
        size += len(data)
    past_the_tick()
    return size


def past_the_tick() -> None:
    """A folder that changed just now is listed again and again; see engine/index.py."""
    time.sleep(2.5)


def _pattern(path: Path, form: str) -> bytes:
    events = journal.read(path)
    first, *rest = path.read_text().splitlines()
    started = json.loads(first) | {"run": "@RUN@", "wall": "@WALL@"}
    started["plan"]["environment"] = "@PLACE@"
    lines = [json.dumps(started, separators=(",", ":")).replace('"@WALL@"', "@WALL@"), *rest]
    if form == "short":
        lines = [lines[0], lines[-1]]
    if form != "unjudged":
        judged = ev.RunJudged(**told(judge(of(events))), at=events[-1].at, wall=events[-1].wall)
        lines.append(ev.write(judged))
    return ("\n".join(lines) + "\n").encode()


def rebuild(runs: Path, what: str) -> dict[str, Any]:
    started = time.perf_counter()
    with index.opened(runs, again=True) as found:
        took = time.perf_counter() - started
        assert not found.problems
        return {"what": what, "runs": found.read, "seconds": round(took, 3), "per_second": round(found.read / took)}


def queries(runs: Path, asked: int) -> list[dict[str, Any]]:
    """Each in this process, the index opened anew; and as commands, whole processes."""
    one = ("engine-crash",)
    asks: dict[str, Callable[[index.Index], Any]] = {
        "the latest 20": lambda found: found.find(Query(limit=20)),
        "counts of everything": lambda found: found.count(Query()),
        "the latest 20 that failed": lambda found: found.find(Query(verdicts=("failed",), limit=20)),
        "one experiment on one environment, 200": lambda found: found.find(
            Query(experiments=one, environments=("place-1",), limit=200)
        ),
        "trends of everything": _trends,
        "a year of one experiment, all": lambda found: found.find(
            Query(experiments=one, since=1_700_000_000.0, until=1_700_000_000.0 + 52 * WEEK)
        ),
    }
    rows = []
    for what, ask in asks.items():
        rows.append(_asked(runs, what, ask, asked))
    rows.append(_asked(runs, "the latest 20, a folder having come since", asks["the latest 20"], asked, comes=True))
    past_the_tick()
    for words in (["list"], ["list", "--verdict", "failed", "--experiment", "engine-crash"], ["trend"]):
        command = [*stand.PRODUCT, "history", *words, "--runs", str(runs)]
        times = []
        for _ in range(asked):
            started = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True, cwd=stand.ROOT)
            times.append((time.perf_counter() - started) * 1000)
        rows.append(_row(f"`history {' '.join(words)}`, whole process", times, 0.0))
    return rows


def _trends(found: index.Index) -> Any:
    which = {(name, where) for name, where, _ in found.count(Query(placebos=False))}
    return [
        trend(found.find(Query(experiments=(name,), environments=(where,), placebos=False, limit=100)), {})
        for name, where in which
    ]


def _asked(
    runs: Path, what: str, ask: Callable[[index.Index], Any], asked: int, *, comes: bool = False
) -> dict[str, Any]:
    """`comes`: before each question another folder has come, so that all must be listed."""
    times, spent = [], time.process_time()
    for n in range(asked):
        if comes:
            (runs / f"20990101T000000Z-new-{n}").mkdir()
        started = time.perf_counter()
        with index.opened(runs) as found:
            ask(found)
        times.append((time.perf_counter() - started) * 1000)
    return _row(what, times, (time.process_time() - spent) * 1000 / asked)


def _row(what: str, times: list[float], cpu: float) -> dict[str, Any]:
    ordered = sorted(times)
    told = {"median_ms": ordered[len(times) // 2], "most_ms": ordered[-1], "cpu_ms": cpu}
    row = {"what": what, "asked": len(times), **{name: round(value, 1) for name, value in told.items() if value}}
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
