"""What is wrong with the real VeloZ's alerts is found in a configuration that has it, and in a sound one nothing is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_cli_app import call
from veloz_chaos.core import linting as core
from veloz_chaos.engine import files, linting
from veloz_chaos.reports.linting import as_json

HERE = Path(__file__).parent
VELOZ, SOUND = HERE / "veloz-alerts", HERE / "sound-alerts"
Found = dict[str, set[str]]


def lint(folder: Path, *metrics: str) -> dict[str, Any]:
    given = linting.Files((), folder / "prometheus.yml", folder / "alertmanager.yml", metrics)
    alerts = files.environment(folder / "environment.yaml").environment.alerts
    assert alerts is not None
    whole, found = linting.gather(given, alerts, files.matrix())
    return as_json(core.lint(whole, found))


def by_hand(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    own = ["-e", str(folder / "environment.yaml"), "--prometheus-config", str(folder / "prometheus.yml")]
    return call("lint", "alerts", *own, "--alertmanager-config", str(folder / "alertmanager.yml"), *more)


def about(findings: list[dict[str, Any]]) -> Found:
    """Code -> what it is said of."""
    found: Found = {}
    for one in findings:
        found.setdefault(one["code"], set()).add(one["about"])
    return found


#: Of the routing and of the document's rows, whatever the targets export.
ROUTING: Found = {
    "route-shadowed": {'route {service="execution"} → trading-alerts', 'route {service="risk"} → risk-alerts'},
    "secret-literal": {"Alertmanager"},
}
NO_RULE = {
    "row network-partition", "row oom-kill", "row cpu-saturation", "row memory-pressure", "row disk-full",
    "row exchange-rate-limit",
}  # fmt: skip
WRONG = {
    "row-no-rule": NO_RULE,
    "row-wrong-severity": {"row exchange-down"},
    "channel-missing": {"row network-latency"},
    "channel-extra": {"row network-latency"},
}


def test_everything_wrong_with_an_exporter_that_answers() -> None:
    report = lint(VELOZ, f"veloz-gateway={VELOZ / 'metrics.txt'}")
    assert about(report["findings"]) == {
        **ROUTING,
        **WRONG,
        "metric-absent": {
            "rule HighOrderLatency", "rule CriticalOrderLatency", "rule HighAPILatency",
            "record veloz:order_latency:p99_5m",
        },
        "detection-impossible": {"row gateway-crash", "row engine-crash", "row exchange-down"},
        "notice-impossible": {"row gateway-crash"},
        "notice-late": {"row engine-crash"},
    }  # fmt: skip
    said = {one["about"]: f"{one['message']}; {one['remedy']}" for one in report["findings"]}
    assert said["rule HighOrderLatency"] == (
        "no target exports `veloz_order_latency_bucket`: it can never fire; "
        "did you mean `veloz_order_latency_seconds_bucket`?"
    )
    assert "did you mean `veloz_http_request_duration_seconds_bucket`?" in said["rule HighAPILatency"]
    assert about(report["notes"]) == {"row-more-severities": {"row network-latency"}}


def test_what_is_impossible_says_why() -> None:
    report = lint(VELOZ, f"veloz-gateway={VELOZ / 'metrics.txt'}")
    said = [one["message"] for one in report["findings"] if one["about"] == "row engine-crash"]
    assert said[0] == (
        "impossible: 5 s, but rule VeloZEngineDown needs at least 30 s to fire (evaluated every 15 s, for 30 s)"
    )
    rows = {row["row"]: row for row in report["rows"]}
    assert rows["engine-crash"]["fires"] == {"at_least": 30, "at_most": 55}  # 5 s + 5 s, 15 s, 30 s
    assert rows["engine-crash"]["notified"] == {"at_least": 40, "at_most": 65}
    assert (rows["engine-crash"]["detection"], rows["engine-crash"]["notice"]) == ("impossible", "late at times")


def test_everything_wrong_with_an_exporter_that_closes_the_connection() -> None:
    """As the real one does at every scrape: GatewayDown fires for ever, EngineDown never."""
    report = lint(VELOZ, f"veloz-gateway={VELOZ / 'empty.txt'}")
    found = about(report["findings"])
    assert found["job-down"] == {"job veloz-gateway"}
    assert found["always-fires"] == {"rule VeloZGatewayDown"}
    assert {"rule VeloZEngineDown", "rule HighErrorRate", "record veloz:order_latency:p99_5m"} <= found["metric-absent"]
    assert "rule VeloZGatewayDown" not in found["metric-absent"]
    assert "record veloz:gateway:availability:ratio_rate5m" not in found["metric-absent"]
    rows = {row["row"]: row for row in report["rows"]}
    assert rows["engine-crash"]["fires"] is None
    assert rows["engine-crash"]["detection"] == "never"


def test_secrets_are_named_and_not_shown() -> None:
    report = lint(VELOZ)
    literal = [one for one in report["findings"] if one["code"] == "secret-literal"]
    assert [(one["line"], one["message"].split(" ")[0]) for one in literal] == [
        (5, "global.smtp_auth_username"), (6, "global.smtp_auth_password"), (7, "global.slack_api_url"),
        (44, "receivers[1].pagerduty_configs[0].service_key"), (46, "receivers[2].opsgenie_configs[0].api_key"),
        (48, "receivers[3].pagerduty_configs[0].service_key"), (51, "receivers[4].pagerduty_configs[0].service_key"),
        (52, "receivers[4].opsgenie_configs[0].api_key"),
    ]  # fmt: skip


def test_without_metrics_nothing_is_said_of_them() -> None:
    report = lint(VELOZ)
    found = about(report["findings"])
    assert found == {
        **ROUTING,
        **WRONG,
        "detection-impossible": {"row gateway-crash", "row engine-crash", "row exchange-down"},
        "notice-impossible": {"row gateway-crash"},
        "notice-late": {"row engine-crash", "row network-latency"} & found["notice-late"],
    }
    notes = {one["code"]: one for one in report["notes"]}
    assert "veloz_engine_running" in notes["metrics-unread"]["message"]
    assert "--metrics" in notes["metrics-unread"]["remedy"]


PAGES = (f"gateway={SOUND / 'gateway.txt'}", f"supervisor={SOUND / 'supervisor.txt'}")


def test_a_sound_configuration_has_nothing_wrong() -> None:
    report = lint(SOUND, *PAGES)
    assert (report["findings"], report["notes"]) == ([], [])
    assert all(row["detection"] in ("", "in time") and row["notice"] == "in time" for row in report["rows"])
    rows = {row["row"]: row for row in report["rows"]}
    assert rows["network-partition"]["rules"][0]["receivers"] == ["pagerduty", "trading"]
    assert rows["oom-kill"]["fires"] == {"at_least": 0, "at_most": 0.75}


@pytest.mark.parametrize(
    ("file", "old", "new", "code", "of"),
    [
        ("rules.yml", "failure: engine-crash", "failure: engine-chrash", "row-no-rule", "row engine-crash"),
        ("rules.yml", "{severity: error, failure: exchange-down}", "{severity: info, failure: exchange-down}",
         "row-wrong-severity", "row exchange-down"),
        ("rules.yml", "{severity: warning, failure: disk-full}", "{severity: minor, failure: disk-full}",
         "severity-unrouted", "severity minor"),
        ("rules.yml", "{severity: warning, failure: disk-full}", "{failure: disk-full}", "severity-unrouted",
         "alerts without a severity"),
        ("rules.yml", "engine_connected ==", "engine_conected ==", "metric-absent", "rule NetworkPartition"),
        ("rules.yml", 'service="engine"} == 0', 'servic="engine"} == 0', "label-absent", "rule EngineCrash"),
        ("rules.yml", 'up{job="gateway"}', 'up{job="gatway"}', "label-value-absent", "rule GatewayCrash"),
        ("rules.yml", "or absent(volume_free_bytes)", "or absent(volume_fre_bytes)", "metric-absent", "rule DiskFull"),
        ("rules.yml", "gateway:latency_seconds:p50_10s > 0.5", "gateway:latency_seconds:p50_10s", "always-fires",
         "rule HighLatency"),
        ("rules.yml", "sum by (le, instance)", "sum by (instance)", "metric-absent", "rule HighLatency"),
        ("rules.yml", "100 * memory_used", "count(memory_used_bytes) == 0 or 100 * memory_used", "", ""),
        ("rules.yml", "== 0\n        for: 500ms", "== 2\n        for: 500ms", "never-fires", "rule GatewayCrash"),
        ("rules.yml", "for: 500ms", "for: 20s", "detection-impossible", "row gateway-crash"),
        ("rules.yml", "for: 500ms", "for: 58s", "notice-late", ""),
        ("rules.yml", "for: 500ms", "for: 70s", "notice-impossible", "row gateway-crash"),
        ("rules.yml", "keep_firing_for: 5s", "keep_firing_for: 1h", "resolves-late", "row exchange-down"),
        ("rules.yml", "also: pager", "also: pagr", "channel-missing", "row network-partition"),
        ("alertmanager.yml", "receiver: trading\n      routes", "receiver: pagerduty\n      routes", "channel-extra",
         "row exchange-down"),
        ("alertmanager.yml", "slack_configs: [{channel", "unheard_of: [{channel", "receiver-empty", "receiver trading"),
        ("alertmanager.yml", 'slack_configs: [{channel: "#trading", title: "{{ .CommonLabels.alertname }}"}]',
         "email_configs: [{to: a@localhost, from: b@localhost, smarthost: 'localhost:25'}]", "", ""),
        ("alertmanager.yml", "      continue: true\n", "", "channel-missing", "row network-partition"),
        ("alertmanager.yml", "'severity=~\"error|warning|info\"'", "severity=~\"error|warning|info\", team=\"x\"",
         "route-untaken", ""),
        ("alertmanager.yml", "- matchers: [severity=\"critical\"]", "- matchers: [alertname=~\".*\"]",
         "route-shadowed", ""),
        ("alertmanager.yml", "routing_key: sandbox", "routing_key: \"${KEY}\"", "secret-literal", "Alertmanager"),
        ("alertmanager.yml", "target_matchers: [alertname=~\".*Pressure\"]\n    equal: [service] ",
         "target_matchers: [alertname=~\"E.*|.*Pressure\"]\n    equal: [] ", "", ""),
        ("prometheus.yml", "alertmanagers:", "alert_relabel_configs:\n    - {action: labeldrop, regex: x}\n  others:",
         "no-alertmanager", "Prometheus"),
    ],
)  # fmt: skip
def test_each_thing_that_is_made_wrong_is_found(
    tmp_path: Path, file: str, old: str, new: str, code: str, of: str
) -> None:
    folder = tmp_path / "alerts"
    shutil.copytree(SOUND, folder)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    report = lint(folder, *PAGES)
    found = about(report["findings"])
    if not code:
        assert found == {}
    elif of:
        assert of in found[code]
    else:
        assert code in found


def test_an_inhibition_that_swallows_an_expected_alert(tmp_path: Path) -> None:
    """Raised by the same failure; and by one that fires always."""
    folder = tmp_path / "alerts"
    shutil.copytree(SOUND, folder)
    rules = (folder / "rules.yml").read_text()
    louder = "      - {alert: Louder, expr: volume_free_bytes < 1, labels: {severity: info, failure: disk-full}}\n"
    restless = "      - alert: Restless\n        expr: up >= 0\n        labels: {severity: info}\n"
    (folder / "rules.yml").write_text(rules + louder + restless)
    routing = (folder / "alertmanager.yml").read_text()
    swallow = (
        "inhibit_rules:\n  - {source_matchers: [alertname=Louder], target_matchers: [alertname=DiskFull]}\n"
        "  - {source_matchers: [alertname=Restless], target_matchers: [alertname=RateLimited]}\n"
    )
    (folder / "alertmanager.yml").write_text(routing.replace("inhibit_rules:\n", swallow))
    report = lint(folder, *PAGES)
    said = {one["about"]: one["message"] for one in report["findings"] if one["code"] == "inhibited"}
    assert "while Louder fires, which is raised by the same failure" in said["row disk-full"]
    assert "while Restless fires, which fires always" in said["row exchange-rate-limit"]
    rows = {row["row"]: row for row in report["rows"]}
    assert rows["disk-full"]["notified"] == {"at_least": None, "at_most": None}


def test_people_are_shown_a_table_and_what_is_wrong() -> None:
    answer = by_hand(VELOZ)
    assert answer.returncode == 1
    assert "engine-crash" in answer.stdout
    assert (
        "alerts.yml:8:9: row engine-crash: impossible: 5 s, but rule VeloZEngineDown needs at least 30 s"
        in answer.stdout
    )
    assert answer.stdout.splitlines()[-1].endswith("notes")


def test_notes_count_where_that_is_asked_for() -> None:
    answer = by_hand(SOUND)
    assert (answer.returncode, answer.stdout.splitlines()[-1]) == (0, "nothing wrong, 4 notes")
    assert by_hand(SOUND, "--strict").returncode == 1


def test_json_is_one_document() -> None:
    answer = by_hand(SOUND, "--json", *(word for page in PAGES for word in ("--metrics", page)))
    report = json.loads(answer.stdout)
    assert (answer.returncode, report["exit_code"], report["findings"]) == (0, 0, [])
