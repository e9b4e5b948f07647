"""The probe `workload`: the latest counts, or that there are none."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from veloz_chaos.core.probe import Eye
from veloz_chaos.probes.workload import PROBE


def test_it_shows_the_latest_counts() -> None:
    counts = {"accepted": 3}
    seen = asyncio.run(PROBE().look(Eye(timedelta(seconds=1), str, lambda: counts)))
    assert (seen.json, seen.error) == ({"accepted": 3}, "")


def test_without_a_workload_there_is_an_error_and_no_value() -> None:
    seen = asyncio.run(PROBE().look(Eye(timedelta(seconds=1), str)))
    assert (seen.json, seen.error) == (None, "no workload")
