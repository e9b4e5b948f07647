"""What the real Alertmanager sends by its default templates is understood: Slack, PagerDuty and webhook."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.catch.catching import Running, catching
from tests.infra import alertmanager
from tests.infra.require import absent

pytestmark = pytest.mark.prometheus
KINDS = ["pagerduty", "slack", "webhook"]


def configuration(url: str, group_by: list[str], wait: str) -> dict[str, Any]:
    kinds = {
        "slack_configs": {"api_url": f"{url}/slack/trading", "channel": "#trading"},
        "pagerduty_configs": {"url": f"{url}/pagerduty/oncall/v2/enqueue", "routing_key": "0" * 32},
        "webhook_configs": {"url": f"{url}/webhook/all"},
    }
    receiver = {"name": "all", **{kind: [{**told, "send_resolved": True}] for kind, told in kinds.items()}}
    route = {"receiver": "all", "group_by": group_by, "group_wait": wait, "group_interval": "500ms"}
    return {"route": route | {"repeat_interval": "1h"}, "receivers": [receiver]}


@contextmanager
def both(*group_by: str, wait: str = "100ms") -> Iterator[tuple[Running, alertmanager.Server]]:
    path = alertmanager.program()
    if path is None:
        absent("prometheus", "no Alertmanager found; apt-get install prometheus-alertmanager")
    with catching("-q") as catcher:
        told = configuration(catcher.url, list(group_by), wait)
        with alertmanager.running(path, told) as server:
            yield catcher, server


def awaited(catcher: Running, server: alertmanager.Server, count: int, after: int = 0) -> list[dict[str, Any]]:
    """So many notifications, one kind after the other."""
    deadline = time.monotonic() + 60
    while len(found := catcher.caught(after)) < count:
        assert time.monotonic() < deadline, (found, server.log())
        time.sleep(0.05)
    return sorted(found, key=lambda one: (one["kind"], one["action"], one["n"]))


@pytest.mark.parametrize("group_by", [["alertname"], [], ["failure"], ["..."], ["severity", "alertname"]])
def test_it_fires_and_is_resolved_on_every_channel(group_by: list[str]) -> None:
    with both(*group_by) as (catcher, server):
        server.alert("EngineCrash", failure="engine-crash", severity="critical", instance="engine:9100")
        fired = awaited(catcher, server, 3)
        server.alert("EngineCrash", ended=True, failure="engine-crash", severity="critical", instance="engine:9100")
        resolved = awaited(catcher, server, 3, after=3)
    for found, action in ((fired, "firing"), (resolved, "resolved")):
        assert [(one["kind"], one["action"], one["alerts"]) for one in found] == [
            (kind, action, ["EngineCrash"]) for kind in KINDS
        ]
        assert {one["kind"]: one["failures"] for one in found} == {
            "slack": [], "pagerduty": ["engine-crash"], "webhook": ["engine-crash"],
        }  # fmt: skip
        assert [one["name"] for one in found] == ["oncall", "trading", "all"]
        assert not any(one["truncated"] for one in found)
    assert fired[1]["title"].startswith("[FIRING:1] ")
    assert resolved[1]["title"].startswith("[RESOLVED] ")


def test_a_group_of_which_one_goes_on() -> None:
    with both("severity", wait="2s") as (catcher, server):  # both alerts come into it, however slowly
        rows = {"EngineCrash": "engine-crash", "GatewayCrash": "gateway-crash"}
        told = [alertmanager.told(name, failure=row, severity="critical") for name, row in rows.items()]
        server.call("POST", "/api/v2/alerts", told)
        slack = next(one for one in awaited(catcher, server, 3) if one["kind"] == "slack")
        assert (slack["title"], slack["alerts"]) == ("[FIRING:2] critical", [])
        last = catcher.get("/api/status")["last"]
        server.alert("EngineCrash", ended=True, failure="engine-crash", severity="critical")
        found = awaited(catcher, server, 5, after=last)
    seen = [(one["kind"], one["action"], one["alerts"]) for one in found if one["kind"] != "slack"]
    assert seen == [
        ("pagerduty", "firing", ["GatewayCrash"]),
        ("pagerduty", "resolved", ["EngineCrash"]),
        ("webhook", "firing", ["GatewayCrash"]),
        ("webhook", "resolved", ["EngineCrash"]),
    ]


def test_it_counts_what_was_answered_as_delivered() -> None:
    with both("alertname") as (catcher, server):
        server.alert("Hostile\x1b[2J", severity="[red]\u202e")
        found = awaited(catcher, server, 3)
        assert {name for one in found for name in one["alerts"]} == {"Hostile\\x1b[2J"}
        assert all(one["title"].isprintable() for one in found)
        with alertmanager._OPENER.open(server.url + "/metrics", timeout=10) as answer:
            page = answer.read().decode()
    for kind in KINDS:
        assert f'alertmanager_notifications_total{{integration="{kind}"}} 1' in page
        assert f'alertmanager_notifications_failed_total{{integration="{kind}"}} 0' in page
