"""The alert of a run, from what was read of Prometheus, Alertmanager and a catcher. Times are milliseconds.

The engine is killed at 1000 (in place by 1015) and healthy again by 1510; a look every 100 ms takes 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from tests.property.simulation.plans import limits, ms, plan
from tests.property.simulation.writing import LATENCY, MS, Journal, clock, look
from veloz_chaos.core import alert_findings, alerts
from veloz_chaos.core import event as ev
from veloz_chaos.core.alert_chain import Chain
from veloz_chaos.core.decide import watch_over
from veloz_chaos.core.environment import Alerts
from veloz_chaos.core.finding import Finding
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.judge import judge
from veloz_chaos.core.matrix import Alert, ResponseMatrix, Row
from veloz_chaos.core.plan import Plan, PlannedProbe
from veloz_chaos.reports.document import alert, measurement
from veloz_chaos.reports.verdict import alert_table

ROW = Alert(as_="Container Crash", severity="critical", channels=["pagerduty"])
EVERYTHING = {"prometheus": "http://p", "alertmanager": "http://a", "catcher": "http://c"}
LABELS = {"alertname": "ContainerCrash", "failure": "engine-crash", "severity": "critical"}
OTHER = {"alertname": "DiskFull", "failure": "disk-full", "severity": "warning"}
RECEIVERS = {"oncall": ["pagerduty"], "chat": ["slack"]}
END = 4000


def planned(said: Mapping[str, Any] = EVERYTHING, within: int = 1500, row: Alert = ROW, **more: Any) -> Plan:
    site = Alerts.model_validate(said)
    alert = alerts.planned("engine-crash", row, site, ms(within), []).model_copy(update={"resolved": ms(1000)})
    made = plan(limits=limits(recovery=2000), **more)
    every = {"every": ms(100), "timeout": ms(250)}
    looks = {
        name: PlannedProbe(type=kind, arguments={}, ok="true", value="value", **every)
        for name, kind, _ in alerts.probes(site)
    }
    return made.model_copy(update={"alert": alert, "probes": made.probes | looks})


def raised(state: str, labels: Mapping[str, str] = LABELS) -> dict[str, Any]:
    return {"labels": dict(labels), "state": state, "since": "2026-01-01T00:00:00Z"}


def held(
    *labels: Mapping[str, str], to: str = "oncall", sent: int = 0, failed: int = 0, state: str = "active", **more: Any
) -> dict[str, Any]:
    """What an Alertmanager says. One that tells of no attempts to notify (`sent=-1`) does not count them."""
    alerts_ = [
        {"labels": dict(each), "state": state, "silenced": [], "inhibited": [], "receivers": [to], "since": "", **more}
        for each in labels
    ]
    counts = {"sent": {"pagerduty": sent, "slack": 0}, "failed": {"pagerduty": failed, "slack": 0}}
    counts = counts if sent >= 0 else {"sent": {}, "failed": {}}
    return {"alerts": alerts_, "receivers": RECEIVERS, "silences": [], "inhibitions": [], **counts}


def caught(n: int, name: str = "pagerduty", action: str = "firing", failure: str = "engine-crash") -> dict[str, Any]:
    told = {"n": n, "at": 1, "kind": name, "name": name, "action": action, "title": ""}
    return told | {"alerts": ["ContainerCrash"], "failures": [failure]}


def read(probe: str, *told: tuple[int, Any], until: int = END, silent: range = range(0)) -> Iterator[ev.Event]:
    """From each instant on the probe reads this; only what is new is in the journal, as a run writes it."""
    last: Any = None
    for asked in range(0, until, 100):
        if asked in silent:
            yield look(probe, asked, asked + LATENCY, "-")
            continue
        value = [what for since, what in told if since <= asked][-1]
        yield look(probe, asked, asked + LATENCY, "+", **({} if value == last else {"value": value}))
        last = value


#: pending 1210, firing 1510, received 1610, told 1710; over by 2310
PROMETHEUS: Any = ((0, []), (1200, [raised("pending")]), (1500, [raised("firing")]), (2200, []))
MANAGER: Any = ((0, held()), (1600, held(LABELS)), (1700, held(LABELS, sent=1)), (2300, held(sent=2)))
CAUGHT: Any = ((0, []), (1700, [caught(1)]), (1800, []), (2300, [caught(2, action="resolved")]))


def run(
    prometheus: Any = PROMETHEUS,
    manager: Any = MANAGER,
    catcher: Any = CAUGHT,
    made: Plan | None = None,
    until: int = END,
    silent: range = range(0),
    away: Mapping[str, range] = MappingProxyType({}),
) -> Journal:
    """`silent`: when none of them answers; `away`: when one of them does not."""
    made = made or planned()
    journal = Journal(made).baseline().strikes()
    looks = (until - 1500) // 100
    journal.looks("healthy", 0, "+" * 11 + "-" * 4 + "+" * looks).looks("down", 0, "-" * 11 + "+" * 4 + "-" * looks)
    for name, told in (
        (alerts.PROMETHEUS, prometheus),
        (alerts.ALERTMANAGER, manager),
        (alerts.CAUGHT, catcher),
    ):
        if name in made.probes:
            journal.add(*read(name, *told, until=until, silent=away.get(name, silent)))
    return journal.ends(until)


def held_until_3000(prometheus: Any, manager: Any) -> Journal:
    """The system is broken by a fault that is held until 3000 and well again by 3110."""
    made = planned({"prometheus": "http://p", "alertmanager": "http://a"}, held=True, fault_for=2000)
    journal = Journal(made).baseline().strikes(seen="+" * 99).is_lifted(3000, 3005, 2990, 3010)
    journal.looks("healthy", 0, "+" * 11 + "-" * 20 + "+" * 20).looks("down", 0, "-" * 11 + "+" * 20 + "-" * 20)
    until = 5100
    journal.add(*read(alerts.PROMETHEUS, *prometheus, until=until), *read(alerts.ALERTMANAGER, *manager, until=until))
    return journal.ends(until)


def verdicts(journal: Journal) -> dict[str, str]:
    return {
        f.expectation.removeprefix("alert: "): f.verdict for f in journal.judge().findings if "alert" in f.expectation
    }


def said(journal: Journal, title: str) -> Finding:
    return journal.finding(f"alert: {title}")


GOOD = dict.fromkeys(("raised", "severity", "channels", "resolved", "noise"), "passed")


def test_an_alert_that_is_raised_told_and_over_passes_with_every_step_measured() -> None:
    journal = run()
    assert verdicts(journal) == GOOD
    assert journal.judge().verdict == "passed"
    found = said(journal, "raised")
    assert found.measured == Interval((1500 - 1015) * MS, (1610 - 1000) * MS)
    assert (
        "pending 210 ms after the fault, firing 410 ms later (the rule's `for`), received 210 ms later" in found.reason
    )
    assert said(journal, "channels").reason == "delivered to pagerduty: within the limit"
    assert said(journal, "channels").measured == Interval((1600 - 1015) * MS, (1710 - 1000) * MS)
    assert said(journal, "resolved").measured == Interval((2200 - 1510) * MS, (2310 - 1400) * MS)


def test_without_a_catcher_the_counters_tell_and_without_them_the_route() -> None:
    less = planned({"prometheus": "http://p", "alertmanager": "http://a"})
    assert said(run(made=less), "channels").reason == "notified to pagerduty: within the limit"
    uncounted: Any = ((0, held(sent=-1)), (1600, held(LABELS, sent=-1)), (2300, held(sent=-1)))
    assert said(run(made=less, manager=uncounted), "channels").reason == "routed to pagerduty: within the limit"


def test_with_prometheus_alone_nobody_knows_who_was_told() -> None:
    found = verdicts(run(made=planned({"prometheus": "http://p"})))
    assert found == GOOD | {"channels": "inconclusive"}


def test_an_alert_that_is_never_raised_fails_and_the_rest_is_open() -> None:
    journal = run(((0, []),), ((0, held()),), ((0, []),))
    open_ = dict.fromkeys(("severity", "channels", "resolved"), "inconclusive")
    assert verdicts(journal) == GOOD | open_ | {"raised": "failed"}
    assert said(journal, "raised").reason == "Container Crash was not raised within 1.5 s"


def test_one_that_stays_on_the_way_is_told_how_far_it_came() -> None:
    nothing: Any = {"manager": ((0, held()),), "catcher": ((0, []),)}
    assert (
        "was pending, but not firing" in said(run(((0, []), (1200, [raised("pending")])), **nothing), "raised").reason
    )
    assert "no Alertmanager received it" in said(run(**nothing), "raised").reason


def test_one_that_comes_too_late_fails() -> None:
    found = said(run(made=planned(within=400)), "raised")
    assert found.verdict == "failed"
    assert found.reason.startswith("took at least 485 ms, the limit is 400 ms")


def test_one_that_was_not_looked_for_long_enough_is_open() -> None:
    journal = run(((0, []),), ((0, held()),), ((0, []),), silent=range(1100, 2600))
    assert said(journal, "raised").verdict == "inconclusive"
    assert "without a look" in said(journal, "raised").reason


def test_a_watch_that_was_shorter_than_the_limit_says_nothing() -> None:
    found = said(run(((0, []),), ((0, held()),), ((0, []),), until=2400), "raised")
    assert (found.verdict, found.reason) == ("inconclusive", "the watch ended before the limit of 1.5 s")


def test_time_without_an_answer_widens_the_step() -> None:
    found = said(run(silent=range(1300, 1700)), "raised")
    assert found.measured == Interval((1200 - 1015) * MS, (1710 - 1000) * MS)


@pytest.mark.parametrize(
    ("within", "verdict"), [(300, "failed"), (500, "inconclusive"), (9000, "passed"), (None, "passed")]
)
def test_todays_matrix_may_ask_for_an_old_runs_alert_sooner(within: int | None, verdict: str) -> None:
    alert_ = ROW.model_copy(update={"within": within and ms(within)})
    row = Row(title="Engine Crash", detection=ms(1000), recovery=ms(2000), alert=alert_)
    today = ResponseMatrix(
        kind="ResponseMatrix", version=1, immediate=ms(50), give_up=ms(60_000), rows={"engine-crash": row}
    )
    judged = judge(run().history(), today)
    assert next(f.verdict for f in judged.findings if f.expectation == "alert: raised") == verdict


def test_the_wrong_severity_fails() -> None:
    wrong = LABELS | {"severity": "warning"}
    found = said(run(((0, []), (1200, [raised("firing", wrong)]), (2200, []))), "severity")
    assert (found.verdict, found.reason) == ("failed", "it says warning; the document says critical")


def test_a_sites_own_severity_is_the_right_one() -> None:
    made = planned(EVERYTHING | {"severities": {"critical": "page"}})
    own = LABELS | {"severity": "page"}
    journal = run(
        ((0, []), (1200, [raised("firing", own)]), (2200, [])),
        ((0, held()), (1600, held(own)), (2300, held())),
        made=made,
    )
    assert said(journal, "severity").verdict == "passed"


def test_a_channel_that_is_not_reached_fails() -> None:
    elsewhere: Any = ((0, held()), (1600, held(LABELS, to="chat")), (2300, held()))
    found = said(run(manager=elsewhere, catcher=((0, []), (1700, [caught(1, "slack")]))), "channels")
    assert (found.verdict, found.reason) == ("failed", "not pagerduty, but slack: the document says pagerduty")
    found = said(run(catcher=((0, []),)), "channels")
    assert (found.verdict, found.reason) == ("failed", "not delivered to pagerduty")


def test_a_channel_too_many_fails() -> None:
    found = said(run(catcher=((0, []), (1700, [caught(1), caught(2, "slack")]))), "channels")
    assert (found.verdict, found.reason) == ("failed", "also slack: the document says pagerduty")


def test_two_channels_are_both_wanted() -> None:
    both = ROW.model_copy(update={"channels": ["slack", "pagerduty"]})
    found = said(run(made=planned(row=both)), "channels")
    assert (found.verdict, found.reason) == ("failed", "not routed to slack")


def test_notifications_that_fail_are_told() -> None:
    less = planned({"prometheus": "http://p", "alertmanager": "http://a"})
    failing: Any = (
        (0, held()),
        (1600, held(LABELS)),
        (1700, held(LABELS, sent=2, failed=2)),
        (1800, held(LABELS, sent=3, failed=3)),
        (2300, held(sent=3, failed=3)),
    )
    found = said(run(made=less, manager=failing), "channels")
    assert (found.verdict, found.reason) == ("failed", "not notified to pagerduty; 3 to pagerduty failed")
    mended: Any = (*failing[:3], (1800, held(LABELS, sent=3, failed=2)), (2300, held(sent=4, failed=2)))
    assert said(run(made=less, manager=mended), "channels").verdict == "passed"


def test_what_is_routed_but_never_leaves_an_alertmanager_that_counts_fails() -> None:
    less = planned({"prometheus": "http://p", "alertmanager": "http://a"})
    waits: Any = ((0, held()), (1600, held(LABELS)), (2300, held()))
    found = said(run(made=less, manager=waits), "channels")
    assert (found.verdict, found.reason) == ("failed", "not notified to pagerduty")
    muted = held(LABELS, state="suppressed", inhibited=["other"])
    found = said(run(made=less, manager=(*waits[:2], (1700, muted), (2300, held()))), "channels")
    assert found.reason == "not notified to pagerduty; muted by an inhibition"


def test_an_alertmanager_that_began_anew_counts_from_nothing() -> None:
    less = planned({"prometheus": "http://p", "alertmanager": "http://a"})
    anew: Any = ((0, held(sent=7)), (1600, held(LABELS, sent=7)), (1700, held(LABELS, sent=1)), (2300, held(sent=2)))
    assert said(run(made=less, manager=anew), "channels").reason == "notified to pagerduty: within the limit"


def test_receivers_of_the_site_count_as_the_documents_channels() -> None:
    made = planned({"prometheus": "http://p", "alertmanager": "http://a", "channels": {"pagerduty": ["oncall"]}})
    assert said(run(made=made), "channels").verdict == "passed"
    made = planned({"prometheus": "http://p", "alertmanager": "http://a", "channels": {"pagerduty": ["night"]}})
    assert said(run(made=made), "channels").reason == "not pagerduty, but oncall/pagerduty: the document says pagerduty"


def test_one_that_stays_after_the_recovery_fails() -> None:
    stays: Any = ((0, []), (1200, [raised("firing")]))
    found = said(run(stays), "resolved")
    assert found.verdict == "failed"
    assert found.reason.startswith("still there 2.4 s after the recovery")


def test_one_that_comes_back_is_over_when_it_is_gone_for_good() -> None:
    again: Any = (*PROMETHEUS, (2600, [raised("firing")]), (3200, []))
    assert said(run(again), "resolved").measured == Interval((3100 - 1510) * MS, (3210 - 1400) * MS)


def test_what_else_comes_up_is_noise_and_what_was_there_is_not() -> None:
    storm: Any = ((0, held(OTHER)), (1600, held(LABELS, OTHER)), (2300, held(OTHER)))
    assert said(run(manager=storm), "noise").verdict == "passed"
    storm = ((0, held()), (1600, held(LABELS, OTHER)), (2300, held(OTHER)))
    found = said(run(manager=storm), "noise")
    assert (found.verdict, found.reason) == ("failed", "also raised: DiskFull (disk-full)")
    muted: Any = ((0, held()), (1500, held(OTHER, state="suppressed")), (1600, held(LABELS)), (2300, held()))
    assert said(run(manager=muted), "noise").verdict == "passed"


def test_what_nobody_was_told_of_before_hides_no_noise_of_the_same_name() -> None:
    """Silenced for one service when the fault struck, and raised for another one by it."""
    other = OTHER | {"service": "payments"}
    before = held(OTHER | {"service": "orders"}, state="suppressed")
    for was in (before, held(OTHER | {"service": "orders"})):
        storm: Any = ((0, was), (1600, held(LABELS, other)), (2300, held(sent=1)))
        assert said(run(manager=storm), "noise").verdict == "failed"


def test_what_the_experiment_allows_is_no_noise() -> None:
    made = planned()
    assert made.alert is not None
    made = made.model_copy(update={"alert": made.alert.model_copy(update={"also": ["DiskFull"]})})
    storm: Any = ((0, held()), (1600, held(LABELS, OTHER)), (2300, held()))
    assert said(run(manager=storm, made=made), "noise").verdict == "passed"


def test_an_alert_that_is_muted_fails_by_what_muted_it() -> None:
    muted: Any = ((0, held()), (1600, held(LABELS, state="suppressed", silenced=["s-1"])), (2300, held()))
    found = said(run(manager=muted, catcher=((0, []),)), "raised")
    assert (found.verdict, found.reason) == ("failed", "Container Crash was muted by silence s-1")


def test_of_several_alertmanagers_one_is_enough() -> None:
    made = planned(EVERYTHING | {"alertmanager": ["http://a", "http://b"]})
    journal = run(made=made)
    journal.add(
        *read(f"{alerts.ALERTMANAGER}-1", (0, held()), silent=range(END)), *read(f"{alerts.ALERTMANAGER}-2", *MANAGER)
    )
    assert verdicts(journal) == GOOD


# --- bad luck ------------------------------------------------------------------------------------------------------


def test_a_catcher_that_is_silent_proves_nothing() -> None:
    """Neither that somebody was told, nor that nobody was."""
    journal = run(catcher=((0, []),))
    assert said(journal, "channels").verdict == "failed"  # it answers, and has nothing
    journal = run(away={alerts.CAUGHT: range(END)})
    found = said(journal, "channels")
    assert found.verdict == "inconclusive"
    assert "without a look of alerts:caught" in found.reason
    assert verdicts(journal) == GOOD | {"channels": "inconclusive"}


def test_a_catcher_that_goes_silent_may_not_have_told_all() -> None:
    found = said(run(away={alerts.CAUGHT: range(2000, END)}), "channels")
    assert (found.verdict, found.reason.split(":")[-1]) == ("inconclusive", " nobody knows who else was told")
    assert said(run(away={alerts.CAUGHT: range(1100, 1600)}), "channels").verdict == "passed"


def test_what_is_routed_wrong_fails_though_the_catcher_is_silent() -> None:
    elsewhere: Any = ((0, held()), (1600, held(LABELS, to="chat")), (2300, held()))
    found = said(run(away={alerts.CAUGHT: range(END)}, manager=elsewhere), "channels")
    assert (found.verdict, found.reason) == ("failed", "not pagerduty, but slack: the document says pagerduty")


def test_one_that_was_over_before_the_fault_is_judged_by_what_came_after() -> None:
    """A baseline in which it is there is refused; this one came and went before."""
    before: Any = ((0, []), (300, [raised("firing")]), (600, []))
    told: Any = ((0, held()), (400, held(LABELS)), (700, held()))
    assert verdicts(run((*before, *PROMETHEUS[1:]), (*told, *MANAGER[1:]))) == GOOD
    assert said(run(before, told, ((0, []),)), "raised").verdict == "failed"


@pytest.mark.parametrize("there", [raised("pending"), raised("firing")])
def test_one_that_comes_between_the_baseline_and_the_fault_proves_nothing(there: dict[str, Any]) -> None:
    journal = run(((0, []), (900, [there]), *PROMETHEUS[2:]))
    open_ = dict.fromkeys(("raised", "severity", "channels", "resolved"), "inconclusive")
    assert verdicts(journal) == open_ | {"noise": "passed"}
    assert said(journal, "raised").reason == alert_findings.EARLY


def test_one_that_may_have_come_in_a_silence_before_the_fault_proves_nothing() -> None:
    """Read until 300, and again from 1200 on."""
    there: Any = ((0, []), (400, [raised("firing")]), (2200, []))
    told: Any = ((0, held()), (400, held(LABELS)), (1200, held(LABELS, sent=1)), (2300, held(sent=2)))
    journal = Journal(planned()).baseline(-1000).looks("healthy", -1000, "+" * 21 + "-" * 4 + "+" * 26)
    journal.strikes().looks("down", -1000, "-" * 21 + "+" * 4 + "-" * 26)
    for name, said_ in ((alerts.PROMETHEUS, there), (alerts.ALERTMANAGER, told), (alerts.CAUGHT, CAUGHT)):
        journal.add(*read(name, *said_, silent=range(0, 1200)))
    journal.add(*(look(name, -900, -890, "+", value=value) for name, value in
                  ((alerts.PROMETHEUS, []), (alerts.ALERTMANAGER, held()), (alerts.CAUGHT, []))))  # fmt: skip
    open_ = dict.fromkeys(("raised", "severity", "channels", "resolved"), "inconclusive")
    assert {title: found for title, found in verdicts(journal.ends(END)).items() if title in open_} == open_
    assert said(journal, "raised").reason.startswith("alerts:prometheus gave no answer just before the strike")
    assert verdicts(run(silent=range(500, 1000))) == GOOD


def test_one_that_a_slow_fault_raises_before_it_is_wholly_in_place_is_its_own() -> None:
    """Asked for at 1000, found in place from 1310 on; pending at 1210."""
    made = planned()
    journal = Journal(made).baseline().strikes(seen="-" * 15 + "+" * 20)
    journal.looks("healthy", 0, "+" * 14 + "-" * 4 + "+" * 22).looks("down", 0, "-" * 14 + "+" * 4 + "-" * 22)
    early: Any = ((0, []), (1200, [raised("firing")]), (2200, []))
    told: Any = ((0, held()), (1250, held(LABELS)), (1700, held(LABELS, sent=1)), (2300, held(sent=2)))
    journal.add(*read(alerts.PROMETHEUS, *early), *read(alerts.ALERTMANAGER, *told), *read(alerts.CAUGHT, *CAUGHT))
    journal.ends(END)
    assert verdicts(journal) == GOOD
    assert said(journal, "raised").measured == Interval(0, (1310 - 1290) * MS)


def test_alerts_of_another_environment_are_neither_the_wanted_one_nor_noise() -> None:
    made = planned(EVERYTHING | {"rules": {"engine-crash": ["ContainerCrash"]}, "labels": {"stage": "test"}})
    theirs = {"alertname": "ContainerCrash", "severity": "critical", "stage": "production"}
    ours = theirs | {"stage": "test"}
    here = {name: value for name, value in ours.items() if name != "stage"}  # what it is sent with is not shown yet
    other = OTHER | {"stage": "production"}

    def told(*labels: Mapping[str, str]) -> Journal:
        prometheus: Any = ((0, []), (1500, [raised("firing", {**one, "stage": "production"}) for one in labels[:1]]))
        if ours in labels:
            prometheus = ((0, []), (1500, [raised("firing", here)]), (2200, []))
        return run(prometheus, ((0, held()), (1600, held(*labels, sent=1)), (2300, held(other, sent=1))), made=made)

    assert verdicts(told(ours, other)) == GOOD
    found = told(theirs, other)
    assert (said(found, "raised").verdict, said(found, "noise").verdict) == ("failed", "passed")
    assert said(told(ours, OTHER | {"stage": "test"}), "noise").verdict == "failed"
    there = Journal(made).baseline().add(*read(alerts.ALERTMANAGER, (0, held(theirs)), until=1000))
    assert alert_findings.refusals(made, there.history()) == []


def test_one_that_is_over_while_the_system_is_still_broken_fails() -> None:
    """The fault is held until 3000, and the system broken by it as long."""
    over: Any = ((0, []), (1200, [raised("firing")]), (2000, []))
    found = said(held_until_3000(over, ((0, held()), (1300, held(LABELS)), (2100, held()))), "resolved")
    assert found.verdict == "failed"
    assert found.reason == "it was over at least 880 ms before the fault, and the system was still broken"
    late: Any = ((0, []), (1200, [raised("firing")]), (3200, []))
    found = said(held_until_3000(late, ((0, held()), (1300, held(LABELS)), (3300, held()))), "resolved")
    assert found.verdict == "passed"


def test_a_prometheus_that_begins_anew_forgets_and_finds_it_again() -> None:
    """Away from 1700 on; back at 2200 without any alert, until its rules were evaluated."""
    made = planned({"prometheus": "http://p"})
    anew: Any = (*PROMETHEUS[:3], (2200, []), (2400, [raised("firing")]), (2900, []))
    journal = run(anew, away={alerts.PROMETHEUS: range(1700, 2200)}, made=made)
    assert said(journal, "raised").verdict == "passed"
    assert said(journal, "resolved").measured == Interval((2800 - 1510) * MS, (2910 - 1400) * MS)


def test_one_that_is_gone_with_the_memory_of_its_only_teller_is_open() -> None:
    gone: Any = (*PROMETHEUS[:3], (2200, []))
    alone = planned({"prometheus": "http://p"})
    found = said(run(gone, away={alerts.PROMETHEUS: range(1700, 2200)}, made=alone), "resolved")
    assert found.verdict == "inconclusive"
    assert found.reason.startswith("alerts:prometheus gave no answer, and had it no longer afterwards")
    assert said(run(gone, MANAGER[:3], away={alerts.PROMETHEUS: range(1700, 2200)}), "resolved").verdict == "failed"
    # a look or two that are lost are no beginning anew, and an Alertmanager that saw its end knows better
    assert said(run(gone, away={alerts.PROMETHEUS: range(2000, 2200)}, made=alone), "resolved").verdict == "passed"
    assert said(run(gone, away={alerts.PROMETHEUS: range(1700, 2200)}), "resolved").verdict == "passed"


def test_an_alertmanager_that_began_anew_within_a_look_or_two_is_known_by_its_counts() -> None:
    alone = planned({"alertmanager": "http://a"})
    quick = {alerts.ALERTMANAGER: range(2200, 2300)}
    for sent, verdict in ((0, "inconclusive"), (1, "passed")):
        gone: Any = ((0, held()), (1600, held(LABELS)), (1700, held(LABELS, sent=1)), (2300, held(sent=sent)))
        assert said(run(manager=gone, made=alone, away=quick), "resolved").verdict == verdict


def test_one_whose_teller_stays_away_is_open_and_not_still_there() -> None:
    found = said(run(away={alerts.PROMETHEUS: range(1700, END)}), "resolved")
    assert found.verdict == "inconclusive"
    assert "without a look of alerts:prometheus" in found.reason
    stays: Any = PROMETHEUS[:3]
    found = said(run(stays, away={alerts.PROMETHEUS: range(3500, END)}), "resolved")
    assert found.verdict == "failed"  # it had said so for longer than the limit


def test_what_comes_back_with_a_teller_that_began_anew_is_no_noise() -> None:
    anew: Any = ((0, held(OTHER)), (1600, held(LABELS, OTHER)), (1700, held(sent=1)), (1800, held(LABELS, OTHER)))
    assert said(run(manager=(*anew, (2300, held()))), "noise").verdict == "passed"
    new = OTHER | {"failure": "oom-kill"}
    assert said(run(manager=(*anew, (2300, held(new)))), "noise").verdict == "failed"


@pytest.mark.parametrize("dies", [1500, 1800, 2100])
def test_of_two_alertmanagers_one_may_die_at_any_time(dies: int) -> None:
    made = planned(EVERYTHING | {"alertmanager": ["http://a", "http://b"]})
    journal = run(made=made)
    journal.add(*read(f"{alerts.ALERTMANAGER}-1", *MANAGER, silent=range(dies, END)))
    journal.add(*read(f"{alerts.ALERTMANAGER}-2", *MANAGER))
    assert verdicts(journal) == GOOD


def test_of_two_alertmanagers_the_one_that_still_has_it_counts_while_it_answers() -> None:
    made = planned(EVERYTHING | {"alertmanager": ["http://a", "http://b"]})
    journal = run(made=made)
    journal.add(*read(f"{alerts.ALERTMANAGER}-1", *MANAGER[:3]), *read(f"{alerts.ALERTMANAGER}-2", *MANAGER))
    assert said(journal, "resolved").verdict == "failed"


def test_a_dead_alertmanager_may_have_told_what_the_other_did_not() -> None:
    made = planned({"prometheus": "http://p", "alertmanager": ["http://a", "http://b"]})
    quiet: Any = ((0, held()), (1600, held(LABELS)), (2300, held()))
    journal = run(made=made)
    journal.add(*read(f"{alerts.ALERTMANAGER}-1", *quiet, silent=range(1800, END)))
    journal.add(*read(f"{alerts.ALERTMANAGER}-2", *quiet))
    found = said(journal, "channels")
    assert found.verdict == "inconclusive"
    assert "without a look of alerts:alertmanager-1" in found.reason
    journal = run(made=made)
    journal.add(*read(f"{alerts.ALERTMANAGER}-1", *quiet), *read(f"{alerts.ALERTMANAGER}-2", *quiet))
    assert said(journal, "channels").verdict == "failed"


def test_clocks_that_differ_by_minutes_change_nothing() -> None:
    def shifted(told: Any, since: str) -> Any:
        def moved(one: dict[str, Any]) -> dict[str, Any]:
            return one | {"since": since} if "since" in one else one

        return tuple(
            (at, [moved(one) for one in value] if isinstance(value, list)
             else value | {"alerts": [moved(one) for one in value["alerts"]]})
            for at, value in told
        )  # fmt: skip

    late = [(at, [one | {"at": one["at"] + 600 * 10**9} for one in value]) for at, value in CAUGHT]
    journal = run(shifted(PROMETHEUS, "2026-01-01T00:07:00Z"), shifted(MANAGER, "2025-12-31T23:51:00Z"), late)
    assert verdicts(journal) == GOOD
    assert journal.judge().chain == run().judge().chain


def test_a_placebo_raises_nothing() -> None:
    made = planned(placebo=True)
    for told, verdict in ((((0, held()),), "passed"), (MANAGER, "failed")):
        journal = Journal(made).baseline().looks("healthy", 0, "+" * 40).looks("down", 0, "-" * 40)
        journal.add(*read(alerts.PROMETHEUS, (0, [])), *read(alerts.CAUGHT, (0, [])), *read(alerts.ALERTMANAGER, *told))
        assert journal.ends(END).finding("placebo: no alert").verdict == verdict


# --- before and during a run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prometheus", "manager", "reason"),
    [
        ([raised("pending")], held(), "alert ContainerCrash (engine-crash) is there already"),
        ([], held(LABELS), "alert ContainerCrash (engine-crash) is there already"),
        ([raised("firing", OTHER)], held(OTHER), ""),
    ],
)
def test_an_alert_that_is_there_already_refuses_the_start(prometheus: Any, manager: Any, reason: str) -> None:
    journal = Journal(planned()).baseline()
    journal.add(
        *read(alerts.PROMETHEUS, (0, prometheus), until=1000), *read(alerts.ALERTMANAGER, (0, manager), until=1000)
    )
    assert alert_findings.refusals(planned(), journal.history()) == ([reason] if reason else [])


@pytest.mark.parametrize(
    ("matcher", "swallows"),
    [
        (["severity", "=", "critical"], True),
        (["failure", "=~", "engine.*"], True),
        (["severity", "!~", "warning|info"], True),
        (["severity", "!=", "critical"], False),
        (["instance", "=", "db-7"], False),
        (["severity", "=~", "(?i"], False),
    ],
)
def test_a_silence_that_swallows_it_refuses_the_start(matcher: list[str], swallows: bool) -> None:
    value = held() | {"silences": [{"id": "s-1", "comment": "night shift", "matchers": [matcher]}]}
    journal = Journal(planned()).baseline().add(*read(alerts.ALERTMANAGER, (0, value), until=1000))
    wanted = ["silence s-1 (night shift) would swallow Container Crash"] if swallows else []
    assert alert_findings.refusals(planned(), journal.history()) == wanted


NODE_DOWN = {"alertname": "NodeDown", "instance": "node-7", "severity": "critical", "cluster": "staging"}
BY_NODE, ENGINES = ["alertname", "=", "NodeDown"], ["failure", "=", "engine-crash"]


@pytest.mark.parametrize(
    ("source", "target", "equal", "swallows"),
    [
        ([BY_NODE], [ENGINES], [], True),
        ([["instance", "=", "node-7"]], [["severity", "=~", "critical|high"]], ["severity"], False),  # it may be both
        ([["alertname", "!=", "x"]], [["severity", "=", "critical"]], [], False),
        ([BY_NODE], [ENGINES], ["cluster"], True),  # by what the environment says of all its alerts
        ([["severity", "=", "critical"]], [ENGINES], [], True),
        ([["severity", "=", "critical"]], [["severity", "=~", ".*"]], [], False),  # both fit both sides
        ([["alertname", "=", "DiskFull"]], [ENGINES], [], False),  # nothing is there that it needs
        ([BY_NODE], [["severity", "=", "warning"]], [], False),
        ([BY_NODE], [["team", "=", "trading"]], [], False),  # nobody knows its team
        ([BY_NODE], [ENGINES], ["instance"], False),  # nor its instance
    ],
)
def test_an_inhibition_that_swallows_it_refuses_the_start(
    source: list[list[str]], target: list[list[str]], equal: list[str], swallows: bool
) -> None:
    made = planned(EVERYTHING | {"labels": {"cluster": "staging"}})
    value = held(NODE_DOWN) | {"inhibitions": [{"source": source, "target": target, "equal": equal}]}
    journal = Journal(made).baseline().add(*read(alerts.ALERTMANAGER, (0, value), until=1000))
    reasons = alert_findings.refusals(made, journal.history())
    assert len(reasons) == swallows
    assert all("while NodeDown (node-7) is active, would swallow Container Crash" in reason for reason in reasons)


def test_the_refusal_names_the_inhibition_by_both_its_sides() -> None:
    rule = {"source": [BY_NODE], "target": [ENGINES, ["severity", "=~", "critical|high"]], "equal": []}
    made = planned(EVERYTHING)
    value = held(NODE_DOWN) | {"inhibitions": [rule]}
    journal = Journal(made).baseline().add(*read(alerts.ALERTMANAGER, (0, value), until=1000))
    assert alert_findings.refusals(made, journal.history()) == [
        'the inhibition of {failure="engine-crash", severity=~"critical|high"} by {alertname="NodeDown"}, '
        "while NodeDown (node-7) is active, would swallow Container Crash"
    ]


def test_what_the_rule_attaches_is_known_beforehand() -> None:
    """Of rules of several severities that of the document counts; without any, whichever there is."""
    inhibition = {"source": [BY_NODE], "target": [["team", "=", "trading"]], "equal": ["cluster"]}
    value = held(NODE_DOWN) | {"inhibitions": [inhibition]}

    def refusals(*rules: tuple[str, str]) -> list[str]:
        told = [{"name": "ContainerCrash", "labels": {"severity": severity, "team": team, "cluster": "staging"}}
                for severity, team in rules]  # fmt: skip
        journal = Journal(planned()).baseline()
        journal.add(*read(alerts.ALERTMANAGER, (0, value), until=1000), *read(alerts.RULES, (0, told), until=100))
        return alert_findings.refusals(planned(), journal.history())

    assert refusals() == []
    assert len(refusals(("critical", "trading"))) == 1
    assert refusals(("critical", "{{ $labels.team }}")) == []
    assert refusals(("critical", "risk"), ("warning", "trading")) == []
    assert len(refusals(("warning", "trading"))) == 1


def test_an_inhibition_that_needs_what_is_over_swallows_nothing() -> None:
    rule = {"inhibitions": [{"source": [BY_NODE], "target": [ENGINES], "equal": []}]}
    journal = Journal(planned()).baseline()
    journal.add(*read(alerts.ALERTMANAGER, (0, held(NODE_DOWN) | rule), (500, held() | rule), until=1000))
    assert alert_findings.refusals(planned(), journal.history()) == []


def test_nobody_who_answers_refuses_the_start() -> None:
    made = planned(EVERYTHING | {"alertmanager": ["http://a", "http://b"]})
    journal = Journal(made).baseline()
    for name, told in ((alerts.PROMETHEUS, []), (f"{alerts.ALERTMANAGER}-1", held())):
        journal.add(*read(name, (0, told), until=1000, silent=range(0, 1000)))
    journal.add(*read(f"{alerts.ALERTMANAGER}-2", (0, held()), until=1000))
    reasons = alert_findings.unanswered(made, journal.history(), 0)
    assert [reason.split(":")[1].split()[0] for reason in reasons] == ["prometheus"]


def test_a_run_watches_until_the_alert_is_over() -> None:
    def over(until: int) -> bool:
        journal = run(until=until)
        journal.events = [event for event in journal.events if not isinstance(event, ev.RunEnded)]
        return watch_over(journal.plan, journal.history(), clock(until)["at"])

    assert not over(2200)
    assert over(2800)


def test_the_alert_of_a_system_that_stays_broken_is_waited_for_too() -> None:
    """Beyond the time that a recovery is waited for."""

    def over(until: int) -> bool:
        journal = Journal(planned(within=20_000)).baseline().strikes()
        journal.looks("healthy", 0, "+" * 11 + "-" * (until // 100 - 11))
        journal.looks("down", 0, "-" * 11 + "+" * (until // 100 - 11))
        journal.add(
            *read(alerts.PROMETHEUS, (0, []), until=until), *read(alerts.ALERTMANAGER, (0, held()), until=until)
        )
        return watch_over(journal.plan, journal.history(), clock(until)["at"])

    assert not over(18_000)
    assert over(22_000)


# --- told ----------------------------------------------------------------------------------------------------------


def test_the_report_tells_where_the_time_went() -> None:
    journal = run()
    lines = alert_table(journal.judge())
    assert [line.split("  ")[0] for line in lines[3:]] == [
        "pending",
        "firing (the rule's `for`)",
        "received",
        "delivered to pagerduty",
        "resolved",
    ]
    assert "85–210 ms" in lines[3]
    assert "190–410 ms" in lines[4]


def test_json_holds_every_step() -> None:
    told = measurement(run().judge().measurement, 0) | {"alert": alert(run().judge().chain or Chain(), 0)}
    assert told["alert"]["pending"] == {"at_least": 1.1, "at_most": 1.21}
    assert told["alert"]["delivered"] == {"pagerduty": {"at_least": 1.6, "at_most": 1.71}}
    assert told["alert"]["severities"] == ["critical"]
