"""What the three probes of alerts read, of answers as Prometheus 2, Alertmanager 0.25 and our catcher give them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.infra.answers import Answer, answering
from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.probes.alertmanager import Alertmanager
from veloz_chaos.probes.caught import BEYOND, Caught
from veloz_chaos.probes.prometheus_alerts import PrometheusAlerts
from veloz_chaos.probes.prometheus_rules import PrometheusRules

LABELS = {"alertname": "ContainerCrash", "severity": "critical"}
CONFIG = """
route: {receiver: nobody}
inhibit_rules:
  - {source_matchers: ['severity="critical"', "team=~ops|trading"], target_match: {severity: warning}, equal: [cluster]}
  - {source_matchers: ['team=~"(unread"'], target_matchers: [a!=b]}
receivers:
  - name: nobody
  - name: oncall
    pagerduty_configs: [{routing_key: <secret>}]
    slack_configs: [{api_url: <secret>}]
  - name: empty
    webhook_configs: []
"""
METRICS = """
# TYPE alertmanager_notification_requests_total counter
alertmanager_notifications_total{integration="slack"} 9
alertmanager_notification_requests_total{integration="slack"} 3
alertmanager_notification_requests_total{integration="email"} 4
alertmanager_notification_requests_total{integration="pagerduty"} 0
alertmanager_notification_requests_failed_total{integration="slack",reason="other"} 1
alertmanager_notification_requests_failed_total{integration="slack",reason="clientError"} 1
"""


def look(probe: Probe) -> Seen:
    return asyncio.run(probe.look(Eye(timedelta(seconds=10), lambda text: text.replace("${env:TOKEN}", "t-1"))))


def alerts(*states: str) -> Answer:
    told = [{"labels": {**LABELS, "n": str(-n)}, "state": state, "activeAt": "then"} for n, state in enumerate(states)]
    return Answer({"status": "success", "data": {"alerts": told}})


def manager(**other: Answer) -> dict[str, Answer]:
    alert = {
        "labels": LABELS,
        "startsAt": "then",
        "updatedAt": "now",
        "endsAt": "later",
        "status": {"state": "suppressed", "silencedBy": ["s-1"], "inhibitedBy": []},
        "receivers": [{"name": "oncall"}],
    }
    matcher = {"name": "severity", "value": "critical", "isRegex": False}
    silence = {"id": "s-1", "comment": "night", "matchers": [matcher], "status": {"state": "active"}}
    told = {
        "/api/v2/alerts": Answer([alert]),
        "/api/v2/silences": Answer([silence, silence | {"id": "s-0", "status": {"state": "expired"}}]),
        "/api/v2/status": Answer({"config": {"original": CONFIG}}),
        "/metrics": Answer(METRICS),
    }
    return told | {path.replace("_", "/"): answer for path, answer in other.items()}


def test_prometheus_alerts_in_an_order_that_stays() -> None:
    with answering({"/api/v1/alerts": alerts("firing", "pending")}) as server:
        value = look(PrometheusAlerts(url=server.url)).value
    assert [one["state"] for one in value] == ["pending", "firing"]
    assert value[1] == {"labels": {**LABELS, "n": "0"}, "state": "firing", "since": "then"}


def test_behind_a_prefix_and_with_a_token() -> None:
    with answering({"/prometheus/api/v1/alerts": alerts("firing")}) as server:
        probe = PrometheusAlerts(url=f"{server.url}/prometheus/", headers={"authorization": "Bearer ${env:TOKEN}"})
        assert look(probe).value
        assert [one.headers["authorization"] for one in server.asked] == ["Bearer t-1"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer("<html>", status=200), "not Prometheus' list of alerts"),
        (Answer({"status": "success", "data": {"alerts": [{"state": "firing"}]}}), "not Prometheus' list of alerts"),
        (Answer("", status=503), "HTTP 503"),
    ],
)
def test_what_is_not_prometheus_is_no_answer(answer: Answer, error: str) -> None:
    with answering({"/api/v1/alerts": answer}) as server:
        seen = look(PrometheusAlerts(url=server.url))
    assert (seen.error, seen.value) == (error, None)


def rules(*said: dict[str, Any]) -> Answer:
    recorded = {"type": "recording", "name": "up:all", "labels": {"failure": "engine-crash"}}
    groups = [{"name": "g", "rules": [{"type": "alerting", **one} for one in said]}, {"rules": [recorded]}]
    return Answer({"status": "success", "data": {"groups": groups}})


def test_the_rules_of_one_alert_by_their_names_or_by_its_failure() -> None:
    crash = {"name": "ContainerCrash", "labels": {"failure": "engine-crash", "severity": "critical"}}
    answers = {"/api/v1/rules?type=alert": rules(crash, {"name": "DiskFull", "labels": {"failure": "disk-full"}},
                                                 {"name": "Plain"})}  # fmt: skip
    with answering(answers) as server:
        assert look(PrometheusRules(url=server.url, failure="engine-crash")).value == [crash]
        assert look(PrometheusRules(url=server.url, names=["Plain"])).value == [{"name": "Plain", "labels": {}}]
        assert look(PrometheusRules(url=server.url, names=["Other"])).value == []
    with answering({"/api/v1/rules?type=alert": Answer({"data": []})}) as server:
        assert look(PrometheusRules(url=server.url)).error == "not Prometheus' list of rules"


def test_an_alertmanager_tells_alerts_receivers_counts_and_silences() -> None:
    with answering(manager()) as server:
        value = look(Alertmanager(url=server.url)).value
    assert value["alerts"] == [
        {
            "labels": LABELS,
            "state": "suppressed",
            "silenced": ["s-1"],
            "inhibited": [],
            "receivers": ["oncall"],
            "since": "then",
        }
    ]
    assert value["receivers"] == {"nobody": [], "oncall": ["pagerduty", "slack"], "empty": []}
    assert (value["sent"], value["failed"]) == ({"pagerduty": 0, "slack": 3}, {"slack": 2})
    assert value["silences"] == [{"id": "s-1", "comment": "night", "matchers": [["severity", "=", "critical"]]}]
    source = [["severity", "=", "critical"], ["team", "=~", "ops|trading"]]
    assert value["inhibitions"] == [{"source": source, "target": [["severity", "=", "warning"]], "equal": ["cluster"]}]


@pytest.mark.parametrize(
    ("regex", "equal", "operator"), [(False, True, "="), (False, False, "!="), (True, True, "=~"), (True, False, "!~")]
)
def test_a_matcher_of_a_silence_is_read_as_it_is_meant(regex: bool, equal: bool, operator: str) -> None:
    matcher = {"name": "severity", "value": "critical", "isRegex": regex, "isEqual": equal}
    silence = {"id": "s-1", "comment": "", "matchers": [matcher], "status": {"state": "active"}}
    with answering(manager(_api_v2_silences=Answer([silence]))) as server:
        (told,) = look(Alertmanager(url=server.url)).value["silences"]
    assert told["matchers"] == [["severity", operator, "critical"]]


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"_api_v2_alerts": Answer({"alerts": []})}, "not Alertmanager's list of alerts"),
        ({"_api_v2_silences": Answer([{}])}, "not Alertmanager's list of silences"),
        ({"_api_v2_status": Answer({})}, "not Alertmanager's status"),
        ({"_api_v2_status": Answer({"config": {"original": ": ["}})}, "its configuration can't be read"),
        ({"_api_v2_status": Answer({"config": {"original": "receivers: 7"}})}, "its configuration can't be read"),
        ({"_metrics": Answer("", status=502)}, "HTTP 502"),
    ],
)
def test_what_is_not_alertmanager_is_no_answer(other: dict[str, Answer], error: str) -> None:
    with answering(manager(**other)) as server:
        seen = look(Alertmanager(url=server.url))
    assert (seen.error, seen.value) == (error, None)


def note(n: int) -> dict[str, Any]:
    told = {"n": n, "at": 1, "kind": "slack", "name": "chat", "action": "firing", "title": "t" * 1000}
    return told | {"alerts": ["ContainerCrash"], "failures": ["engine-crash"], "truncated": False}


def test_a_catcher_tells_only_what_came_since_the_first_look() -> None:
    path = "/api/notifications?after="
    answers = {
        f"{path}{BEYOND}": Answer({"last": 7, "notifications": []}),
        f"{path}7": Answer({"last": 9, "notifications": [note(8), note(9)]}),
        f"{path}9": Answer({"last": 9, "notifications": []}),
    }
    with answering(answers) as server:
        probe = Caught(url=server.url)
        first, second, third = (look(probe).value for _ in range(3))
    assert (first, third) == ([], [])
    assert [one["n"] for one in second] == [8, 9]
    assert len(second[0]["title"]) == 200


def test_a_catcher_that_began_anew_is_followed() -> None:
    path = "/api/notifications?after="
    answers = {
        f"{path}{BEYOND}": Answer({"last": 7, "notifications": []}),
        f"{path}7": Answer({"last": 1, "notifications": []}),
        f"{path}0": Answer({"last": 1, "notifications": [note(1)]}),
        f"{path}1": Answer({"last": 2, "notifications": [note(2)]}),
    }
    with answering(answers) as server:
        probe = Caught(url=server.url)
        values = [look(probe).value for _ in range(3)]
    assert [[one["n"] for one in value] for value in values] == [[], [1], [2]]


@pytest.mark.parametrize("kind", [PrometheusAlerts, PrometheusRules, Alertmanager, Caught])
def test_a_url_holds_no_password(kind: type[Any]) -> None:
    with pytest.raises(ValidationError, match="write headers"):
        kind(url="http://me:secret@127.0.0.1:9090")
