"""Each step of an alert's way against the truth of Prometheus, Alertmanager and the catcher, on the sandbox.

    python -m bench.alerts [--runs 50]

So many measured runs of engine-crash (its rule has no `for`) and network-partition (it has) in turn. One that is
refused before its fault has nothing to measure: it is told, kept, and made again, as long as fewer are refused than
are wanted. The truth: of pending, firing and resolved the instants of Prometheus' evaluations, by its own series
ALERTS, up to 0.1 s later (only when done does it tell of it); of received what Alertmanager says (`updatedAt`), asked
for every 100 ms beside the run; of delivered the catcher's own clock. Wall clocks are converted by the journal's
pairs of both: all is one machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from bench import stand
from veloz_chaos.core.alert_chain import Step
from veloz_chaos.core.alerts import CAUGHT
from veloz_chaos.engine import journal
from veloz_chaos.engine.conduct import Request, Result, conduct
from veloz_chaos.registry import Registry
from veloz_chaos.sandbox.control import Sandbox

EXPERIMENTS = {"engine-crash": "engine-crash", "network-partition": "network-partition"}
#: Seconds from one evaluation to the next, and the longest that one may take to be told of.
EVALUATION, TOLD = 1.0, 0.1


def ask(url: str) -> Any:
    with urlopen(url, timeout=5) as answer:
        return json.load(answer)


@contextmanager
def receipts(stack: Sandbox) -> Iterator[dict[str, float]]:
    """Row -> when Alertmanager first had its alert, by its own word; read until the end. Wall seconds."""
    seen: dict[str, float] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            with suppress(OSError, ValueError):
                for one in ask(f"{stack.alerts['alertmanager']}/api/v2/alerts"):
                    told = datetime.fromisoformat(one["updatedAt"]).timestamp()
                    seen.setdefault(one["labels"].get("failure", ""), told)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def evaluations(stack: Sandbox, row: str, state: str, since: float) -> list[float]:
    """The instants at which Prometheus found the alert so. Wall seconds."""
    query = quote(f'ALERTS{{failure="{row}",alertstate="{state}"}}[3m]')
    found = ask(f"{stack.alerts['prometheus']}/api/v1/query?query={query}")["data"]["result"]
    return sorted(float(at) for series in found for at, _ in series["values"] if float(at) >= since)


def one(stack: Sandbox, name: str, runs: Path) -> dict[str, Any]:
    with receipts(stack) as received:
        result = conduct(Request(stand.ROOT / "experiments" / f"{name}.yaml", stack.environment, runs=runs), Registry())
    row: dict[str, Any] = {"experiment": name, "verdict": result.judgement.verdict}
    row["reasons"] = list(result.judgement.reasons)
    row["not passed"] = [f.expectation for f in result.judgement.findings if f.verdict != "passed"]
    return row | {"steps": against_truth(result, stack, EXPERIMENTS[name], received)}


def measured(stack: Sandbox, runs: Path, count: int) -> Iterator[dict[str, Any]]:
    """So many runs that were not refused, and, among them, those that were: no more than are wanted."""
    done = refused = 0
    while done < count and refused < count:
        row = one(stack, list(EXPERIMENTS)[done % len(EXPERIMENTS)], runs)
        yield row
        refused += row["verdict"] == "refused"
        done += row["verdict"] != "refused"


def against_truth(result: Result, stack: Sandbox, row: str, received: dict[str, float]) -> dict[str, Any]:
    chain, began = result.judgement.chain, result.judgement.measurement.began
    if chain is None or began is None:
        return {}
    events = journal.read(result.folder)
    pair = next(event for event in events if event.at >= began.at_least)
    skew = pair.wall - pair.at / 1e9
    since = began.at_least / 1e9 + skew - EVALUATION
    firing = evaluations(stack, row, "firing", since)
    known = sorted(firing + evaluations(stack, row, "pending", since))
    truths = {
        "pending": (known[0], known[0] + TOLD),
        "firing": (firing[0], firing[0] + TOLD),
        "received": (received[row], received[row] + TOLD),
        "resolved": (firing[-1] + EVALUATION, firing[-1] + EVALUATION + TOLD),
    }
    found = {what: _row(getattr(chain, what), *(at - skew for at in truth)) for what, truth in truths.items()}
    return found | {f"delivered to {c}": _row(step, *_caught(result, c)) for c, step in chain.delivered.items()}


def _caught(result: Result, channel: str) -> tuple[float, float]:
    """By the catcher's own clock, which is ours. Boot-time seconds."""
    told = [one for value in result.history.values[CAUGHT] for one in value.value]
    first = min(one["at"] for one in told if one["name"] == channel and one["action"] == "firing")
    return first / 1e9, first / 1e9


def _row(step: Step | None, truth: float, told: float) -> dict[str, Any]:
    """Inside: it holds an instant from the truth until that was told of."""
    if step is None:
        return {"inside": False}
    least, most = step.at.at_least / 1e9, step.at.at_most / 1e9
    return {
        "inside": least <= told and truth <= most,
        "width_ms": round((most - least) * 1e3, 1),
        "truth_offset_ms": round((truth - least) * 1e3, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder, stand.sandbox(monitored=True) as stack:
        for row in measured(stack, Path(folder) / "runs", options.runs):
            rows.append(row)
            print(len(rows), row["experiment"], row["verdict"], row["not passed"] or row["reasons"], flush=True)
    path = stand.keep("alerts", rows)
    report(rows, options.runs)
    print(path)


def report(every: list[dict[str, Any]], wanted: int) -> None:
    rows = [row for row in every if row["verdict"] != "refused"]
    print(f"{len(rows)} of {wanted} runs measured; {len(every) - len(rows)} more were refused before their fault")
    for what in sorted({what for row in rows for what in row["steps"]}):
        found = [row["steps"][what] for row in rows if what in row["steps"]]
        widths = [step["width_ms"] for step in found if "width_ms" in step]
        inside = sum(step["inside"] for step in found)
        print(f"{what}: truth inside {inside} of {len(found)}; width in ms: {stand.spread(widths)}")
    print(sum(row["verdict"] == "passed" for row in rows), "of", len(rows), "passed")


if __name__ == "__main__":
    main()
