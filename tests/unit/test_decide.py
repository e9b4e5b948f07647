"""When a run has seen enough. Times are ms; noticed within 1 s, recovered within 2 s, held 500, settled 1000."""

from __future__ import annotations

from typing import Any

from tests.property.simulation.plans import limits, plan
from tests.property.simulation.writing import MS, Journal, reported
from veloz_chaos.core.decide import hold_over, watch_over

GOOD, SEEN, UNSEEN = "+" * 300, "-" * 12 + "+" * 288, "-" * 300


def ends_at(healthy: str, down: str = SEEN, journal: Journal | None = None, **planned: Any) -> int | None:
    """The first instant at which the watch is over, the journal growing as it is watched."""
    made = journal or Journal(plan(**planned)).baseline().strikes()
    made.looks("healthy", 0, healthy).looks("down", 0, down)
    return next((now for now in range(1050, 29_000, 50) if watch_over(made.plan, so_far(made, now), now * MS)), None)


def so_far(journal: Journal, now: int) -> Any:
    cut = Journal(journal.plan)
    cut.events = [event for event in journal.events if event.at <= now * MS]
    return cut.history()


def broken(looks: int) -> str:
    return ("+" * 10 + "-" * looks).ljust(300, "+")


def test_a_healthy_system_is_watched_until_it_has_settled() -> None:
    assert ends_at(broken(5)) == 1510 + 1000 + 40  # recovered by 1510; the next look that answers is at 2510


def test_a_system_that_nobody_noticed_yet_is_watched_until_the_detection_limit_has_passed() -> None:
    assert ends_at(broken(2), UNSEEN) == 2400  # began by 1015, 1000 to notice, a look of 350


def test_a_slow_detection_limit_outlasts_the_patience_with_the_recovery() -> None:
    assert ends_at(broken(2), UNSEEN, limits=limits(detection=20_000)) == 21_400


def test_a_system_that_was_not_hurt_yet_is_watched_until_it_could_have_been() -> None:
    assert ends_at(GOOD) == 2400


def test_a_system_that_nobody_hurt_is_watched_until_what_was_struck_is_replaced() -> None:
    struck = Journal(plan(of=2)).baseline().strikes().add(reported(1020))
    assert ends_at(GOOD, journal=struck) == 1015 + 12_000 + 1000 + 350 + 35
    replaced = Journal(plan(of=2)).baseline().strikes().add(reported(1020), reported(3000, "replaced"))
    assert ends_at(GOOD, journal=replaced) == 3000 + 1000


def test_a_relapse_makes_the_watch_settle_anew() -> None:
    assert ends_at(("+" * 10 + "---" + "++++++" + "--").ljust(300, "+")) == 2110 + 1000 + 40


def test_a_system_that_never_recovers_is_given_up() -> None:
    assert ends_at("+" * 10 + "-" * 290) == 1015 + 12_000 + 1000 + 350 + 35


def test_a_recovery_just_before_giving_up_is_watched_until_it_has_settled() -> None:
    assert ends_at(broken(45), limits=limits(recovery=None, give_up=5000)) == 5510 + 1000 + 40


def test_a_fault_that_never_was_in_place_leaves_nothing_to_watch() -> None:
    assert ends_at(GOOD, journal=Journal(plan()).baseline().strikes(seen="--")) == 1050


def test_a_recovery_in_place_is_watched_beyond_the_end_of_the_fault() -> None:
    journal = Journal(plan(held=True)).baseline().strikes().is_lifted(3000, 3020, 2990, 3030)
    assert ends_at(broken(5), journal=journal) == 4050  # gone by 3035; 1000 later each last look is of the last period


def held(healthy: str, down: str, **planned: Any) -> int | None:
    """The first instant at which the fault may be lifted."""
    made = Journal(plan(held=True, **{"until_decided": True, **planned})).baseline().strikes()
    made.looks("healthy", 0, healthy).looks("down", 0, down).looks("refused", 0, "-" * 25 + "+" * 100)
    return next((now for now in range(1050, 9_000, 50) if hold_over(made.plan, so_far(made, now), now * MS)), None)


def test_a_fault_is_lifted_a_hold_after_it_was_noticed_and_hurt() -> None:
    assert held(broken(200), SEEN) == 1210 + 500 + 40


def test_a_fault_that_nobody_notices_is_lifted_when_its_limit_has_passed() -> None:
    assert held(broken(200), UNSEEN) == 2400


def test_a_fault_stays_for_what_is_yet_to_be_shown_while_it_lasts() -> None:
    assert held(broken(200), SEEN, while_={"fault": {"eventually": ["refused"]}}) == 2510 + 40


def test_a_fault_of_a_fixed_length_is_never_lifted_early() -> None:
    assert held(broken(200), SEEN, until_decided=False) is None


def test_a_fault_whose_impact_the_order_flow_shows_is_lifted_when_the_flow_has_gone_on_in_it_for_long_enough() -> None:
    shown = ["fault.orders.rate < 1.0"]
    patient = limits(detection=30_000)
    assert held(GOOD, SEEN, impact=shown, limits=patient) == 1015 + 5000 + 35
    assert held(GOOD, SEEN, limits=patient) is None
    assert held(GOOD, UNSEEN, impact=shown, limits=patient) is None


def test_a_system_that_never_broke_is_watched_until_it_has_settled_after_the_fault() -> None:
    shown = ["fault.orders.rate < 1.0"]
    made = Journal(plan(held=True, impact=shown, limits=limits(detection=30_000))).baseline().strikes()
    made.is_lifted(7000, 7020, 6990, 7030)
    assert ends_at(GOOD, journal=made) == 8050
