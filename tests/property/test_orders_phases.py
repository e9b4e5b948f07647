"""The phases' numbers against a computation that anybody can check by hand."""

from __future__ import annotations

import json
from itertools import pairwise
from math import inf
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.property.simulation.profile import many
from tests.property.simulation.writing import MS
from veloz_chaos.core.orders import read
from veloz_chaos.core.phases import phases

START = 10**12
one = st.tuples(
    st.integers(0, 10_000 * MS),
    st.integers(1000, 5_000 * MS),
    st.sampled_from(["accepted", "accepted", "refused", "unknown"]),
    st.sampled_from([(503, ""), (200, "no margin"), (0, "timeout")]),
)
flows = st.lists(one, min_size=1, max_size=80)


def history(flow: list[Any]) -> list[bytes]:
    lines: list[dict[str, Any]] = []
    for n, (due, took, outcome, (status, why)) in enumerate(flow):
        lines.append(
            {"op": "place", "id": f"vc-a-{n}", "due": START + due, "at": START + due + took // 2, "side": "BUY"}
        )
        done = {"op": "done", "of": "place", "id": f"vc-a-{n}", "at": START + due + took, "outcome": outcome}
        lines.append(done | {"status": 200 if outcome == "accepted" else status, "why": why})
    return [json.dumps(line).encode() + b"\n" for line in lines]


@given(flows, st.integers(0, 10_000 * MS), st.integers(1, 10_000 * MS), st.booleans())
@many
def test_the_numbers_of_a_phase_are_those_of_its_orders(flow: list[Any], since: int, length: int, open_: bool) -> None:
    until = inf if open_ else START + since + length
    found = phases(read(history(flow)), {"fault": (START + since, until)})
    first, last = START + min(due for due, *_ in flow), START + max(due for due, *_ in flow)
    start, end = max(START + since, first), min(until, last + 1)
    if start >= end:
        assert found == {}
        return
    mine = [one for one in flow if start <= START + one[0] < end]
    phase = found["fault"]
    told = [outcome for _, _, outcome, _ in mine]
    assert (phase.accepted, phase.refused, phase.unknown) == tuple(map(told.count, ("accepted", "refused", "unknown")))
    assert phase.rate == told.count("accepted") / ((end - start) / 1e9)
    assert sum(phase.errors.values()) == phase.refused + phase.unknown
    assert phase.errors.get("503", 0) == sum(o != "accepted" and why == (503, "") for _, _, o, why in mine)
    accepted = sorted(START + due + took for due, took, outcome, _ in flow if outcome == "accepted")
    inside = [at for at in accepted if start <= at < end]
    assert phase.longest_gap == max(b - a for a, b in pairwise([start, *inside, end])) / 1e9
    check_latency(phase.latency, sorted(took for _, took, outcome, _ in mine if outcome != "refused"))


def check_latency(found: dict[str, float], lengths: list[int]) -> None:
    if not lengths:
        assert found == {}
        return
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
        exact = lengths[max(1, int(share * len(lengths) + 0.5)) - 1] / 1e9
        assert abs(found[name] - exact) <= 0.001 * exact + 1e-6
    assert found["p50"] <= found["p90"] <= found["p99"] <= found["max"]


@given(flows)
@many
def test_every_order_is_in_one_of_two_phases_that_meet(flow: list[Any]) -> None:
    middle = START + 5_000 * MS
    found = phases(read(history(flow)), {"baseline": (0, middle), "fault": (middle, inf)})
    assert sum(phase.placed for phase in found.values()) == len(flow)
