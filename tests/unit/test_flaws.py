"""When a run agrees with the table of the sandbox's flaws."""

from __future__ import annotations

import pytest

from veloz_chaos.sandbox.flaws import FLAWS

FORGETFUL, MUST = FLAWS["gateway-state-not-restored"], ["keeps open-orders", "orders: divergent"]


@pytest.mark.parametrize("failed", [MUST, [MUST[0], "orders: unresolved", MUST[1]]])
def test_what_must_fail_did_and_nothing_else_but_by_chance(failed: list[str]) -> None:
    assert FORGETFUL.agrees("pod-kill", failed)


@pytest.mark.parametrize("failed", [[], MUST[:1], ["orders: unresolved"], [*MUST, "recovery"], [*MUST, "orders: lost"]])
def test_too_little_or_too_much_failed(failed: list[str]) -> None:
    assert not FORGETFUL.agrees("pod-kill", failed)


def test_chance_is_one_experiments_own() -> None:
    assert all(set(flaw.by_chance) <= set(flaw.caught_by) for flaw in FLAWS.values())
    assert not FLAWS["loses-acknowledged-orders"].agrees("pod-kill", ["orders: lost", "orders: unresolved"])
