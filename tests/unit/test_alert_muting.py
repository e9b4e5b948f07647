"""What would swallow an alert, said beforehand, against what the real Alertmanager does with it then; and its
counts of a channel that is dead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.infra import alertmanager
from tests.infra.require import absent
from tests.infra.toxiproxy import free_port
from veloz_chaos.core import alerts
from veloz_chaos.core.alert_muting import muting
from veloz_chaos.core.alerts import PlannedAlert
from veloz_chaos.core.environment import Alerts
from veloz_chaos.core.matrix import Alert
from veloz_chaos.core.probe import Eye
from veloz_chaos.probes.alertmanager import Alertmanager

pytestmark = pytest.mark.prometheus
ROW = Alert(as_="Engine Crash", severity="critical", channels=["webhook"])
#: What comes, and what is there before.
COMES = {"alertname": "EngineCrash", "severity": "critical", "cluster": "staging", "team": "trading"}
THERE = {"alertname": "NodeDown", "severity": "critical", "cluster": "staging", "node": "7"}
RULES = {
    "surely": {"source_matchers": ['alertname="NodeDown"'], "target_matchers": ['alertname="EngineCrash"']},
    "by-regex": {"source_match_re": {"node": "[0-9]+"}, "target_match_re": {"alertname": "Engine.*|Gateway.*"}},
    "equal": {"source_matchers": ["node!=''"], "target_matchers": ["severity=critical"], "equal": ["cluster"]},
    "both-lack-it": {"source_matchers": ["node=7"], "target_match": {"alertname": "EngineCrash"}, "equal": ["zone"]},
    "unequal": {"source_match": {"node": "7"}, "target_match": {"alertname": "EngineCrash"}, "equal": ["alertname"]},
    "not-there": {"source_match": {"node": "8"}, "target_match": {"alertname": "EngineCrash"}},
    "other-target": {"source_match": {"node": "7"}, "target_match": {"alertname": "GatewayCrash"}},
    "both-fit-both": {"source_match": {"severity": "critical"}, "target_match": {"severity": "critical"}},
    "one-fits-both": {"source_match": {"severity": "critical"}, "target_match": {"alertname": "EngineCrash"}},
    "unknown": {"source_match": {"node": "7"}, "target_match": {"team": "trading"}},
}
#: What can't be told beforehand: nobody knows its team, unless its rule tells it, nor that it has no zone.
UNFORESEEN = {"unknown", "both-lack-it"}
RULE = {"name": "EngineCrash", "labels": {"severity": "critical", "team": "trading", "zone": "{{ $labels.zone }}"}}
SILENCES = {
    "surely": ([("alertname", "EngineCrash", False, True)], True),
    "by-regex": ([("alertname", "Engine.*", True, True), ("severity", "info", False, False)], True),
    "another": ([("severity", "critical", False, False)], False),
    "half": ([("alertname", "EngineCrash", False, True), ("cluster", "prod.*", True, True)], False),
}


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[alertmanager.Server]:
    path = alertmanager.program()
    if path is None:
        absent("prometheus", "no Alertmanager found; apt-get install prometheus-alertmanager")
    hook = {"url": f"http://127.0.0.1:{free_port()}/nobody"}
    said: dict[str, Any] = {
        "route": {"receiver": "hook", "group_wait": "0s", "group_interval": "1s"},
        "receivers": [{"name": "hook", "webhook_configs": [hook]}],
    }
    with alertmanager.running(path, said | {"inhibit_rules": getattr(request, "param", [])}) as up:
        yield up


def planned() -> PlannedAlert:
    said = {"alertmanager": "http://a", "rules": {"engine-crash": ["EngineCrash"]}, "labels": {"cluster": "staging"}}
    return alerts.planned("engine-crash", ROW, Alerts.model_validate(said), timedelta(seconds=60), [])


def value(server: alertmanager.Server) -> dict[str, Any]:
    seen = asyncio.run(Alertmanager(url=server.url).look(Eye(timedelta(seconds=10), str)))
    assert not seen.error
    return dict(seen.value)


def until(server: alertmanager.Server, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    over = time.monotonic() + 20
    while not holds(told := value(server)):
        assert time.monotonic() < over, (told, server.log())
        time.sleep(0.05)
    return told


def tell(server: alertmanager.Server, labels: dict[str, str]) -> None:
    about = alertmanager.told(labels["alertname"])
    server.call("POST", "/api/v2/alerts", [about | {"labels": labels}])


def state(told: dict[str, Any]) -> str | None:
    return next((one["state"] for one in told["alerts"] if one["labels"] == COMES), None)


def muted(server: alertmanager.Server) -> bool:
    """What becomes of it."""
    tell(server, COMES)
    return state(until(server, lambda told: state(told) in ("active", "suppressed"))) == "suppressed"


@pytest.mark.parametrize(
    ("server", "rule"), [([rule], name) for name, rule in RULES.items()], ids=list(RULES), indirect=["server"]
)
def test_an_inhibition_that_is_foreseen_mutes(server: alertmanager.Server, rule: str) -> None:
    assert list(muting(planned(), value(server))) == []  # nothing is there yet that could
    tell(server, THERE)
    told = until(server, lambda told: told["alerts"])
    mutes = muted(server)
    assert bool(list(muting(planned(), told))) == (mutes and rule not in UNFORESEEN)
    assert bool(list(muting(planned(), told, [RULE]))) == (mutes and rule != "both-lack-it")


@pytest.mark.parametrize("name", SILENCES)
def test_a_silence_that_is_foreseen_mutes(server: alertmanager.Server, name: str) -> None:
    matchers, wanted = SILENCES[name]
    now = datetime.now(UTC)
    silence = {
        "matchers": [dict(zip(("name", "value", "isRegex", "isEqual"), one, strict=True)) for one in matchers],
        "startsAt": now.isoformat(), "endsAt": (now + timedelta(minutes=5)).isoformat(),
        "createdBy": "test", "comment": "night shift",
    }  # fmt: skip
    made = server.call("POST", "/api/v2/silences", silence)["silenceID"]
    foreseen = list(muting(planned(), until(server, lambda told: told["silences"])))
    assert foreseen == ([f"silence {made} (night shift)"] if wanted else [])
    assert muted(server) == wanted


def test_one_rule_of_two_that_is_silenced_refuses_nobody() -> None:
    slow = RULE | {"name": "EngineSlow"}
    one = {"id": "s", "comment": "", "matchers": [["alertname", "=", "EngineSlow"]]}
    told = {"silences": [one], "inhibitions": [], "alerts": []}
    assert list(muting(planned(), told, [RULE, slow])) == []
    assert list(muting(planned(), told, [slow])) != []
    assert list(
        muting(planned(), told | {"silences": [one | {"matchers": [["severity", "=", "critical"]]}]}, [RULE, slow])
    )


def test_a_channel_that_is_dead_is_tried_and_counted_as_failing(server: alertmanager.Server) -> None:
    """Alertmanager's counter of notifications rises meanwhile, and that of their failures does not."""
    first = value(server)
    assert (first["sent"], first["failed"]) == ({"webhook": 0}, {"webhook": 0})
    tell(server, COMES)
    told = until(server, lambda told: told["failed"]["webhook"])
    assert told["sent"] == told["failed"]
