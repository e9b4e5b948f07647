"""A report says what was measured, the limit, the verdict, why, and where in the journal it stands."""

from __future__ import annotations

import json

from tests.property.simulation.flow import SLOWER, flow, held
from tests.unit.cli_runs import SECOND, Paper, events, plan
from veloz_chaos.core.experiment import OrderLimits
from veloz_chaos.core.history import of
from veloz_chaos.core.judge import Judgement, judge
from veloz_chaos.core.plan import Plan
from veloz_chaos.reports import document, planned, verdict


def judged(paper: Paper) -> Judgement:
    return judge(of(events(paper)))


def report(paper: Paper) -> list[str]:
    return verdict.report(judged(paper), plan(paper), "runs/r")


def test_a_pass_ends_with_its_times() -> None:
    lines = report(Paper())
    assert lines[0].split() == ["expectation", "measured", "limit", "verdict"]
    assert lines[-1].startswith("PASSED engine-crash on paper: detected after ")
    assert lines[-1].endswith(" — evidence runs/r")


def test_a_failure_names_what_was_measured_the_limit_and_the_journal_entries() -> None:
    lines = report(Paper(recovered=12.0, watched=20.0))
    assert (
        "FAILED engine-crash on paper: recovery took at least 11.9 s, the limit is 10 s — evidence runs/r" in lines[-1]
    )
    reasons = "\n".join(lines)
    assert "failed: recovery: took at least 11.9 s, the limit is 10 s" in reasons
    assert "  runs/r/journal.jsonl:" in reasons


def test_every_line_but_the_closing_one_fits_into_80_columns() -> None:
    for paper in (Paper(), Paper(recovered=12.0, watched=20.0, manual_action="restart everything, " * 10)):
        assert all(len(line) <= 80 for line in report(paper)[:-1])


def test_what_the_operator_has_to_do_is_printed() -> None:
    assert any(
        "manual action after Engine Crash: investigate" in line for line in report(Paper(manual_action="investigate"))
    )
    assert not any("manual action" in line for line in report(Paper()))


def test_the_document_holds_the_whole_judgement() -> None:
    paper = Paper()
    made = json.loads(json.dumps(document.run(judged(paper), plan(paper), "runs/r", 0)))
    assert (made["verdict"], made["exit_code"], made["experiment"]) == ("passed", 0, "engine-crash")
    m = made["measurement"]
    assert 0 <= m["time_to_detect"]["at_least"] <= m["time_to_detect"]["at_most"] < 1
    assert m["began"]["at_least"] * SECOND >= 3 * SECOND
    assert made["plan"]["steady-state"] == ["steady"]
    assert {finding["expectation"] for finding in made["findings"]} >= {"detection", "recovery", "impact"}


def test_an_end_that_was_not_seen_is_null_in_json() -> None:
    paper = Paper(recovered=100.0, watched=20.0)
    made = document.run(judged(paper), plan(paper), "runs/r", 0)
    assert made["measurement"]["time_to_recover"]["at_most"] is None
    json.loads(json.dumps(made, allow_nan=False))


def test_a_plan_says_what_how_and_how_it_ends() -> None:
    text = "\n".join(planned.describe(plan(Paper(held=True))))
    for part in ("pause on engine", "on paper", "Pausable", "no expiry", "within 5 s", "at most 30 s", "status == 200"):
        assert part in text


def driven() -> tuple[Judgement, Plan]:
    """A run whose workload lost an order while the fault was in place."""
    journal = held(orders=OrderLimits(), impact=[SLOWER]).drives(flow(lost="vc-7f3a-000060"))
    return journal.judge(), journal.plan


def test_a_run_with_an_order_flow_shows_its_phases_and_what_became_of_the_first_bad_order() -> None:
    judgement, made = driven()
    lines = verdict.report(judgement, made, "runs/r")
    [header] = [line for line in lines if line.startswith("orders ")]
    assert header.split() == ["orders", "accepted", "not", "accepted", "p50", "p99", "longest", "gap"]
    [fault] = [line for line in lines if line.startswith("fault ")]
    assert fault.split()[:2] == ["fault", "50.1/s"] and "300 ms" in fault
    text = " ".join(" ".join(lines).split())
    assert "failed: orders: lost: 1 of 275 orders: vc-7f3a-000060; vc-7f3a-000060: placed" in text
    assert "absent at the exchange" in text
    assert all(len(line) <= 80 for line in lines[:-1])
    assert not any(line.startswith("orders ") for line in report(Paper()))


def test_the_document_holds_the_phases_and_the_history_of_the_first_bad_orders() -> None:
    judgement, made = driven()
    one = json.loads(json.dumps(document.run(judgement, made, "runs/r", 0), allow_nan=False))
    phases = one["measurement"]["phases"]
    assert list(phases) == ["baseline", "fault", "recovered"]
    assert set(phases["fault"]["orders"]) == {
        "rate", "placed", "accepted", "refused", "unknown", "errors", "latency", "longest_gap",
    }  # fmt: skip
    assert phases["fault"]["orders"]["latency"]["p50"] > 0.29
    lost = one["orders"]["fates"]["lost"]
    assert (lost["count"], lost["first"][0]["order"]) == (1, "vc-7f3a-000060")
    assert [step["what"] for step in lost["first"][0]["history"]][-2:] == [
        "open at the gateway",
        "absent at the exchange",
    ]
    assert one["orders"]["inconclusive"] is None and one["orders"]["accepted"] == 275
    without = document.run(judged(Paper()), plan(Paper()), "runs/r", 0)
    assert (without["orders"], without["measurement"]["phases"]) == (None, {})


def test_a_plan_says_what_the_order_flow_must_show() -> None:
    made = held(orders=OrderLimits(), impact=[SLOWER]).plan
    text = " ".join("\n".join(planned.describe(made)).split())
    assert f"the order flow shows the impact: {SLOWER}" in text
    assert "the fate of every order: at most 0 lost, 0 duplicated, 0 resurrected" in text
