"""The alert of a run, from what was read of Prometheus, Alertmanager and a catcher. Times are milliseconds.

The engine is killed at 1000 (in place by 1015) and healthy again by 1510; a look every 100 ms takes 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from veloz_chaos.core.matrix import Alert
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
    """What an Alertmanager says."""
    alerts_ = [
        {"labels": dict(each), "state": state, "silenced": [], "inhibited": [], "receivers": [to], "since": "", **more}
        for each in labels
    ]
    counts = {"sent": {"pagerduty": sent} if sent else {}, "failed": {"pagerduty": failed} if failed else {}}
    return {"alerts": alerts_, "receivers": RECEIVERS, "silences": [], **counts}


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
    **more: Any,
) -> Journal:
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
            journal.add(*read(name, *told, until=until, **more))
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
    uncounted: Any = ((0, held()), (1600, held(LABELS)), (2300, held()))
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
    failing: Any = ((0, held()), (1600, held(LABELS)), (1700, held(LABELS, failed=3)), (2300, held(failed=3)))
    found = said(run(made=less, manager=failing), "channels")
    assert (found.verdict, found.reason) == ("failed", "not notified to pagerduty; 3 to pagerduty failed")


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
        ({"name": "severity", "value": "critical", "regex": False, "equal": True}, True),
        ({"name": "failure", "value": "engine.*", "regex": True, "equal": True}, True),
        ({"name": "severity", "value": "critical", "regex": False, "equal": False}, False),
        ({"name": "instance", "value": "db-7", "regex": False, "equal": True}, False),
    ],
)
def test_a_silence_that_swallows_it_refuses_the_start(matcher: dict[str, Any], swallows: bool) -> None:
    value = held() | {"silences": [{"id": "s-1", "comment": "night shift", "matchers": [matcher]}]}
    journal = Journal(planned()).baseline().add(*read(alerts.ALERTMANAGER, (0, value), until=1000))
    wanted = ["silence s-1 (night shift) would swallow Container Crash"] if swallows else []
    assert alert_findings.refusals(planned(), journal.history()) == wanted


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
