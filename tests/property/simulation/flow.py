"""An order flow through a fault of two seconds, and the journal beside it. Times are milliseconds."""

from __future__ import annotations

import json
from typing import Any

from tests.property.simulation.plans import plan
from tests.property.simulation.writing import MS, Journal

BEFORE, SEEN = "+" * 10, "-" * 12 + "+" * 50
HURT = (BEFORE + "-" * 5).ljust(60, "+")
UNHURT = "+" * 60
SLOWER = "fault.orders.latency.p50 >= 1.5 * baseline.orders.latency.p50"
FEWER = "fault.orders.rate < 0.5 * baseline.orders.rate"


def held(
    healthy: str = HURT, *, placebo: bool = False, last_seen: int = 2990, gone: int = 3030, **planned: Any
) -> Journal:
    """The engine is paused from 1000 to 3000 and watched until 6000."""
    journal = Journal(plan(held=True, placebo=placebo, **planned)).baseline()
    if not placebo:
        journal.strikes().is_lifted(called=3000, returned=3020, last_seen=last_seen, gone=gone)
    return journal.looks("healthy", 0, healthy).looks("down", 0, "-" * 60 if placebo else SEEN).ends(6000)


def flow(*, slow: int = 300, every: int = 20, refused: bool = False, lost: str = "") -> list[bytes]:
    """An order each `every` ms from 0 to 5500, accepted after 5 ms; while the fault is in place after `slow`.

    The exchange has no order `lost`.
    """
    lines: list[dict[str, Any]] = []
    accepted: list[str] = []
    for n, due in enumerate(range(0, 5500, every), start=1):
        order, hit = f"vc-7f3a-{n:06d}", 1000 <= due < 3000
        outcome, status = ("refused", 503) if hit and refused else ("accepted", 200)
        at = due + (slow if hit else 5)
        lines.append({"op": "place", "id": order, "due": due * MS, "at": due * MS, "side": "BUY"})
        lines.append({"op": "done", "of": "place", "id": order, "at": at * MS, "outcome": outcome, "status": status})
        accepted += [order] if outcome == "accepted" else []
    for side in ("gateway", "exchange"):
        lines.append({"op": "read", "side": side, "at": 5900 * MS, "ok": True})
        held = [order for order in accepted if side == "gateway" or order != lost]
        lines += [{"op": "found", "side": side, "id": order, "state": "open", "filled": "0"} for order in held]
    return [json.dumps(line).encode() + b"\n" for line in lines]
