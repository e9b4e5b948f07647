"""Files that Prometheus or Alertmanager would not load are defects, by the words of promtool and amtool."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.infra.require import absent
from tests.unit.test_cli_app import call
from veloz_chaos.core import linting_refused as refusals
from veloz_chaos.core.linting_yaml import read

RULES = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: up == 0}\n"
CONFIG = "rule_files: [r.yml]\nscrape_configs:\n- {job_name: a, static_configs: [{targets: ['x:1']}]}\n"
ROUTES = "route: {receiver: a}\nreceivers:\n- {name: a, webhook_configs: [{url: 'http://localhost/x'}]}\n"


@pytest.fixture
def tools() -> None:
    if not (shutil.which("promtool") and shutil.which("amtool")):
        absent("prometheus", "no promtool and amtool; apt-get install prometheus prometheus-alertmanager")


def lint(folder: Path, config: str = CONFIG, rules: str = RULES, routes: str = ROUTES) -> dict[str, Any]:
    for name, text in (("p.yml", config), ("r.yml", rules), ("am.yml", routes)):
        (folder / name).write_text(text)
    given = ["--prometheus-config", str(folder / "p.yml"), "--alertmanager-config", str(folder / "am.yml")]
    answer = call("lint", "alerts", "--json", *given)
    assert answer.stderr == ""
    return dict(json.loads(answer.stdout))


def of(found: list[dict[str, Any]], code: str) -> list[str]:
    """`am.yml:3: message`"""
    return [
        f"{Path(one['file']).name}:{one['line']}: {one['message']}" for one in found if one["code"] == code
    ]  # fmt: skip


@pytest.mark.prometheus
@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize(
    ("files", "place", "said"),
    [
        ({"routes": ROUTES + "nonsense: 1\n"}, "am.yml:4", "field nonsense not found"),
        ({"routes": ROUTES + "- {name: a}\n"}, "am.yml:0", 'notification config name "a" is not unique'),
        ({"routes": ROUTES + "- {name: b, pagerduty_configs: [{routing_key: k, x: 1}]}\n"}, "am.yml:4", "field x not"),
        ({"routes": ROUTES + "- {name: b, pagerduty_configs: [{}]}\n"}, "am.yml:0", "missing service or routing key"),
        ({"rules": RULES + "- name: g\n  rules: []\n"}, "r.yml:5", 'groupname: "g" is repeated'),
        ({"rules": RULES + "  - {alert: B, expr: up, labels: {'1 bad': x}}\n"}, "r.yml:5", "invalid label name: 1 bad"),
        ({"rules": RULES + "  - {alert: B, expr: up, annotations: {a: '{{ no 1 }}'}}\n"}, "r.yml:5", '"no" not def'),
        ({"config": CONFIG + "nonsense: 1\n"}, "p.yml:4", "field nonsense not found"),
        ({"config": CONFIG + "- {job_name: a}\n"}, "p.yml:0", 'multiple scrape configs with job name "a"'),
        (
            {"config": CONFIG + "- {job_name: a, static_configs: [{targets: ['${X}:1']}]}\n"},
            "p.yml:0", 'multiple scrape configs with job name "a"',
        ),
        (
            {"routes": ROUTES + "- {name: a, slack_configs: [{channel: x, api_url: '${SLACK}'}]}\n"},
            "am.yml:0", 'notification config name "a" is not unique',
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_refused_is_one_defect(files: dict[str, str], place: str, said: str, tmp_path: Path) -> None:
    report = lint(tmp_path, **files)
    (found,) = of(report["findings"], "file-refused")
    assert found.startswith(f"{place}: ")
    assert said in found
    assert report["exit_code"] == 1
    assert of(report["notes"], "files-unchecked") == []


@pytest.mark.prometheus
@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize(
    "files",
    [
        {},
        {"routes": ROUTES + "- {name: b, slack_configs: [{channel: x, api_url: '${SLACK}'}]}\n"},  # secret-literal
        {"routes": ROUTES + "templates: [nowhere/*.tmpl]\n"},
        {"config": CONFIG + "- {job_name: b, tls_config: {ca_file: nowhere.pem}}\n"},
        {"config": CONFIG.replace("[r.yml]", "[r.yml, nowhere.yml]")},
        {"rules": RULES + "  - {alert: A, expr: up == 0}\n"},  # promtool complains of a second one, and loads it
        {"rules": "kind: PrometheusRule\nspec:\n  groups:\n  - {name: g, limit: 3, partial_response_strategy: abort, "
                  "rules: [{alert: A, expr: up == 0}]}\n"},
    ],
)  # fmt: skip
def test_what_is_loaded_is_not_refused(files: dict[str, str], tmp_path: Path) -> None:
    report = lint(tmp_path, **files)
    assert of(report["findings"], "file-refused") == []
    assert of(report["notes"], "files-unchecked") == []


@pytest.mark.prometheus
@pytest.mark.usefixtures("tools")
def test_an_object_of_kubernetes_is_refused_as_the_rule_file_in_it(tmp_path: Path) -> None:
    rule = "{alert: A, expr: up == 0, annotations: {a: '{{ no 1 }}'}}"
    report = lint(tmp_path, rules=f"kind: PrometheusRule\nspec:\n  groups:\n  - name: g\n    rules: [{rule}]\n")
    (found,) = of(report["findings"], "file-refused")
    assert found.startswith("r.yml:5: ")
    assert '"no" not defined' in found


def test_without_the_tools_it_is_noted_once_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    report = lint(tmp_path, rules=RULES + "- {name: g}\n")
    notes = [one for one in report["notes"] if one["code"] == "files-unchecked"]
    assert [one["about"] for one in notes] == ["promtool", "amtool"]
    assert notes[0]["message"] == "is not installed: whether Prometheus would load these files was not checked"
    assert of(report["findings"], "file-refused") == []
    text = call("lint", "alerts", "--rules", str(tmp_path / "r.yml")).stdout
    assert text.count("[files-unchecked]") == 1


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "ended with 3"),
        (
            "echo 'FAILED: field query_offset not found in type rulefmt.RuleGroup'; exit 1",
            "does not know `query_offset`",
        ),
    ],
)
def test_a_tool_that_comes_to_no_verdict_is_noted(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "promtool").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "promtool").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "r.yml").write_text(RULES)
    report = json.loads(call("lint", "alerts", "--json", "--rules", str(tmp_path / "r.yml")).stdout)
    (note,) = of(report["notes"], "files-unchecked")
    assert said in note
    assert of(report["findings"], "file-refused") == []


@pytest.mark.prometheus
@pytest.mark.usefixtures("tools")
def test_what_can_be_read_once_only_is_not_asked_about(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.yml")
    writer = threading.Thread(target=(tmp_path / "r.yml").write_text, args=[RULES], daemon=True)
    writer.start()
    report = json.loads(call("lint", "alerts", "--json", "--rules", str(tmp_path / "r.yml")).stdout)
    writer.join(30)
    (note,) = of(report["notes"], "files-unchecked")
    assert note.startswith("r.yml:0: reads plain files only: ")


def test_the_words_of_the_tools() -> None:
    promtool = 'Checking r.yml\n  FAILED:\nr.yml: 5:3: groupname: "g" is repeated\nr.yml: a\x1b[2J\n\n'
    amtool = "Checking 'a.yml'  FAILED: yaml: unmarshal errors:\n  line 3: no\n\namtool: error: failed to validate 1\n"
    assert refusals.words(promtool, "r.yml") == ['5:3: groupname: "g" is repeated', "a\\x1b[2J"]
    assert refusals.words(amtool, "a.yml") == ["line 3: no"]
    assert refusals.words("SUCCESS: 3 rules found", "r.yml") == []


def test_what_is_said_of_placeholders_is_not_told() -> None:
    assert refusals.not_of_literals([["x: http://localhost is none"], ["y"]]) == ["y"]
    assert refusals.not_of_literals([["twice"], ["no scheme"]]) == ["twice"]
    assert refusals.not_of_literals([["x"], []]) == []


def test_objects_are_the_rule_files_in_them() -> None:
    text = (
        "kind: PrometheusRule\nspec: {groups: [{name: g, limit: 3, rules: [{alert: A, for: 5m}]}]}\n---\ngroups: []\n"
    )
    (made,) = refusals.objects(read(text, "f"))
    assert json.loads(made) == {"groups": [{"name": "g", "limit": 3, "rules": [{"alert": "A", "for": "5m"}]}]}
