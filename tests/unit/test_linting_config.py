"""Files of others as their owners read them: what is wrong is said at its place, all of it at once."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.require import absent
from veloz_chaos.core import linting_config
from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.linting_alertmanager import alertmanager
from veloz_chaos.core.linting_yaml import DEEPEST, read, strings
from veloz_chaos.errors import InvalidFile

GROUP = "groups:\n- name: g\n  rules:\n"


def said(call: Callable[[], Any]) -> list[str]:
    with pytest.raises(InvalidFile) as error:
        call()
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("groups: [", "f:1:10: this is no YAML: "),
        ("groups:\n\t- a", "f:2:1: this is no YAML: found character that cannot start any token"),
        ("groups: \x00", "f:1:1: this is no YAML: "),
        ("groups: x", "f:1:9: this is a text; write a list"),
        ("- x", "f:1:1: this is a list; write a mapping"),
        ("goups: []", "f:1:1: a rule file has no key `goups`; did you mean `groups`?"),
        ("groups: [{rules: []}]", "f:1:10: a group needs a name"),
        ("groups: [{name: a, intervall: 3s}]", "f:1:20: a group has no key `intervall`; did you mean `interval`?"),
        ("groups: [{name: a, interval: 3}]", "f:1:30: `3` is not a duration; write it as 30s or 1h30m"),
        (GROUP + "  - {alert: A, expr: up, fro: 3s}", "f:4:26: a rule has no key `fro`; did you mean `for`?"),
        (GROUP + "  - {alert: A, record: b, expr: up}", "f:4:5: a rule is one of `alert` and `record`"),
        (GROUP + "  - {expr: up}", "f:4:5: a rule is one of `alert` and `record`"),
        (GROUP + "  - {record: a, expr: up, for: 3s}", "f:4:5: a recording rule has no `for`"),
        (GROUP + "  - {alert: A}", "f:4:5: `` is no PromQL: no expression found in input"),
        (GROUP + "  - alert: A\n    expr: up ==== 1", "f:5:11: `up ==== 1` is no PromQL: "),
        (GROUP + "  - alert: A\n    expr: |\n      up{\n", "f:5:11: `up{` is no PromQL: unexpected end of input"),
        (GROUP + "  - {alert: A, expr: 1 > 2}", "comparisons between scalars must use BOOL modifier"),
        (GROUP + "  - {alert: A, expr: up, labels: [a]}", "f:4:34: this is a list; write a mapping"),
        ("groups: []\ngroups: []", "f:2:1: the key `groups` is here twice (first in line 1)"),
        ("groups: &a [*a]", "f:1:9: this contains itself"),
        ("groups: " + "[" * (DEEPEST + 5) + "]" * (DEEPEST + 5), f"nested deeper than {DEEPEST} levels"),
        ("{[a]: b}", "f:1:2: a key must be text"),
    ],
)
def test_what_is_wrong_with_a_rule_file(text: str, problem: str) -> None:
    found = said(lambda: linting_config.rules(text, "f"))
    assert any(problem in one for one in found), found


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = GROUP + "  - {alert: A, expr: 'up{'}\n  - {alert: B, expr: up, for: soon}\n- {name: h, rules: [{}]}\n"
    assert [one.split(": ")[0] for one in said(lambda: linting_config.rules(text, "f"))] == [
        "f:4:22",
        "f:5:31",
        "f:6:21",
    ]


def test_rules_of_every_form() -> None:
    text = """
groups:
  - name: one
    interval: 1m30s
    query_offset: 5s
    labels: {team: a, severity: low}
    rules:
      - {record: r, expr: 'sum(x)'}
      - &rule {alert: A, expr: up == 0, for: 1d2h, keep_firing_for: 1m, labels: {severity: critical}}
      - {<<: *rule, alert: B}
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: x}
spec:
  groups: [{name: two, rules: [{alert: C, expr: vector(1)}]}]
---
"""
    found = linting_config.rules(text, "f", 7 * SECOND, 2 * SECOND)
    assert [(one.name, one.records, one.order, str(one.spot)) for one in found] == [
        ("r", True, 0, "f:8:10"), ("A", False, 1, "f:9:16"), ("B", False, 2, "f:10:21"), ("C", False, 0, "f:16:33"),
    ]  # fmt: skip
    r, a, b, c = found
    assert dict(r.labels) == {"team": "a", "severity": "low"}
    assert dict(a.labels) == {"team": "a", "severity": "critical"}
    assert (a.hold, a.keep, b.hold) == (26 * 3600 * SECOND, 60 * SECOND, a.hold)
    assert (a.group.interval, a.group.offset, c.group.interval, c.group.offset) == (
        90 * SECOND, 5 * SECOND, 7 * SECOND, 2 * SECOND,
    )  # fmt: skip


def test_an_alias_cannot_make_a_file_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    (root,) = read("\n".join(lines), "f")
    assert len(list(strings(root))) == 10


AM = "receivers: [{name: r, slack_configs: [{channel: '#x'}]}]\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (AM, "f:1:1: there is no `route`; write one with a receiver"),
        (AM + "route: {receiver: q}", "f:2:19: there is no receiver `q`"),
        (AM + "route: {routes: []}", "f:2:8: the root route has no receiver"),
        (AM + "route: {receiver: r, matchers: [a=b]}", "f:2:8: the root route has matchers"),
        (AM + "route: {receiver: r, routes: [{contine: true}]}", "f:2:32: a route has no key `contine`; did you mean"),
        (AM + "route: {receiver: r, routes: [{matchers: ['a']}]}", "f:2:43: `a` is no matcher; write label="),
        (AM + "route: {receiver: r, routes: [{matchers: ['a=~\"(\"']}]}", "f:2:43: `(` is no regular expression"),
        (AM + "route: {receiver: r, group_wait: soon}", "f:2:34: `soon` is not a duration"),
        (AM + "route: {receiver: r, mute_time_intervals: [x]}", "f:2:44: there is no time interval `x`"),
        (AM + "route: {receiver: r}\ninhibit_rules: [{source_matchers: ['a']}]", "f:3:36: `a` is no matcher"),
        ("receivers: [{slack_configs: []}]\nroute: {receiver: r}", "f:1:13: a receiver needs a name"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_alertmanager_configuration(text: str, problem: str) -> None:
    found = said(lambda: alertmanager(read(text, "f")[0]))
    assert any(one.startswith(problem) for one in found), found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("scrape_configs: [{scrape_interval: 3s}]", "f:1:18: a scrape configuration needs a job_name"),
        ("global: {scrape_interval: fast}", "f:1:27: `fast` is not a duration"),
        ("global: {evaluation_interval: fast}", "f:1:31: `fast` is not a duration"),
        ("scrape_configs: {}", "f:1:17: this is a mapping; write a list"),
    ],
)
def test_what_is_wrong_with_a_prometheus_configuration(text: str, problem: str) -> None:
    found = said(lambda: linting_config.prometheus(read(text, "f")[0]))
    assert any(one.startswith(problem) for one in found), found


def test_jobs_and_what_they_attach() -> None:
    text = """
global: {scrape_interval: 2s}
scrape_configs:
  - {job_name: prometheus, static_configs: [{targets: ['localhost:9090']}]}
  - {job_name: a, scrape_interval: 30s, static_configs: [{targets: [x, y], labels: {zone: 1}}, {targets: [z]}]}
  - {job_name: b, scrape_timeout: 1s, kubernetes_sd_configs: [{role: pod}], relabel_configs: [{target_label: pod}]}
  - {job_name: c, static_configs: [], relabel_configs: [{action: labelmap, regex: (.*)}], honor_labels: true}
"""
    made, _ = linting_config.prometheus(read(text, "f")[0])
    own, a, b, c = made.jobs.values()
    assert own.prefixes
    assert not a.prefixes
    assert [(one.interval / SECOND, one.timeout / SECOND, one.targets) for one in (own, a, b, c)] == [
        (2, 2, 1), (30, 10, 3), (2, 1, None), (2, 2, 0),
    ]  # fmt: skip
    assert a.labels.key(["zone", "job", "instance"]) == (frozenset({"1", ""}), frozenset({"a"}), None)
    assert (b.labels.of("pod"), b.labels.of("other"), c.labels.of("job"), c.labels.others) == (None, None, None, True)


def test_what_is_left_literal() -> None:
    text = """
global: {external_labels: {a: "${SITE}"}}
remote_write: [{url: "https://${HOST}/x", basic_auth: {password: "${PASSWORD:-none}"}}]
scrape_configs: [{job_name: a, relabel_configs: [{replacement: "${name}-${1}"}], bearer_token: $TOKEN}]
"""
    made, _ = linting_config.prometheus(read(text, "f")[0])
    assert [(one.path, one.reference, str(one.spot)) for one in made.literals] == [
        ("remote_write[0].url", "${HOST}", "f:3:22"),
        ("remote_write[0].basic_auth.password", "${PASSWORD:-none}", "f:3:66"),
    ]


@pytest.mark.parametrize("folder", ["veloz-alerts", "sound-alerts"])
def test_promtool_and_amtool_take_the_same_files(folder: str, tmp_path: Path) -> None:
    here = Path(__file__).parent / folder
    program = shutil.which("promtool") or absent("prometheus", "no promtool; apt-get install prometheus")
    subprocess.run([program, "check", "config", str(here / "prometheus.yml")], check=True, capture_output=True)
    text = (here / "alertmanager.yml").read_text().replace("${SLACK_WEBHOOK_URL}", "http://localhost/x")
    (tmp_path / "am.yml").write_text(text)  # it takes no URL that is none
    amtool = shutil.which("amtool") or absent("prometheus", "no amtool; apt-get install prometheus-alertmanager")
    subprocess.run([amtool, "check-config", str(tmp_path / "am.yml")], check=True, capture_output=True)
