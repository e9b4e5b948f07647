"""What three services' payloads say, as Alertmanager 0.25 writes them and as others do; what hostile ones do not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veloz_chaos.core.notification import (
    NAMES,
    TITLE,
    Malformed,
    Notification,
    change,
    pagerduty,
    plain,
    slack,
    webhook,
)

#: Alertmanager 0.25's default template, with one alert in a group by alertname.
LABELS = {"alertname": "EngineCrash", "failure": "engine-crash"}
LINK = "http://am:9093/#/alerts?receiver=slack"


def default(title: str, color: str = "danger") -> dict[str, Any]:
    attachment = {
        "title": title, "title_link": LINK, "pretext": "", "text": "", "fallback": f"{title} | {LINK}",
        "callback_id": "", "footer": "", "color": color, "mrkdwn_in": ["fallback", "pretext", "text"],
    }  # fmt: skip
    return {"channel": "#trading", "username": "Alertmanager", "attachments": [attachment]}


def listed(*alerts: str) -> str:
    """PagerDuty's details: `Name/failure`, or a name alone."""
    lines = []
    for alert in alerts:
        name, _, failure = alert.partition("/")
        lines += ["Labels:", f" - alertname = {name}", *([f" - failure = {failure}"] if failure else [])]
        lines += [" - severity = critical", "Annotations:", " - summary = it broke", "Source: http://p/graph?g0.expr=x"]
    return "\n".join(lines) + "\n"


def event(action: str, firing: str = "", resolved: str = "", **changes: Any) -> dict[str, Any]:
    details = {"firing": firing, "resolved": resolved, "num_firing": "1", "num_resolved": "0"}
    payload = {"summary": "[FIRING:1] EngineCrash (critical)", "source": "Alertmanager", "severity": "error"}
    whole = {"routing_key": "0" * 32, "event_action": action, "dedup_key": "d", "client": "Alertmanager"}
    return whole | {"payload": payload | {"custom_details": details}} | changes


def group(*alerts: tuple[str, str, str | None], status: str = "firing") -> dict[str, Any]:
    """Alertmanager's generic webhook, version 4: (status, alertname, failure)."""
    made = [
        {
            "status": one, "labels": {"alertname": name, **({"failure": failure} if failure else {})},
            "annotations": {"summary": "x"}, "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "", "fingerprint": "0",
        }
        for one, name, failure in alerts
    ]  # fmt: skip
    return {
        "receiver": "all", "status": status, "alerts": made, "groupLabels": {"alertname": alerts[0][1]},
        "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am:9093", "version": "4",
        "groupKey": "{}:{}", "truncatedAlerts": 0,
    }  # fmt: skip


def only(found: list[Notification]) -> Notification:
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("title", "alerts"),
    [
        ("[FIRING:1] EngineCrash (engine-crash engine:9100 critical)", ("EngineCrash",)),
        ("[FIRING:2] EngineCrash engine-crash (critical)", ("EngineCrash",)),
        ("[FIRING:1]  (EngineCrash engine-crash critical)", ("EngineCrash",)),
        ("[FIRING:1] engine-crash (EngineCrash critical)", ("EngineCrash",)),
        ("[FIRING:1] engine_down (critical)", ("engine_down",)),
        ("[FIRING:3] ", ()),
        ("[FIRING:2] critical", ()),
    ],
)
def test_slack_s_default_title(title: str, alerts: tuple[str, ...]) -> None:
    found = only(slack(default(title)))
    assert (found.kind, found.action, found.alerts) == ("slack", "firing", alerts)
    assert found.title == " ".join(title.split())


def test_slack_resolved() -> None:
    found = only(slack(default("[RESOLVED] EngineCrash (critical)", "good")))
    assert (found.action, found.alerts) == ("resolved", ("EngineCrash",))
    assert only(slack({"text": "*Resolved*: EngineCrash"})).action == "resolved"
    assert only(slack({"attachments": [{"color": "good", "text": "all is well"}]})).action == "resolved"
    assert only(slack({"attachments": [{"color": "danger", "text": "all is not resolved"}]})).action == "firing"


def section(*texts: str) -> dict[str, Any]:
    said = [{"type": "mrkdwn", "text": text} for text in texts]
    return {"type": "section", **({"text": said[0]} if len(said) == 1 else {"fields": said})}


@pytest.mark.parametrize(
    "message",
    [
        {"text": "EngineCrash: failure: engine-crash\nalertname: EngineCrash"},
        {"text": "*alertname:* EngineCrash *failure:* `engine-crash`"},
        {"attachments": [{"pretext": "", "text": '{alertname="EngineCrash", failure="engine-crash"}'}]},
        {"attachments": [{"fields": [{"title": name, "value": value} for name, value in LABELS.items()]}]},
        {"blocks": [section("alertname=EngineCrash failure=engine-crash")]},
        {"blocks": [section("*alertname*: EngineCrash", "*failure*: engine-crash")]},
    ],
)
def test_slack_in_anybody_s_template(message: dict[str, Any]) -> None:
    found = only(slack(message))
    assert found.failures == ("engine-crash",)
    assert found.alerts == ("EngineCrash",)


def test_slack_s_escapes_are_undone_in_the_title() -> None:
    assert only(slack({"text": "a &lt;b&gt; &amp;amp;"})).title == "a <b> &amp;"


@pytest.mark.parametrize(("body", "code"), [([], "invalid_payload"), ("x", "invalid_payload"), ({}, "no_text")])
def test_what_slack_does_not_take(body: Any, code: str) -> None:
    with pytest.raises(Malformed) as error:
        slack(body)
    assert error.value.code == code


def test_pagerduty_trigger_and_resolve() -> None:
    found = only(pagerduty(event("trigger", firing=listed("EngineCrash/engine-crash", "GatewayCrash/gateway-crash"))))
    assert (found.kind, found.action) == ("pagerduty", "firing")
    assert found.alerts == ("EngineCrash", "GatewayCrash")
    assert found.failures == ("engine-crash", "gateway-crash")
    found = only(pagerduty(event("resolve", resolved=listed("EngineCrash/engine-crash"))))
    assert (found.action, found.failures) == ("resolved", ("engine-crash",))


def test_pagerduty_tells_of_both_in_one_event() -> None:
    found = pagerduty(event("trigger", firing=listed("A/x"), resolved=listed("B/y")))
    assert [(one.action, one.alerts, one.failures) for one in found] == [
        ("firing", ("A",), ("x",)),
        ("resolved", ("B",), ("y",)),
    ]


def test_pagerduty_without_details() -> None:
    found = only(pagerduty({"event_action": "resolve", "dedup_key": "d"}))
    assert (found.action, found.alerts, found.title) == ("resolved", (), "")
    found = only(pagerduty({"event_action": "trigger", "payload": {"summary": "failure: disk-full"}}))
    assert (found.action, found.failures) == ("firing", ("disk-full",))
    found = only(pagerduty(event("trigger", firing="", payload={"summary": "x", "custom_details": {"failure": "a"}})))
    assert found.failures == ("a",)
    assert only(pagerduty(event("acknowledge", firing=listed("A/x")))).action == "acknowledged"


def test_a_pagerduty_change() -> None:
    found = only(change({"routing_key": "0" * 32, "payload": {"summary": "deployed", "source": "ci"}}))
    assert (found.action, found.title, found.alerts) == ("changed", "deployed", ())


@pytest.mark.parametrize(
    "body",
    [
        [], {}, {"event_action": "explode"}, {"event_action": "trigger"}, {"event_action": "resolve"},
        {"event_action": "trigger", "payload": "x"}, {"event_action": "trigger", "payload": {"summary": 3}},
    ],
)  # fmt: skip
def test_what_pagerduty_does_not_take(body: Any) -> None:
    with pytest.raises(Malformed):
        pagerduty(body)


def test_the_generic_webhook() -> None:
    found = only(webhook(group(("firing", "EngineCrash", "engine-crash"), ("firing", "EngineCrash", "oom-kill"))))
    assert (found.kind, found.action, found.alerts) == ("webhook", "firing", ("EngineCrash",))
    assert found.failures == ("engine-crash", "oom-kill")
    assert found.title == "[FIRING:2] EngineCrash"


def test_a_group_of_which_one_is_resolved() -> None:
    found = webhook(group(("resolved", "A", "x"), ("firing", "B", None)))
    assert [(one.action, one.alerts, one.failures) for one in found] == [
        ("firing", ("B",), ()),
        ("resolved", ("A",), ("x",)),
    ]


def test_any_other_webhook() -> None:
    found = only(webhook({"status": "resolved", "message": "m", "alertname": "A", "deep": [{"failure": "x"}]}))
    assert found == Notification("webhook", "resolved", ("A",), ("x",), "m")
    assert only(webhook({})) == Notification("webhook", "firing", (), (), "")
    assert only(webhook({"alerts": ["x", 3, None], "status": 7})).action == "firing"
    with pytest.raises(Malformed):
        webhook([])


HOSTILE = "\x1b[2J\x1b]0;owned\x07 [bold red]x[/] \r\n\u202etxt.exe \ud800 \x00 <script>"


@pytest.mark.parametrize(
    "found",
    [
        lambda: slack({"text": HOSTILE}),
        lambda: pagerduty(event("trigger", payload={"summary": HOSTILE, "custom_details": {"failure": HOSTILE}})),
        lambda: webhook({"title": HOSTILE, **group(("firing", HOSTILE, HOSTILE))}),
    ],
)
def test_nothing_hostile_is_left(found: Any) -> None:
    one = only(found())
    for text in (one.title, *one.alerts, *one.failures):
        assert text.isprintable()
        text.encode()
    assert "\\x1b[2J" in one.title
    assert "\\u202e" in one.title
    assert "[bold red]x[/]" in one.title


def test_what_is_too_long_is_cut_and_says_so() -> None:
    found = only(webhook(group(*[("firing", f"A{n}", None) for n in range(NAMES + 1)])))
    assert (len(found.alerts), found.truncated) == (NAMES, True)
    found = only(slack({"text": "x" * 10_000}))
    assert (len(found.title), found.truncated) == (TITLE, True)
    found = only(webhook({"x": [0] * 100_000, "alertname": "A"}))
    assert found.truncated
    assert not only(slack({"text": "x"})).truncated


def test_plain_is_one_printable_line() -> None:
    assert plain(" a\n\tb\u00a0c\u2028d ") == "a b c d"
    assert plain("é 漢 🙂") == "é 漢 🙂"


KEYS = ["text", "attachments", "blocks", "title", "value", "payload", "summary", "custom_details", "firing", "alerts",
        "labels", "alertname", "failure", "status", "event_action", "dedup_key", "color", "fields"]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(KEYS), JSON) | JSON, st.sampled_from(["trigger", "resolve", "acknowledge"]))
def test_whatever_comes_is_told_or_malformed(body: Any, action: str) -> None:
    for read in (slack, pagerduty, change, webhook):
        given_ = {**body, "event_action": action} if read is pagerduty and isinstance(body, dict) else body
        try:
            found = read(given_)
        except Malformed:
            continue
        assert 1 <= len(found) <= 2
        for one in found:
            assert all(text.isprintable() for text in (one.title, *one.alerts, *one.failures))
            assert len(one.title) <= TITLE
            json.dumps(one.as_json()).encode()
