"""The rules of measurement, each as a journal of a few lines. Times are milliseconds.

A look every 100 ms takes 10 ms (an unanswered one 250 ms): `+` shown, `-` not shown, `?` no answer, `!` none because
our own loop stood still. The fault's call begins at 1000.
"""

from __future__ import annotations

import math

from tests.property.simulation.plans import plan
from tests.property.simulation.writing import MS, Journal, clock, look, presence, reported
from veloz_chaos.core import event as ev
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.measure import Measurement, measure

HEALTHY = "+" * 10


def killed(healthy: str, down: str = "", **planned: object) -> Journal:
    """The engine is killed at 1000; looks of `healthy` and `down` from 0 on."""
    journal = Journal(plan(**planned)).baseline().strikes()  # type: ignore[arg-type]
    return journal.looks("healthy", 0, healthy).looks("down", 0, down)


def measured(journal: Journal) -> Measurement:
    return measure(journal.history())


def ms(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None else (interval.at_least / MS, interval.at_most / MS)


# --- began, ended --------------------------------------------------------------------------------------------------


def test_a_fault_began_between_its_call_and_the_first_look_that_found_it() -> None:
    journal = Journal(plan()).baseline().strikes(called=1000, returned=1010, seen="+")
    assert ms(measured(journal).began) == (1000, 1015)


def test_a_look_that_did_not_find_it_moves_the_earliest_beginning() -> None:
    journal = Journal(plan()).baseline().strikes(called=1000, returned=1010, seen="--+", every=20)
    assert ms(measured(journal).began) == (1030, 1055)


def test_only_looks_asked_after_the_call_count() -> None:
    journal = Journal(plan()).baseline().add(presence(990, 1002, "+")).strikes(seen="-+")
    assert ms(measured(journal).began) == (1010, 1035)


def test_a_mechanism_that_acts_at_once_began_by_the_return_of_its_call_if_a_look_confirms_it() -> None:
    at_once = Journal(plan(at_once=True)).baseline()
    assert ms(measured(at_once.strikes(called=1000, returned=1010, seen="+")).began) == (1000, 1010)
    unconfirmed = Journal(plan(at_once=True)).baseline().strikes(called=1000, returned=1010, seen="-")
    assert measured(unconfirmed).began is None


def test_what_was_never_found_was_never_in_place() -> None:
    assert measured(killed(HEALTHY + "-----+++++")).in_place
    journal = Journal(plan()).baseline().strikes(seen="--?").looks("healthy", 0, HEALTHY + "---")
    assert (measured(journal).in_place, measured(journal).began) == (False, None)


def test_a_held_fault_ended_between_the_last_look_that_found_it_and_the_first_that_did_not() -> None:
    journal = Journal(plan(held=True)).baseline().strikes()
    journal.is_lifted(called=3000, returned=3020, last_seen=2990, gone=3030)
    assert ms(measured(journal).ended) == (2990, 3035)


def test_what_is_taken_out_at_once_ended_by_the_return_of_the_call() -> None:
    journal = Journal(plan(held=True, at_once=True)).baseline().strikes()
    journal.is_lifted(called=3000, returned=3020, last_seen=2990, gone=3030)
    assert ms(measured(journal).ended) == (2990, 3020)


def test_a_fault_that_was_gone_before_it_was_taken_out_ended_then_and_early() -> None:
    journal = Journal(plan(held=True)).baseline().strikes()
    journal.is_lifted(called=3000, returned=3020, last_seen=2500, gone=2700)
    assert ms(measured(journal).ended) == (2500, 2705)
    assert measured(journal).early == "its effect was gone before it was taken out"


# --- what the platform reports -------------------------------------------------------------------------------------


def test_what_kills_began_by_the_arrival_of_the_platforms_report_of_the_death() -> None:
    journal = Journal(plan()).baseline().strikes(called=1000, returned=1010, seen="-+", every=50)
    assert ms(measured(journal).began) == (1010, 1065)
    assert ms(measured(journal.add(reported(1030))).began) == (1010, 1030)


def test_a_report_without_a_look_that_found_the_fault_proves_nothing() -> None:
    journal = Journal(plan()).baseline().strikes(seen="---").add(reported(1030))
    assert measured(journal).began is None


def test_a_report_that_came_too_early_or_too_late_or_of_something_else_narrows_nothing() -> None:
    journal = Journal(plan()).baseline().strikes(called=1000, returned=1010, seen="-+", every=50)
    journal.add(
        reported(900), reported(1005), reported(1500), reported(1020, "out-of-memory"), reported(1020, "started")
    )
    assert ms(measured(journal).began) == (1010, 1065)


def test_two_that_one_and_the_same_replaced_are_not_both_replaced() -> None:
    one = plan(of=3)
    two = one.model_copy(update={"faults": [*one.faults, one.faults[0].model_copy(update={"id": "f2"})]})

    def at(*second: ev.Event) -> float:
        journal = Journal(two).baseline().strikes().looks("healthy", 0, "+" * 40)
        journal.add(*(event.model_copy(update={"fault": "f2"}) for event in journal.events if hasattr(event, "fault")))
        found = measured(
            journal.add(reported(1020), reported(1020, fault="f2"), reported(1500, "replaced", "a"), *second)
        )
        assert found.replaced is not None
        return found.replaced.at_most / MS

    assert at() == at(reported(1600, "replaced", "a", "f2")) == math.inf
    assert at(reported(1600, "replaced", "b", "f2")) == 1600


def test_a_report_does_not_narrow_what_is_held() -> None:
    journal = Journal(plan(held=True)).baseline().strikes(called=1000, returned=1010, seen="-+", every=50)
    assert ms(measured(journal.add(reported(1030))).began) == (1010, 1065)


def held_and_lifted() -> Journal:
    journal = Journal(plan(held=True)).baseline().strikes()
    return journal.is_lifted(called=3000, returned=3020, last_seen=2500, gone=2700)


def test_a_target_that_died_under_a_held_fault_ended_it_early_and_says_how() -> None:
    journal = held_and_lifted().add(reported(2600), reported(2601, "out-of-memory"))
    assert measured(journal).early == "the container died under the fault (exit 137, OOMKilled)"
    assert ms(measured(journal).ended) == (2500, 2705)
    journal.add(reported(3100, "started"))
    assert measured(journal).early == "the container restarted under the fault (exit 137, OOMKilled)"
    found = journal.finding("in place")
    assert (found.verdict, found.reason) == ("inconclusive", f"it ended early: {measured(journal).early}")


def test_a_death_after_we_began_to_take_it_out_or_knew_that_it_was_lost_is_no_news() -> None:
    journal = Journal(plan(held=True)).baseline().strikes()
    journal.is_lifted(called=3000, returned=3020, last_seen=2990, gone=3030).add(reported(3001))
    assert measured(journal).early == ""
    lost = held_and_lifted().add(ev.FaultLost(fault="f1", cause="removed by somebody", **clock(2550)), reported(2600))
    assert measured(lost).early == "removed by somebody"


# --- detection -----------------------------------------------------------------------------------------------------


def test_detection_lies_between_the_last_look_that_did_not_show_it_and_the_first_that_did() -> None:
    m = measured(killed(HEALTHY + "-----+++++", "----------" + "---+++"))
    assert ms(m.detection) == (1200, 1310)
    assert ms(m.time_to_detect) == (1200 - 1015, 1310 - 1000)


def test_the_time_to_detect_is_printed_from_the_impact_too() -> None:
    m = measured(killed(HEALTHY + "+----+++++", "----------" + "---+++"))
    assert ms(m.impact) == (1000, 1110)
    assert ms(m.time_to_detect_from_impact) == (90, 310)


def test_an_unanswered_look_says_nothing_of_a_detection() -> None:
    m = measured(killed(HEALTHY + "-----+++++", "----------" + "-??+++"))
    assert ms(m.detection) == (1000, 1310)


def test_of_several_signals_each_end_is_the_least() -> None:
    journal = killed(HEALTHY + "-----+++++", "----------" + "-----++", signals=["down", "restarted"])
    journal.looks("restarted", 0, "----------" + "--??++")
    assert ms(measured(journal).detection) == (1100, 1410)


def test_a_signal_never_shown_reaches_from_the_last_look_to_infinity() -> None:
    m = measured(killed(HEALTHY + "-----+++++", "-" * 20))
    assert ms(m.detection) == (1900, math.inf)
    assert not m.detected


def test_times_are_floored_at_nothing() -> None:
    journal = Journal(plan()).baseline().strikes(called=1000, returned=1010, seen="--+", every=100)
    journal.looks("healthy", 0, HEALTHY + "-----+++++").looks("down", 0, "----------" + "+++++")
    assert ms(measured(journal).began) == (1110, 1215)
    assert ms(measured(journal).time_to_detect) == (0, 0)


# --- impact and recovery -------------------------------------------------------------------------------------------


def test_recovery_lies_between_the_last_bad_look_and_the_first_good_one() -> None:
    m = measured(killed(HEALTHY + "-----+++++"))
    assert ms(m.impact) == (1000, 1010)
    assert ms(m.recovery) == (1400, 1510)
    assert ms(m.time_to_recover) == (1400 - 1015, 1510 - 1000)


def test_the_system_recovers_with_its_slowest_probe() -> None:
    journal = killed(HEALTHY + "-----+++++", steady=["healthy", "orders"])
    journal.looks("orders", 0, HEALTHY + "++----++++")
    assert ms(measured(journal).recovery) == (1500, 1610)


def test_no_answer_in_time_breaks_the_steady_state() -> None:
    m = measured(killed(HEALTHY + "-??  +++++"))
    assert ms(m.recovery) == (1200, 1510)


def test_a_time_out_of_our_own_making_breaks_nothing() -> None:
    assert measured(killed(HEALTHY + "!!!+++++++")).impact is None
    assert ms(measured(killed(HEALTHY + "---!!+++++")).recovery) == (1200, 1510)


def test_looks_overlap_and_only_one_asked_after_every_bad_answer_surely_saw_later() -> None:
    journal = killed(HEALTHY + "-").add(look("healthy", 1150, 1160, "+"), look("healthy", 1100, 1300, "-"))
    journal.add(look("healthy", 1290, 1295, "+"), look("healthy", 1310, 1320, "+"))
    assert ms(measured(journal).recovery) == (1100, 1320)


def test_a_look_under_way_when_the_fault_struck_counts() -> None:
    journal = killed(HEALTHY).add(look("healthy", 990, 1100, "-"), look("healthy", 1200, 1210, "+"))
    assert ms(measured(journal).impact) == (1000, 1100)


def test_bad_looks_less_than_a_hold_apart_are_one_outage() -> None:
    m = measured(killed(HEALTHY + "--+++--+++++"))
    assert (m.relapses, ms(m.recovery)) == (0, (1600, 1710))


def test_what_breaks_again_after_a_full_hold_is_a_relapse_and_moves_the_recovery() -> None:
    m = measured(killed(HEALTHY + "--" + "++++++" + "--" + "+++++"))
    assert (m.relapses, ms(m.recovery)) == (1, (1900, 2010))


def test_one_that_never_recovers_does_so_between_its_last_bad_look_and_infinity() -> None:
    assert ms(measured(killed(HEALTHY + "-" * 10)).recovery) == (1900, math.inf)


def test_a_held_fault_counts_the_recovery_from_its_end() -> None:
    journal = Journal(plan(held=True, at_once=True)).baseline().strikes()
    journal.is_lifted(called=3000, returned=3020, last_seen=2990, gone=3030)
    journal.looks("healthy", 0, HEALTHY + "-" * 25 + "+++")
    assert ms(measured(journal).time_to_recover) == (3400 - 3020, 3510 - 2990)


def test_a_recovery_while_the_fault_is_in_place_counts_as_nothing() -> None:
    journal = Journal(plan(held=True)).baseline().strikes()
    journal.is_lifted(called=3000, returned=3020, last_seen=2990, gone=3030)
    journal.looks("healthy", 0, HEALTHY + "-" * 5 + "+" * 30)
    assert ms(measured(journal).time_to_recover) == (0, 0)


def test_a_restored_service_did_not_recover() -> None:
    journal = killed(HEALTHY + "-" * 20 + "+++++")
    journal.add(ev.ServiceRestored(service="engine", procedure="start", succeeded=True, at=2950 * MS, wall=0))
    assert ms(measured(journal).recovery) == (2900, math.inf)


def test_before_its_injection_a_run_has_nothing_to_measure() -> None:
    m = measured(Journal(plan()).baseline().looks("healthy", 0, "---"))
    assert (m.began, m.impact, m.recovery, m.detection, m.in_place) == (None, None, None, None, False)
