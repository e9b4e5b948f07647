"""How the order flow is judged: the fate of its orders, and its impact. Times are milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.simulation.flow import BEFORE, FEWER, HURT, SEEN, SLOWER, UNHURT, flow, held
from tests.property.simulation.market import BAD, written
from tests.property.simulation.plans import plan
from tests.property.simulation.profile import few
from tests.property.simulation.writing import Journal
from veloz_chaos.core.experiment import OrderLimits
from veloz_chaos.core.judge import judge
from veloz_chaos.core.orders import Orders


def verdicts(journal: Journal) -> dict[str, str]:
    return {finding.expectation: finding.verdict for finding in journal.judge().findings}


def fates(journal: Journal) -> dict[str, str]:
    return {
        name.removeprefix("orders: "): said for name, said in verdicts(journal).items() if name.startswith("orders: ")
    }


# --- the fate of orders --------------------------------------------------------------------------------------------


def test_a_clean_audit_passes_every_category() -> None:
    journal = held(orders=OrderLimits()).drives(written([None] * 10, 1).data())
    assert fates(journal) == dict.fromkeys(BAD, "passed")
    assert journal.judge().verdict == "passed"
    assert journal.finding("orders: lost").reason == "none of 11 orders"


@pytest.mark.parametrize("fate", sorted(BAD))
def test_what_happened_to_an_order_fails_its_own_category_and_no_other(fate: str) -> None:
    world = written([None, fate, None, fate], 3)
    journal = held(orders=OrderLimits()).drives(world.data())
    assert fates(journal) == dict.fromkeys(BAD, "passed") | {fate: "failed"}
    first, second = world.expected[fate]
    reason = journal.finding(f"orders: {fate}").reason
    assert reason.startswith(f"2 of 5 orders: {first}, {second}; {first}: placed (BUY 0.01 BTCUSDT at 1000), ")
    assert "at the exchange" in reason


def test_many_orders_are_counted_and_the_first_ones_named() -> None:
    reason = held(orders=OrderLimits()).drives(written(["lost"] * 9, 3).data()).finding("orders: lost").reason
    assert "9 of 10 orders: vc-7f3a-000002, vc-7f3a-000003, vc-7f3a-000004 and 6 more; vc-7f3a-000002: placed" in reason


def test_a_limit_allows_so_many_and_not_one_more() -> None:
    data = written(["lost"] * 3, 3).data()
    assert held(orders=OrderLimits(lost=3)).drives(data).finding("orders: lost").verdict == "passed"
    finding = held(orders=OrderLimits(lost=2)).drives(data).finding("orders: lost")
    assert (finding.verdict, finding.reason[:33]) == ("failed", "3 of 4 orders, the limit is 2: vc")


@given(
    st.lists(st.none() | st.sampled_from(sorted(BAD)), max_size=12), st.sampled_from(sorted(BAD)), st.integers(0, 2**32)
)
@few
def test_one_more_bad_order_or_a_lower_limit_never_makes_a_verdict_better(
    some: list[str | None], more: str, seed: int
) -> None:
    order = ["passed", "inconclusive", "failed"]
    one = OrderLimits(lost=1, duplicated=1, resurrected=1, unresolved=1, divergent=1, cancelled_yet_filled=1)
    before, after = (fates(held(orders=one).drives(written(what, seed).data())) for what in (some, [*some, more]))
    stricter = fates(held(orders=OrderLimits()).drives(written(some, seed).data()))
    assert all(order.index(after[name]) >= order.index(before[name]) for name in before)
    assert all(order.index(stricter[name]) >= order.index(before[name]) for name in before)


def test_nothing_is_said_of_orders_where_nothing_was_asked() -> None:
    assert fates(held().drives(written(["lost"], 1).data())) == {}
    assert held().judge().flow.audit is None


def whole(**more: Any) -> Journal:
    return held(orders=OrderLimits(), impact=[SLOWER], **more)


@pytest.mark.parametrize(
    ("journal", "why"),
    [
        (whole(), "the order history is missing"),
        (whole().drives(flow(), sha256="0" * 64),
         "the order history was changed: its SHA-256 is not the one in the journal"),
        (whole().drives(flow(), sha256=""), "the workload did not end: its order history is not whole"),
        (whole().drives(flow(), error="killed"), "the workload broke off: killed"),
    ],
)  # fmt: skip
def test_an_order_history_that_the_journal_does_not_vouch_for_shows_nothing(journal: Journal, why: str) -> None:
    judgement = journal.judge()
    told = [finding for finding in judgement.findings if finding.expectation.startswith(("orders: ", "impact: "))]
    assert {(finding.verdict, finding.reason) for finding in told} == {("inconclusive", why)}
    assert len(told) == 7
    assert judgement.verdict == "inconclusive"


def test_an_order_history_that_cannot_be_read_shows_nothing() -> None:
    journal = whole().drives(flow())
    journal.orders = Orders(unreadable="line 7: nonsense")
    assert journal.finding("orders: lost").reason == "the order history cannot be read: line 7: nonsense"


@given(st.integers(0, 2**32), st.floats(0, 0.999))
@few
def test_an_order_history_that_was_cut_anywhere_passes_nothing(seed: int, share: float) -> None:
    data = written([None] * 8, seed).data()
    kept = held(orders=OrderLimits()).drives(data)
    cut = held(orders=OrderLimits()).drives(data[: int(share * len(data))])
    assert set(fates(kept).values()) == {"passed"}
    judgement = judge(kept.history(), orders=cut.orders)
    assert {f.verdict for f in judgement.findings if f.expectation.startswith("orders")} == {"inconclusive"}


def test_a_side_that_cannot_be_read_leaves_every_category_open() -> None:
    data = [*written(["lost"], 1).data(), b'{"op":"read","side":"exchange","at":9000000000,"ok":false,"why":"503"}\n']
    assert set(fates(held(orders=OrderLimits()).drives(data)).values()) == {"inconclusive"}


def test_a_fault_that_was_not_in_place_leaves_the_fate_of_orders_open() -> None:
    journal = Journal(plan(orders=OrderLimits())).baseline().strikes(seen="---").looks("healthy", 0, HURT)
    journal.looks("down", 0, SEEN).ends(4000).drives(written(["lost"], 1).data())
    assert set(fates(journal).values()) == {"inconclusive"}


# --- placebo -------------------------------------------------------------------------------------------------------


def test_a_placebo_must_leave_every_order_where_it_must_be() -> None:
    clean = held(UNHURT, placebo=True).drives(written([None] * 5, 1).data())
    assert verdicts(clean)["placebo: clean audit"] == "passed"
    assert clean.judge().verdict == "passed"
    wrong = held(UNHURT, placebo=True, orders=OrderLimits(lost=9)).drives(written(["lost"], 1).data())
    assert wrong.finding("placebo: clean audit").verdict == "failed"
    assert "lost: vc-7f3a-000002; vc-7f3a-000002: placed" in wrong.finding("placebo: clean audit").reason
    missing = held(UNHURT, placebo=True, orders=OrderLimits())
    assert missing.finding("placebo: clean audit").reason == "the order history is missing"
    assert "placebo: clean audit" not in verdicts(held(UNHURT, placebo=True))


# --- impact --------------------------------------------------------------------------------------------------------


def conditions(texts: Sequence[str], healthy: str = UNHURT, data: list[bytes] | None = None, **more: Any) -> Journal:
    return held(healthy, impact=list(texts), **more).drives(flow() if data is None else data)


def test_conditions_show_an_impact_that_the_steady_state_does_not() -> None:
    journal = conditions([SLOWER])
    assert verdicts(journal)[f"impact: {SLOWER}"] == "passed"
    assert journal.finding(f"impact: {SLOWER}").reason == (
        "fault.orders.latency.p50 is 0.3, baseline.orders.latency.p50 is 0.005003"
    )
    assert journal.finding("impact").reason == "the steady state held; the impact conditions show the impact"
    assert journal.judge().verdict == "passed"


def test_what_never_broke_has_recovered_when_the_fault_is_gone() -> None:
    finding = conditions([SLOWER]).finding("recovery")
    assert (finding.verdict, finding.measured and finding.measured.at_most) == ("passed", 0)
    assert conditions([SLOWER], hold=4000, settle=4000).finding("recovery").verdict == "inconclusive"
    unwatched = conditions([SLOWER], BEFORE + "+" * 10 + " " * 10 + "+" * 30).finding("recovery")
    assert unwatched.verdict == "inconclusive"


def test_the_recovered_window_begins_when_the_fault_is_gone() -> None:
    journal = conditions([SLOWER], while_={"recovered": {"always": ["refused"]}})
    journal.looks("refused", 0, "-" * 30 + "+" * 30)
    assert verdicts(journal)["while recovered: always refused"] == "passed"


def test_a_condition_that_does_not_hold_fails_and_leaves_the_fault_masked() -> None:
    journal = conditions([SLOWER, FEWER])
    found = verdicts(journal)
    assert (found[f"impact: {SLOWER}"], found[f"impact: {FEWER}"]) == ("passed", "failed")
    assert (found["impact"], found["recovery"]) == ("failed", "inconclusive")


def test_a_condition_is_judged_where_the_steady_state_broke_too() -> None:
    found = verdicts(conditions([FEWER], HURT))
    assert (found["impact"], found[f"impact: {FEWER}"], found["recovery"]) == ("passed", "failed", "passed")
    refused = verdicts(conditions([FEWER], HURT, flow(refused=True)))
    assert refused[f"impact: {FEWER}"] == "passed"


@pytest.mark.parametrize(
    ("text", "data", "why"),
    [
        (SLOWER, flow(every=110), "only 18 orders were due in `fault`; at least 20 show something"),
        (SLOWER, flow(refused=True), "only 0 orders of `fault` have a latency; at least 20 show something"),
        ("fault.orders.errors['503'] > 3", flow(), "something it asks for is not there"),
    ],
)
def test_a_condition_over_too_little_shows_nothing(text: str, data: list[bytes], why: str) -> None:
    journal = conditions([text], data=data)
    finding = journal.finding(f"impact: {text}")
    assert finding.verdict == "inconclusive"
    assert why in finding.reason
    assert journal.finding("impact").verdict == "inconclusive"
    assert journal.judge().verdict == "inconclusive"


def test_a_fault_whose_end_was_not_seen_has_no_phase() -> None:
    journal = Journal(plan(held=True, impact=[SLOWER])).baseline().strikes().looks("healthy", 0, UNHURT)
    journal.looks("down", 0, SEEN).ends(6000).drives(flow())
    assert "no order was due in a time that was certainly `fault`" in journal.finding(f"impact: {SLOWER}").reason


def test_a_fault_that_ended_early_leaves_a_missing_impact_open() -> None:
    journal = held(UNHURT, last_seen=2400, gone=2500, impact=[FEWER]).drives(flow())
    assert journal.finding(f"impact: {FEWER}").verdict == "inconclusive"
    assert journal.finding("impact").verdict == "inconclusive"


def test_what_strikes_once_is_at_work_until_the_system_has_recovered() -> None:
    made = Journal(plan(impact=[SLOWER])).baseline().strikes().looks("healthy", 0, (BEFORE + "-" * 18).ljust(60, "+"))
    journal = made.looks("down", 0, SEEN).ends(6000).drives(flow())
    phases = journal.judge().flow.phases
    assert phases["fault"].length == pytest.approx(2810e-3 - 1015e-3, abs=1e-3)
    assert verdicts(journal)[f"impact: {SLOWER}"] == "passed"


def test_the_phases_are_their_certain_parts() -> None:
    phases = conditions([SLOWER]).judge().flow.phases
    assert phases["baseline"].length == pytest.approx(1.0)
    assert phases["fault"].length == pytest.approx(2.990 - 1.015, abs=1e-3)
    assert phases["recovered"].length == pytest.approx(5.480 - 3.035, abs=1e-3)
    assert phases["fault"].longest_gap == pytest.approx(0.3 - 0.01, abs=0.02)


def test_without_its_conditions_the_same_run_is_masked() -> None:
    finding = held(UNHURT).drives(flow()).finding("impact")
    assert (finding.verdict, finding.reason[:6]) == ("failed", "masked")
