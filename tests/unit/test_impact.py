"""Impact conditions as people write them: what is wrong with one is told before a run, at its place."""

from __future__ import annotations

import pytest

from tests.property.simulation.files import planned, problems, written
from veloz_chaos.core.impact import compiled
from veloz_chaos.errors import InvalidFile


@pytest.mark.parametrize(
    "text",
    [
        "fault.orders.latency.p50 >= 1.5 * baseline.orders.latency.p50",
        "fault.orders.errors['503'] > 3 && recovered.orders.longest_gap < 1.0",
        "fault.orders.rate < 1.0 || fault.orders.unknown > 0",
        "'503' in fault.orders.errors",
        "fault.seconds > 1.0",
    ],
)
def test_a_condition_over_the_phases_is_read(text: str) -> None:
    assert compiled(text).text == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fault.orders.rate <", "column 20 of the condition: the condition ends too early"),
        ("faults.orders.rate < 1.0", "no variable is called `faults`; did you mean `fault`?"),
        ("fault.orders.latncy.p50 > 1.0", "there is no `fault.orders.latncy.p50`; did you mean `latency`?"),
        ("fault.orders.latency.p95 > 1.0", "there is no `fault.orders.latency.p95`; did you mean `p9"),
        ("fault.orders.rate.mean > 1.0", "there is no `fault.orders.rate.mean`"),
        ("1.0 < 2.0", "it says nothing of the order flow; write fault.orders.rate < 1.0, say"),
        ("fault.orders.rate", "gives the float '10.0'; write a comparison"),
        ("fault.orders.rate < 'fast'", "these types cannot be combined"),
        ("", "the condition is empty"),
    ],
)
def test_what_is_no_condition_over_the_phases_says_why(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as error:
        compiled(text)
    assert said in str(error.value)


def told(key: str, value: str, *more: tuple[str, str]) -> list[str]:
    return problems(written([("  recovery:", f"  {key}: {value}\n  recovery:"), *more]))


FLOW = ("steady-state:", "workload: orders\nsteady-state:")


def test_a_wrong_condition_is_told_with_its_line_and_column() -> None:
    said = told("impact", '["fault.orders.rate < 1.0", "fault.orders.rte < 1.0"]', FLOW)
    [problem] = [problem for problem in said if "rte" in problem]
    assert problem.split(":")[1:3] == ["15", "39"]
    assert "not a condition: there is no `fault.orders.rte`; did you mean `rate`?" in problem


def test_conditions_that_leave_the_fault_out_show_no_impact() -> None:
    said = told("impact", '["recovered.orders.rate > 1.0"]', FLOW)
    assert any("no condition says anything of `fault`" in problem for problem in said)


@pytest.mark.parametrize(("key", "value"), [("orders", "{lost: 0}"), ("impact", '["fault.orders.rate < 1.0"]')])
def test_what_is_said_of_the_order_flow_needs_one(key: str, value: str) -> None:
    assert any(
        f"`{key}` needs an order flow to judge; write workload: orders" in problem for problem in told(key, value)
    )
    assert not any("needs an order flow" in problem for problem in told(key, value, FLOW))


def test_a_limit_is_a_number_of_orders() -> None:
    with pytest.raises(InvalidFile, match="`lost` must be greater than or equal to 0"):
        told("orders", "{lost: -1}", FLOW)


def test_a_plan_without_a_flow_limits_no_fate() -> None:
    made = planned(written())
    assert (made.orders, made.impact) == (None, None)
