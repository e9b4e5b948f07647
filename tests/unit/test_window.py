"""`while` windows: always, eventually and never, in what is certain of a window. Times are milliseconds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.property.simulation.plans import plan
from tests.property.simulation.writing import MS, Journal, look
from veloz_chaos.core.experiment import AnyOf, While
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.measure import measure
from veloz_chaos.core.window import Quantifier, Ruling, clauses, interior, probe_names, rule

WINDOW = Interval(1000 * MS, 2000 * MS)


def ruled(quantifier: Quantifier, clause: str | AnyOf, refused: str, **others: str) -> Ruling:
    """Looks of `refused` every 100 ms from 1000 on, in a window from 1000 to 2000."""
    journal = Journal(plan())
    for probe, drawing in {"refused": refused, **others}.items():
        journal.looks(probe, 1000, drawing)
    return rule(clause, quantifier, WINDOW, journal.history(), journal.plan)


@pytest.mark.parametrize(
    ("drawing", "always", "eventually", "never"),
    [
        ("++++++++++", "passed", "passed", "failed"),
        ("----------", "failed", "failed", "passed"),
        ("+++++-++++", "failed", "passed", "failed"),
        ("??????????", "failed", "failed", "inconclusive"),
        ("+++++??+++", "failed", "passed", "failed"),
        ("-----??---", "failed", "failed", "inconclusive"),
        ("+++++!++++", "passed", "passed", "failed"),
        ("          ", "inconclusive", "inconclusive", "inconclusive"),
        ("+++    +++", "inconclusive", "passed", "failed"),
        ("---    ---", "failed", "inconclusive", "inconclusive"),
        ("+++  +++++", "passed", "passed", "failed"),
        ("    ++++++", "inconclusive", "passed", "failed"),
        ("++++++", "inconclusive", "passed", "failed"),
        ("!!!!!!!!!!", "inconclusive", "inconclusive", "inconclusive"),
    ],
)
def test_what_each_says_of_the_looks(drawing: str, always: str, eventually: str, never: str) -> None:
    assert ruled("always", "refused", drawing).verdict == always
    assert ruled("eventually", "refused", drawing).verdict == eventually
    assert ruled("never", "refused", drawing).verdict == never


@pytest.mark.parametrize(
    ("drawing", "always", "eventually"),
    [("----------", "passed", "passed"), ("+---------", "failed", "passed"), ("---??-----", "inconclusive", "passed"),
     ("??????????", "inconclusive", "inconclusive")],
)  # fmt: skip
def test_not_a_name_is_proven_by_answers_only(drawing: str, always: str, eventually: str) -> None:
    assert ruled("always", "not refused", drawing).verdict == always
    assert ruled("eventually", "not refused", drawing).verdict == eventually


def test_of_any_the_best_counts_but_never_wants_none_of_them() -> None:
    either = AnyOf(any_of=["refused", "not healthy"])
    assert ruled("always", either, "----------", healthy="----------").verdict == "passed"
    assert ruled("eventually", either, "----------", healthy="++++++++++").verdict == "failed"
    assert ruled("never", either, "++++++++++", healthy="++++++++++").verdict == "failed"
    assert ruled("never", either, "----------", healthy="++++++++++").verdict == "passed"


def test_only_looks_wholly_inside_count() -> None:
    journal = Journal(plan()).looks("refused", 1000, "++++++++++")
    journal.add(look("refused", 995, 1005, "-"), look("refused", 1995, 2005, "-"))
    assert rule("refused", "always", WINDOW, journal.history(), journal.plan).reason == "in all of 10 looks"


def test_a_look_under_way_at_the_end_covers_its_stretch_only_if_it_agrees() -> None:
    def slow_end(mark: str) -> str:
        journal = Journal(plan()).looks("refused", 1000, "++++++")
        journal.add(look("refused", 1750, 2050, mark), look("refused", 1900, 2050, mark))
        return rule("refused", "always", WINDOW, journal.history(), journal.plan).verdict

    assert (slow_end("+"), slow_end("-")) == ("passed", "inconclusive")


def test_the_reason_counts_the_looks() -> None:
    assert ruled("always", "refused", "+++-++++-+").reason == "`refused` did not hold in 2 of 10 looks"
    assert ruled("always", "refused", "+++?++++++").reason == "`refused` got no answer in 1 of 10 looks"
    assert ruled("always", "refused", "+++    +++").reason == "500 ms without a look; the period is 100 ms"


def a_run(**planned: Any) -> Journal:
    """Noticed by 1210; healthy broken from 1010 to 1510, its last bad look asked at 1400."""
    journal = Journal(plan(**planned)).baseline().strikes().looks("healthy", 0, "+" * 10 + "-" * 5 + "+" * 25)
    return journal.looks("down", 0, "-" * 12 + "+" * 28)


def ends(journal: Journal, name: str) -> tuple[float, float] | None:
    history = journal.history()
    inside = interior(name, history, measure(history))
    return None if inside is None else (inside.at_least / MS, inside.at_most / MS)


def test_the_certain_interior_of_each_window_of_a_kill() -> None:
    journal = a_run().ends(4000)
    assert ends(journal, "baseline") == (0, 1000)
    assert ends(journal, "fault") == (1015, 1400)
    assert ends(journal, "detected") == (1310 - 100, 1400)
    assert ends(journal, "reverted") is None
    assert ends(journal, "recovered") == (1510, 4000)


def test_the_certain_interior_of_each_window_of_a_held_fault() -> None:
    journal = a_run(held=True).is_lifted(called=3000, returned=3020, last_seen=2990, gone=3030).ends(4000)
    assert ends(journal, "fault") == (1015, 2990)
    assert ends(journal, "reverted") == (3035, 4000)


def test_detected_ends_with_the_earliest_last_bad_look_of_the_first_outage() -> None:
    journal = a_run(steady=["healthy", "orders"]).looks("orders", 0, "+" * 10 + "---" + "+" * 27).ends(4000)
    assert ends(journal, "detected") is None
    longer = a_run(steady=["healthy", "orders"]).looks("orders", 0, "+" * 10 + "-" * 9 + "+" * 21).ends(4000)
    assert ends(longer, "detected") == (1210, 1400)


def test_a_window_that_never_was_is_inconclusive() -> None:
    journal = Journal(plan(while_={"detected": {"always": ["refused"]}})).baseline().strikes()
    journal.looks("healthy", 0, "+" * 10 + "-" * 5 + "+" * 25).looks("down", 0, "-" * 40).looks(
        "refused", 0, "+" * 40
    ).ends(4000)
    finding = journal.finding("while detected: always refused")
    assert (finding.verdict, finding.reason) == ("inconclusive", "there was no certain time in which it was `detected`")


def test_a_fault_that_ended_early_shows_nothing_of_all_of_its_time() -> None:
    said = {"fault": {"always": ["refused"], "eventually": ["restarted"]}}
    journal = Journal(plan(held=True, while_=said)).baseline().strikes()
    journal.is_lifted(called=3000, returned=3020, last_seen=2000, gone=2100)
    journal.looks("refused", 0, "+" * 40).looks("restarted", 0, "-" * 40).looks("healthy", 0, "+" * 40).ends(4000)
    assert journal.finding("while fault: always refused").reason.startswith("the fault ended early")
    assert journal.finding("while fault: eventually restarted").verdict == "inconclusive"


def test_keeps_compares_the_last_value_before_with_the_one_after_the_recovery() -> None:
    def kept(after: Any, last: str = "+") -> str:
        journal = a_run(keeps=["orders"])
        journal.add(look("orders", 500, 510, "+", value=1), look("orders", 600, 610, "+", value=2))
        journal.add(look("orders", 3000, 3010, "+", value=after), look("orders", 3500, 3510, last)).ends(4000)
        return journal.finding("keeps orders").verdict

    assert (kept(None), kept(3), kept(None, "-")) == ("passed", "failed", "inconclusive")


def test_clauses_come_in_the_order_of_the_grammar_and_name_their_probes() -> None:
    said = While.model_validate({"never": ["a"], "always": ["not b", {"any-of": ["c", "not d"]}]})
    found = clauses(said)
    assert [quantifier for quantifier, _ in found] == ["always", "always", "never"]
    assert [name for _, clause in found for name in probe_names(clause)] == ["b", "c", "d", "a"]
