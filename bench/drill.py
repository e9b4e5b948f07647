"""The full DR test against the sandbox's truth logs: N rounds on a sandbox of their own each, with a real PostgreSQL.

    python -m bench.drill [--rounds 20]

A round is what `veloz-chaos run full-dr-test` does, sandbox included. The truth of the loss is the instant at which the
supervisor saw the gateway die; of the RTO, from there to the last of the gateway's own changes that made it healthy, or
to the first order it acknowledged then; of the RPO, from the newest acknowledgement in the gateway's truth log whose
order was in the restored database. A round counts when both lie inside the measured intervals, and as many orders are
lost by the audit as by the truth (give or take those answered within the gateway's last 5 ms, which nobody may have
heard). A round in which a healthy gateway answered too slowly afterwards has no truth of its RTO: of that no log tells.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import stand
from veloz_chaos.core.finding import Finding
from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.trace import UNANSWERED
from veloz_chaos.engine.conduct import Request, Result, conduct
from veloz_chaos.registry import Registry
from veloz_chaos.sandbox import control

EXPERIMENT = stand.ROOT / "experiments" / "full-dr-test.yaml"
LIMIT = 90.0
#: What was answered within this before the end may not have left the machine. Nanoseconds.
LAST_WORDS = 5_000_000


def one(number: int) -> dict[str, Any]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-drill-") as folder:
        base = stand.ROOT / "environments" / "sandbox.yaml"
        stack = control.up(Path(folder) / "sandbox", free_ports=True, base=base, backups=True)
        try:
            result = conduct(Request(EXPERIMENT, stack.environment, runs=Path(folder) / "runs"), Registry())
            row = against_truth(result, stack)
        finally:
            control.down(stack.directory)
    judgement = result.judgement
    wrong = [f"{f.expectation}: {f.reason}" for f in judgement.findings if f.verdict != "passed"]
    took = round(time.monotonic() - began, 1)
    return {"round": number, "seconds": took, "verdict": judgement.verdict, "wrong": wrong, **row}


def against_truth(result: Result, stack: control.Sandbox) -> dict[str, Any]:
    found = {finding.expectation: finding for finding in result.judgement.findings}
    rto, rpo = found.get("rto"), found.get("rpo")
    struck = min((r.inject_began for r in result.history.faults.values() if r.inject_began), default=None)
    if struck is None or rto is None or rpo is None or rto.measured is None or rpo.measured is None:
        return {"inside": False}
    died: int = next(e["at"] for e in stand.truth(stack, "supervisor") if _died(e, "gateway") and e["at"] >= struck)
    gateway, (done, *_) = stand.truth(stack, "gateway"), [e for e in stand.truth(stack, "restore") if "orders" in e]
    mine = f"vc-{result.history.run}-"
    acknowledged = {e["order"]: e["at"] for e in reversed(gateway) if _acknowledged(e, mine) and e["at"] <= died}
    survived = [at for order, at in acknowledged.items() if order in set(done["orders"])]
    back = _healthy(gateway, died)
    truth = {"rto": back - died, "rpo": died - max(survived, default=0)}
    unsure = sum(at > died - LAST_WORDS for order, at in acknowledged.items() if order not in set(done["orders"]))
    lost = len(acknowledged) - len(survived)
    told = int(rpo.reason.split(" of ")[0].replace("none", "0"))
    inside = {name: _holds(finding, truth[name]) for name, finding in (("rto", rto), ("rpo", rpo))}
    return {
        "inside": all(inside.values()) and lost - unsure <= told <= lost,
        "slow": _slow(result, back),
        **{f"{name}_inside": ok for name, ok in inside.items()},
        **{f"{name}_truth": truth[name] / SECOND for name in truth},
        "rto": rto.measured.as_json(), "rpo": rpo.measured.as_json(),
        "acknowledged": len(acknowledged), "lost": told, "lost_truth": lost,
    }  # fmt: skip


def _slow(result: Result, back: int) -> int:
    """Looks that a gateway which was healthy by its own word left without an answer in time."""
    history = result.history
    steady = history.plan.steady_state if history.plan else []
    return sum(look.outcome == UNANSWERED for name in steady for look in history.trace(name).since(back))


def _died(event: dict[str, Any], service: str) -> bool:
    return bool(event["event"] == "exited" and event["service"] == service)


def _acknowledged(event: dict[str, Any], mine: str) -> bool:
    return bool(event["event"] == "acknowledged" and event["order"].startswith(mine))


def _healthy(gateway: list[dict[str, Any]], died: int) -> int:
    """The last change after which nothing was wrong any more, and the first new order was taken."""
    after = [event for event in gateway if event["at"] > died]
    serving = next(event["at"] for event in after if event["event"] == "serving")
    changes = [e["at"] for e in after if e["event"] == "engine-connected" or e.get("status") == "ok"]
    order = next(e["at"] for e in after if e["event"] == "acknowledged" and e["at"] > serving)
    return int(max(serving, order, *changes))


def _holds(finding: Finding, truth: int) -> bool:
    return finding.measured is not None and finding.measured.holds(truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    rows = []
    for number in range(options.rounds):
        rows.append(one(number))
        print(rows[-1], flush=True)
    print(stand.keep("drill", rows))
    print("seconds a round:", stand.spread(row["seconds"] for row in rows), f"(limit {LIMIT:g})")
    judged = [row for row in rows if "slow" in row]
    told = [row for row in judged if not row["slow"] or row["inside"]]
    print(f"RTO, RPO and the orders lost inside the truth logs': {sum(r['inside'] for r in told)} of {len(told)}")
    print(f"RPO alone: {sum(row['rpo_inside'] for row in judged)} of {len(judged)}")
    print(
        f"no verdict: {len(rows) - len(judged)}; too slow afterwards for the truth to tell: {len(judged) - len(told)}"
    )


if __name__ == "__main__":
    main()
