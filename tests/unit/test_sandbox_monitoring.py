"""The monitoring's files as they are shipped: a rule for each row, routes to whom the document names, what ports and
flaws make of them; and what the supervisor tells Prometheus."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from veloz_chaos.engine import files
from veloz_chaos.errors import UsageError
from veloz_chaos.mechanisms import exposition
from veloz_chaos.sandbox import container, control, flaws, monitoring, monitoring_files, service_metrics
from veloz_chaos.sandbox.cpu_demand import CpuDemand, kept_to_the_same_cpu
from veloz_chaos.sandbox.limits import Used
from veloz_chaos.sandbox.metrics import Metrics
from veloz_chaos.sandbox.settings import MONITOR_PORTS, PORTS

TEMPLATES = Path(__file__).parents[2] / "environments" / "monitoring"
ROWS = {name: row.alert for name, row in files.matrix().rows.items() if row.alert}
ALERT_FLAWS = [name for name, flaw in flaws.FLAWS.items() if flaw.monitored]


def read(name: str, *chosen: str) -> Any:
    return yaml.safe_load(monitoring_files.with_flaws(name, (TEMPLATES / name).read_text(), chosen))


def rules(*chosen: str) -> list[dict[str, Any]]:
    return [rule for group in read("rules.yml", *chosen)["groups"] for rule in group["rules"]]


def channels(labels: dict[str, str], *chosen: str) -> set[str]:
    """Where an alert goes: the integrations of the first route that wants it. These routes know `=` alone."""
    routing = read("alertmanager.yml", *chosen)

    def matches(matcher: str) -> bool:
        name, _, value = matcher.partition("=")
        return labels.get(name) == value.strip('"')

    routes = [route for route in routing["route"]["routes"] if all(map(matches, route["matchers"]))]
    receiver = (routes or [routing["route"]])[0]["receiver"]
    (found,) = (one for one in routing["receivers"] if one["name"] == receiver)
    return {key.removesuffix("_configs") for key in found if key != "name"}


def labelled(row: str, *chosen: str) -> dict[str, str]:
    (rule,) = (rule for rule in rules(*chosen) if rule["labels"].get("failure") == row)
    return {"alertname": rule["alert"], **rule["labels"]}


# --- as shipped -------------------------------------------------------------------------------------------------------


def test_every_row_with_an_alert_has_one_rule_and_no_other_has_any() -> None:
    assert Counter(rule["labels"]["failure"] for rule in rules()) == Counter(list(ROWS))


@pytest.mark.parametrize("row", ROWS)
def test_a_rule_says_what_the_document_says(row: str) -> None:
    labels, alert = labelled(row), ROWS[row]
    assert labels["alertname"] == alert.as_.replace(" ", "") and labels["severity"] == alert.severity
    assert channels(labels) == set(alert.channels)


def test_every_rule_says_what_it_is_about() -> None:
    assert all(set(rule["annotations"]) == {"summary", "description"} for rule in rules())


def test_every_metric_that_a_rule_names_is_exported() -> None:
    told = [service_metrics.told("engine", "healthy", 0, "", Counter())]
    exported = service_metrics.text(told, Used(1, None, 0.0, 1.0, 1, 1)) + Metrics().text(True, "ok", 0, {"disk": True})
    names = set(re.findall(r"^(\w+)[{ ]", exported, re.MULTILINE))
    for rule in rules():
        wanted = set(re.findall(r"\b(?:veloz|process)_\w+", rule["expr"]))
        assert wanted and wanted <= names, rule["alert"]


def test_present_places_take_the_place_of_the_usual_ones() -> None:
    usual = {name: f"127.0.0.1:{port}" for name, port in {**PORTS, **MONITOR_PORTS}.items()}
    places = {name: f"{name}.example:{30_000 + n}" for n, name in enumerate(usual)}
    text = (TEMPLATES / "prometheus.yml").read_text()
    assert monitoring_files.with_places(text, usual) == text
    filled = yaml.safe_load(monitoring_files.with_places(text, places))
    targets = [one["static_configs"][0]["targets"] for one in filled["scrape_configs"]]
    assert targets == [[places[name]] for name in ("gateway", "supervisor")]
    assert monitoring_files.with_places("127.0.0.1:9, 10.127.0.0.1:18080", places).startswith("127.0.0.1:9, ")


def test_in_a_container_the_files_name_where_the_others_are(tmp_path: Path) -> None:
    found = {"VELOZ_GATEWAY": "gateway:1", "VELOZ_WATCHER": "watcher:2", "VELOZ_ALERTMANAGER": "told:3"}
    made = container.settings({**found, "VELOZ_CATCHER": "catcher:4", "VELOZ_DIRECTORY": str(tmp_path)})
    monitoring_files.leave(made, TEMPLATES)
    texts = {name: (tmp_path / monitoring.FOLDER / name).read_text() for name in monitoring_files.NAMES}
    assert all(place in texts["prometheus.yml"] for place in found.values())
    assert texts["alertmanager.yml"].count("http://catcher:4/") == 2
    assert "127.0.0.1" not in "".join(line.partition("#")[0] for text in texts.values() for line in text.splitlines())
    assert texts["rules.yml"] == (TEMPLATES / "rules.yml").read_text()


# --- flaws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS)
def test_a_flaw_spoils_one_thing_of_every_row(row: str) -> None:
    severity, alert = labelled(row, "alert-wrong-severity"), ROWS[row]
    assert severity["severity"] != alert.severity
    assert channels(severity, "alert-wrong-severity") == set(alert.channels)
    assert channels(labelled(row), "alert-wrong-channel") != set(alert.channels)
    assert labelled(row, "alert-wrong-channel") == labelled(row)


@pytest.mark.parametrize("flaw", ALERT_FLAWS)
def test_a_flaw_changes_something_and_no_other_file(flaw: str) -> None:
    changed = {name for name in monitoring_files.NAMES if read(name, flaw) != read(name)}
    assert changed == {name for one, name in monitoring_files.SPOILT if one == flaw} != set()


def test_flaws_of_the_rules() -> None:
    assert not any("veloz_" in rule["expr"] for rule in rules("alert-never-fires"))
    assert {rule["keep_firing_for"] for rule in rules("alert-never-resolves")} == {"1h"}
    added = rules("alert-storm")[len(rules()) :]
    assert len(added) == 3 and not any("failure" in rule["labels"] for rule in added)
    assert rules("alert-storm")[: len(rules())] == rules()


def test_a_flaw_of_the_monitoring_wants_the_monitoring(tmp_path: Path) -> None:
    for names in ([ALERT_FLAWS[0]], ["health-lies", ALERT_FLAWS[-1]]):
        assert flaws.need_monitoring(names)
        with pytest.raises(UsageError, match=r"one of the monitoring; start it with --monitoring"):
            control.up(tmp_path / "sandbox", flaws=names)
    assert not flaws.need_monitoring(["health-lies", "no-such-flaw"])


@pytest.mark.parametrize(
    ("installed", "missing"),
    [
        ([], "no prometheus and no alertmanager on"),
        (["prometheus"], "no alertmanager on"),
        (["alertmanager"], "no prom"),
    ],
)
def test_what_is_not_installed_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: list[str], missing: str
) -> None:
    for name in installed:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert monitoring.programs() is None
    with pytest.raises(UsageError, match=f"there is {missing}.*apt-get install prometheus prometheus-alertmanager"):
        control.up(tmp_path / "sandbox", monitored=TEMPLATES)
    assert not (tmp_path / "sandbox").exists()


def test_either_name_of_the_alertmanager_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("prometheus", "alertmanager"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert monitoring.programs() == (str(tmp_path / "prometheus"), str(tmp_path / "alertmanager"))


# --- when all of it is watched ----------------------------------------------------------------------------------------


def told(*healths: str, **rule: str) -> tuple[Any, Any]:
    targets = {"data": {"activeTargets": [{"health": health} for health in healths]}}
    return targets, {"data": {"groups": [{"rules": [{"health": "ok", "state": "inactive"} | rule]}]}}


def test_all_is_watched_when_targets_answer_and_rules_are_quiet() -> None:
    assert monitoring.watches(*told("up", "up"))
    assert not monitoring.watches(*told("up", "unknown"))
    assert not monitoring.watches(*told())
    assert not monitoring.watches(*told("up", health="unknown"))
    assert not monitoring.watches(*told("up", state="pending"))


# --- the supervisor's metrics -----------------------------------------------------------------------------------------


def value(text: str, series: str) -> float:
    (sample,) = exposition.samples(text, exposition.series(series))
    return sample.value


def test_what_is_told_of_the_dead_and_the_living() -> None:
    services = [
        service_metrics.told("engine", "down", 0, "killed", Counter(killed=1)),
        service_metrics.told("gateway", "healthy", 3, "oom-killed", Counter({"oom-killed": 2, "exited": 1})),
        service_metrics.told("dns", "starting", 0, "", Counter()),
        service_metrics.told("vault", "starting", 1, "exit 3", Counter(exited=1)),
    ]
    text = service_metrics.text(services, Used(80, 160, 1.5, 1.0, 2, 8))
    assert [value(text, f'veloz_service_up{{service="{name}"}}') for name in ("engine", "gateway", "dns")] == [0, 1, 0]
    assert value(text, 'veloz_service_gone{service="engine",reason="killed"}') == 1
    assert value(text, 'veloz_service_gone{service="gateway",reason="oom-killed"}') == 0
    assert value(text, 'veloz_service_gone{service="vault",reason="exited"}') == 1
    assert (
        sum(one.value for one in exposition.samples(text, exposition.series('veloz_service_gone{service="dns"}'))) == 0
    )
    assert value(text, 'veloz_service_deaths_total{service="gateway",reason="oom-killed"}') == 2
    assert value(text, 'veloz_service_restarts_total{service="gateway"}') == 3
    assert value(text, "veloz_memory_limit_bytes") == 160 and value(text, "veloz_volume_size_bytes") == 8
    without = service_metrics.text(services, Used(80, None, 1.5, 1.0, 2, 8))
    assert value(without, "veloz_memory_limit_bytes") == float("inf")


def test_cpu_that_is_wanted_counts_waiting_too_and_never_falls() -> None:
    """Two that want one CPU want two, however much of it they get."""
    cpu = max(os.sched_getaffinity(0))
    command = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{cpu}}})\nwhile True: pass"]
    busy = [subprocess.Popen(command) for _ in range(2)]
    try:
        deadline = time.monotonic() + 20
        while any(os.sched_getaffinity(one.pid) != {cpu} for one in busy):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if os.cpu_count() != 1:
            assert {one.pid for one in busy} <= set(kept_to_the_same_cpu(busy[0].pid))
        demand = CpuDemand(lambda: [one.pid for one in busy if one.poll() is None])
        assert demand.seconds() == 0
        began = time.monotonic()
        time.sleep(1)
        wanted = demand.seconds()
        assert 1.2 < wanted / (time.monotonic() - began) < 2.5
    finally:
        for one in busy:
            one.kill()
            one.wait()
    assert demand.seconds() == wanted
    assert kept_to_the_same_cpu(busy[0].pid) == []
