"""Prometheus or Alertmanager that is away, slow, another thing or one of several: said in one line, with what to do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.answers import Answer, answering
from tests.infra.toxiproxy import free_port
from tests.unit.test_cli_app import call
from veloz_chaos.engine import linting_live
from veloz_chaos.errors import Unavailable
from veloz_chaos.mechanisms.monitoring_api import Server

ROUTES = "route: {receiver: r}\nreceivers: [{name: r, slack_configs: [{channel: '#x'}]}]\n"


def ok(data: Any) -> Answer:
    return Answer({"status": "success", "data": data})


def prometheus(**more: Answer) -> dict[str, Answer]:
    answers = {
        "/api/v1/status/config": ok({"yaml": "scrape_configs: [{job_name: a, static_configs: [{targets: [x]}]}]"}),
        "/api/v1/rules": ok({"groups": []}),
        "/api/v1/targets": ok({"activeTargets": []}),
        "/api/v1/alertmanagers": ok({"activeAlertmanagers": [{"url": "http://a"}]}),
        "/api/v1/label/__name__/values": ok([]),
        "/api/v1/metadata": ok({}),
    }
    return answers | {f"/api/v1/{name}": answer for name, answer in more.items()}


def manager(text: str = ROUTES, **labels: str) -> dict[str, Answer]:
    return {
        "/api/v2/status": Answer({"config": {"original": text}}),
        "/api/v2/alerts": Answer([{"labels": labels}] if labels else []),
    }


def environment(folder: Path, prometheus: str, *managers: str, more: str = "") -> str:
    path = folder / "environment.yaml"
    path.write_text(
        "kind: Environment\nversion: 1\nname: e\ntier: staging\n"
        f"alerts:\n  prometheus: {prometheus}\n  alertmanager: [{', '.join(managers)}]\n{more}"
    )
    return str(path)


def away() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def silent() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_prometheus_is_away(tmp_path: Path) -> None:
    url = away()
    with answering(manager()) as alertmanager:
        answer = call("lint", "alerts", "-e", environment(tmp_path, url, alertmanager.url))
    assert (answer.returncode, answer.stdout, answer.stderr) == (2, "", f"Prometheus {url}: refused\n")


def test_of_several_alertmanagers_one_is_enough(tmp_path: Path) -> None:
    with answering(manager()) as alertmanager, answering(prometheus()) as server:
        url = away()
        answer = call("lint", "alerts", "-e", environment(tmp_path, server.url, url, alertmanager.url))
    assert f"Alertmanager: Alertmanager {url}: refused; the others were looked at [alertmanager-away]" in answer.stdout
    assert answer.returncode == 1  # there are no rules


def test_none_of_several_alertmanagers_is_not_enough(tmp_path: Path) -> None:
    with answering(prometheus()) as server:
        first, second = away(), away()
        answer = call("lint", "alerts", "-e", environment(tmp_path, server.url, first, second))
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == [f"Alertmanager {first}: refused", f"Alertmanager {second}: refused"]


def test_alertmanagers_that_differ(tmp_path: Path) -> None:
    other = manager(ROUTES.replace("slack", "email"))
    with answering(manager()) as first, answering(other) as second, answering(prometheus()) as server:
        answer = call("lint", "alerts", "-e", environment(tmp_path, server.url, first.url, second.url))
    assert f"{second.url} has another configuration than {first.url}, which was looked at" in answer.stdout


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer("<html>"), "/api/v1/x is not its API; if it is behind a path, write that into the URL"),
        (Answer({"status": "success"}, 404), "HTTP 404; if it is behind a path, write that into the URL"),
        (Answer("", 302, {"Location": "/login"}), "HTTP 302 to /login; write the URL that it leads to, with its path"),
        (Answer("", 401), "HTTP 401; it wants to be shown who asks: headers: {authorization: …}"),
        (Answer("starting", 503), "HTTP 503: starting"),
        (Answer({"status": "error", "error": "too many samples"}, 422), "/api/v1/x: too many samples"),
        (Answer([]), "/api/v1/x is not its API"),
    ],
)
def test_an_answer_that_is_none(answer: Answer, why: str) -> None:
    with answering({"/api/v1/x": answer}) as server, pytest.raises(Unavailable) as error:
        asyncio.run(Server("Prometheus", "${P}/", server.url).data("/api/v1/x"))
    assert str(error.value).startswith(f"Prometheus ${{P}}/: {why}")


def test_one_that_never_answers(silent: str) -> None:
    with pytest.raises(Unavailable, match=r"no answer in 0.2 s"):
        asyncio.run(Server("Prometheus", silent, silent, timeout=0.2).data("/api/v1/x"))


def test_an_alertmanager_that_is_another_thing() -> None:
    answers = {"/api/v2/status": Answer({}), "/api/v2/alerts": Answer([])}
    with answering(answers) as server, pytest.raises(Unavailable, match="does not answer as Alertmanager does"):
        asyncio.run(linting_live.manager([Server("Alertmanager", server.url, server.url)]))


def test_what_is_shown_of_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "a-secret")
    with answering(manager()) as alertmanager, answering(prometheus()) as server:
        place = f'{{url: "{server.url}", headers: {{authorization: "Bearer ${{env:TOKEN}}"}}}}'
        answer = call("lint", "alerts", "-e", environment(tmp_path, place, alertmanager.url))
        assert answer.returncode == 1, answer.stderr
        assert {one.headers["authorization"] for one in server.asked} == {"Bearer a-secret"}
        assert all("authorization" not in one.headers for one in alertmanager.asked)
    assert "a-secret" not in answer.stdout + answer.stderr


def test_a_route_that_is_taken_by_an_alert_from_elsewhere(tmp_path: Path) -> None:
    """Another Prometheus may send to the same Alertmanager."""
    text = ROUTES.replace("{receiver: r}", "{receiver: r, routes: [{matchers: [team=a]}, {matchers: [team=b]}]}")
    with answering(manager(text, team="b")) as alertmanager, answering(prometheus()) as server:
        answer = call("lint", "alerts", "-e", environment(tmp_path, server.url, alertmanager.url))
    assert 'route {team="a"} → r: no alert fits it' in answer.stdout
    assert 'route {team="b"}' not in answer.stdout


def test_without_an_alertmanager_rules_alone_are_looked_at(tmp_path: Path) -> None:
    with answering(prometheus(alertmanagers=ok({"activeAlertmanagers": []}))) as server:
        answer = call("lint", "alerts", "-e", environment(tmp_path, server.url))
    assert "its routes were not looked at: none is named" in answer.stdout
    assert "it sends its alerts to no Alertmanager" in answer.stdout


def test_a_rule_that_we_cannot_read_is_noted_and_one_that_fails_is_wrong(tmp_path: Path) -> None:
    rule = {"type": "alerting", "duration": 0, "labels": {}, "alerts": [], "state": "inactive"}
    rules = [
        rule | {"name": "New", "query": "x smoothed", "health": "ok"},
        rule | {"name": "Broken", "query": "up", "health": "err", "lastError": "many-to-many matching"},
        rule | {"name": "Firing", "query": "ALERTS == 1", "health": "ok",
                "alerts": [{"state": "firing", "activeAt": "2020-01-01T00:00:00Z"}, {"state": "pending"}]},
    ]  # fmt: skip
    group = {"name": "g", "file": "/etc/rules.yml", "interval": 15, "rules": rules}
    answers = prometheus(rules=ok({"groups": [group]}), query=ok({"result": []}))
    with answering(manager()) as alertmanager, answering(answers) as server:
        answer = call("lint", "alerts", "-e", environment(tmp_path, server.url, alertmanager.url))
    place = "/etc/rules.yml, group g: rule"
    assert f"{place} New: its expression is one that we can't read: x smoothed [rule-unread]" in answer.stdout
    assert f"{place} Broken: its evaluation fails: many-to-many matching [rule-broken]" in answer.stdout
    assert f"{place} Firing: it fires already, since 2020-01-01T00:00:00Z" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rules", "no-such.yml"), "--rules no-such.yml: no such file"),
        (("--rules", "docs"), "docs is a folder; write docs/*.yml"),
        (("--prometheus-config", "no-such.yml"), "no-such.yml: can't be read: No such file or directory"),
        (("--alertmanager-config", "no-such.yml"), "there are no rules to look at: give --rules"),
        (("--metrics", "x"), "--metrics says what targets export where rules are files"),
        (("--rules", "tests/unit/sound-alerts/rules.yml", "--metrics", "a=b"), "there is no scrape job `a`"),
        (("--rules", "tests/unit/sound-alerts/rules.yml", "--metrics", "b"), "--metrics b: No such file"),
        (("--rules", "tests/unit/sound-alerts/rules.yml", "--metrics", "Makefile"), "--metrics Makefile: no page of"),
        (("--rules", "tests/unit/sound-alerts/alertmanager.yml"), "alertmanager.yml:1:1: a rule file has no key"),
        (("--rules", "README.md"), "README.md:"),
        (("-e", "compose-child"), "it has no alerts:; write alerts: {prometheus: URL, alertmanager: URL}"),
        ((), "what shall be looked at? Name an environment with -e"),
        (("-e", "sandbx"), "there is no environment `sandbx`; did you mean `sandbox`?"),
    ],
)
def test_what_the_user_did_wrong(arguments: tuple[str, ...], message: str) -> None:
    answer = call("lint", "alerts", *arguments)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_rule_files_by_pattern_and_by_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yml").write_text(
            f"groups: [{{name: {name}, rules: [{{alert: {name}, expr: vector(1)}}]}}]"
        )
    by_pattern = call("lint", "alerts", "--rules", f"{tmp_path}/*.yml")
    by_name = call("lint", "alerts", "--rules", f"{tmp_path}/a.yml", f"{tmp_path}/b.yml")
    assert by_pattern.stdout == by_name.stdout
    assert all(f"rule {name}: it always fires" in by_name.stdout for name in ("a", "b"))


def test_rule_files_that_are_not_here(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text("rule_files: [/nowhere/*.yml]")
    answer = call("lint", "alerts", "--prometheus-config", str(tmp_path / "p.yml"))
    assert answer.returncode == 2
    assert "rule_files (/nowhere/*.yml) match no file here; give them by --rules" in answer.stderr


def test_metrics_of_an_exporter_itself(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(
        "groups: [{name: g, rules: [{alert: A, expr: depht > 1}, {alert: B, expr: depth > 1}]}]"
    )
    (tmp_path / "p.yml").write_text(
        "rule_files: [r.yml]\nscrape_configs: [{job_name: a, static_configs: [{targets: [x]}]}]"
    )
    with answering({"/metrics": Answer("# HELP depth x\n# TYPE depth gauge\ndepth 1\n")}) as server:
        answer = call(
            "lint", "alerts", "--prometheus-config", str(tmp_path / "p.yml"), "--metrics", f"a={server.url}/metrics"
        )
        assert "rule A: no target exports `depht`: it can never fire; did you mean `depth`?" in answer.stdout
        assert "rule B" not in answer.stdout
        answer = call(
            "lint", "alerts", "--prometheus-config", str(tmp_path / "p.yml"), "--metrics", f"a={server.url}/nothing"
        )
    assert "job a: none of its targets can be scraped: HTTP 404" in answer.stdout


def test_what_speaks_the_same_protocol_and_says_less(tmp_path: Path) -> None:
    with answering(manager()) as alertmanager, answering(prometheus(rules=ok({}))) as server:
        answer = call("lint", "alerts", "-e", environment(tmp_path, server.url, alertmanager.url))
    assert answer.returncode == 2
    assert answer.stderr == f"Prometheus {server.url}: it does not answer as Prometheus does (KeyError: 'groups')\n"


def test_the_environment_names_a_rule_that_there_is_not(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(
        "groups: [{name: g, rules: [{alert: EngineDown, expr: vector(1)}, "
        "{alert: Other, expr: vector(1), labels: {failure: engine-chrash}}]}]"
    )
    (tmp_path / "e.yaml").write_text(
        "kind: Environment\nversion: 1\nname: e\ntier: staging\nalerts: {rules: {engine-crash: [EngineDwn]}}\n"
    )
    answer = call("lint", "alerts", "-e", str(tmp_path / "e.yaml"), "--rules", str(tmp_path / "r.yml"))
    assert "there is no rule EngineDwn, which the environment names for it; did you mean `EngineDown`?" in answer.stdout
    assert "its label failure: engine-chrash is no row; did you mean `engine-crash`?" in answer.stdout


def test_jobs_in_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text("groups: [{name: g, rules: [{alert: A, expr: 'up{job=\"there\"} == 0'}]}]")
    (tmp_path / "jobs.yml").write_text("scrape_configs: [{job_name: there, static_configs: [{targets: [x]}]}]")
    (tmp_path / "p.yml").write_text("rule_files: [r.yml]\nscrape_config_files: [j*.yml]")
    command = ("lint", "alerts", "--prometheus-config", str(tmp_path / "p.yml"))
    assert "rule A" not in call(*command).stdout
    (tmp_path / "jobs.yml").unlink()
    answer = call(*command)
    assert answer.returncode == 2
    assert "p.yml:2:23: `j*.yml` matches no file here; put them where it says" in answer.stderr
