"""Against real servers: what is said of rules is true of them, and alerts come as soon as is said."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.infra import certificates
from tests.infra import prometheus as real
from tests.infra.answers import Answer, answering
from tests.infra.toxiproxy import free_port
from tests.unit.test_cli_app import call
from tests.unit.test_linting_veloz import NO_RULE, SOUND, VELOZ, about
from veloz_chaos.core import linting_times, promql
from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.linting_outcome import Outcome
from veloz_chaos.core.linting_world import World
from veloz_chaos.engine import linting_live
from veloz_chaos.mechanisms.monitoring_api import Server

pytestmark = pytest.mark.prometheus
TEXT = {"Content-Type": "text/plain"}
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str) -> Any:
    with _DIRECT.open(url, timeout=10) as response:
        return json.loads(response.read())


def scraped(url: str) -> None:
    """Waits until every target has been."""

    def all_of_them() -> bool:
        targets = get(f"{url}/api/v1/targets")["data"]["activeTargets"]
        return bool(targets) and all(one["health"] != "unknown" for one in targets)

    real.until(all_of_them)


def lint(environment: Path, *more: str) -> dict[str, Any]:
    answer = call("lint", "alerts", "--json", "-e", str(environment), *more)
    assert answer.stderr == ""
    return dict(json.loads(answer.stdout))


def host(url: str) -> str:
    return url.removeprefix("http://")


def veloz(folder: Path, stack: ExitStack, exporter: str) -> Path:
    """An environment of the configuration with the real VeloZ's defects, running."""
    routing = (VELOZ / "alertmanager.yml").read_text().replace("${SLACK_WEBHOOK_URL}", "http://127.0.0.1:1/x")
    (folder / "alertmanager.yml").write_text(routing)
    manager = stack.enter_context(real.alertmanager(folder, folder / "alertmanager.yml"))
    text = (VELOZ / "prometheus.yml").read_text().replace("gateway:8080", exporter)
    text = text.replace("rules/", f"{VELOZ}/rules/").replace("alertmanager:9093", host(manager))
    port = free_port()
    (folder / "prometheus.yml").write_text(
        text.replace("localhost:9090", f"127.0.0.1:{port}").replace("15s", "1s").replace("5s", "1s")
    )
    server = stack.enter_context(real.prometheus(folder, folder / "prometheus.yml", port=port))
    scraped(server)
    words = (VELOZ / "environment.yaml").read_text()
    (folder / "environment.yaml").write_text(f"{words}  prometheus: {server}\n  alertmanager: {manager}\n")
    return folder / "environment.yaml"


def test_what_is_wrong_with_the_real_one_s_alerts(tmp_path: Path) -> None:
    page = {"/metrics": Answer((VELOZ / "metrics.txt").read_text(), headers=TEXT)}
    with ExitStack() as stack:
        exporter = stack.enter_context(answering(page))
        report = lint(veloz(tmp_path, stack, host(exporter.url)))
    assert about(report["findings"]) == {
        "row-no-rule": NO_RULE,
        "row-wrong-severity": {"row exchange-down"},
        "channel-missing": {"row network-latency"},
        "channel-extra": {"row network-latency"},
        "metric-absent": {
            "rule HighOrderLatency", "rule CriticalOrderLatency", "rule HighAPILatency",
            "record veloz:order_latency:p99_5m",
        },
        "detection-impossible": {"row gateway-crash", "row engine-crash", "row exchange-down"},
        "notice-impossible": {"row gateway-crash"},
        "route-shadowed": {'route {service="execution"} → trading-alerts', 'route {service="risk"} → risk-alerts'},
        "secret-literal": {"Alertmanager"},
    }  # fmt: skip
    assert about(report["notes"]) == {
        "row-more-severities": {"row network-latency"},
        "secrets-unread": {"Alertmanager"},
    }
    rules = {one["about"]: one["remedy"] for one in report["findings"]}
    assert rules["rule HighAPILatency"] == "did you mean `veloz_http_request_duration_seconds_bucket`?"


def test_an_exporter_that_closes_every_connection(tmp_path: Path) -> None:
    with ExitStack() as stack:
        closing = f"127.0.0.1:{free_port()}"
        report = lint(veloz(tmp_path, stack, closing))
    found = about(report["findings"])
    assert found["job-down"] == {"job veloz-gateway"}
    assert found["always-fires"] == {"rule VeloZGatewayDown"}
    assert "rule VeloZEngineDown" in found["metric-absent"]
    assert "rule VeloZGatewayDown" not in found["metric-absent"]


#: `pass word`, as bcrypt keeps it.
HASHED = "$2b$04$abcdefghijklmnopqrstuuFcV8WPKEefLKdOWfX8pW1yTVya21P7a"


def test_behind_a_path_by_tls_for_who_knows_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificates.make(tmp_path)
    web = f"tls_server_config: {{cert_file: {made}/cert.pem, key_file: {made}/key.pem}}\n"
    (tmp_path / "web.yml").write_text(f"{web}basic_auth_users: {{me: '{HASHED}'}}\n")
    guarded = f"--web.config.file={tmp_path / 'web.yml'}"
    monkeypatch.setenv("BASIC", "Basic " + base64.b64encode(b"me:pass word").decode())
    with ExitStack() as stack:
        pages = {
            f"/{name}": Answer((SOUND / f"{name}.txt").read_text(), headers=TEXT) for name in ("gateway", "supervisor")
        }
        exporter = host(stack.enter_context(answering(pages)).url)
        (tmp_path / "alertmanager.yml").write_text((SOUND / "alertmanager.yml").read_text())
        manager = stack.enter_context(real.alertmanager(tmp_path, tmp_path / "alertmanager.yml", guarded, prefix="/am"))
        text = (SOUND / "prometheus.yml").read_text().replace("[rules.yml]", f"[{SOUND}/rules.yml]")
        text = text.replace("gateway:18080", exporter).replace("supervisor:18085", exporter)
        text = text.replace("job_name: gateway", "job_name: gateway\n    metrics_path: /gateway")
        text = text.replace("job_name: supervisor", "job_name: supervisor\n    metrics_path: /supervisor")
        (tmp_path / "prometheus.yml").write_text(text.replace("alertmanager:9093", host(manager).removesuffix("/am")))
        server = stack.enter_context(real.prometheus(tmp_path, tmp_path / "prometheus.yml", guarded, prefix="/prom"))
        places = [url.replace("http://", "https://") for url in (server, manager)]
        good = f'headers: {{authorization: "${{env:BASIC}}"}}, ca: {made}/ca.pem'

        def said(prometheus: str, more: str = good) -> tuple[int, str]:
            words = (SOUND / "environment.yaml").read_text()
            own = f"  prometheus: {{url: {prometheus}, {more}}}\n  alertmanager: {{url: {places[1]}, {good}}}\n"
            (tmp_path / "environment.yaml").write_text(words + own)
            answer = call("lint", "alerts", "-e", str(tmp_path / "environment.yaml"))
            return answer.returncode, answer.stderr or answer.stdout

        def nothing_wrong() -> bool:  # as soon as everything is scraped and recorded
            return said(places[0]) == (0, said(places[0])[1]) and "nothing wrong, 1 note" in said(places[0])[1]

        real.until(nothing_wrong)
        assert "HTTP 401; it wants to be shown who asks" in said(places[0], f"ca: {made}/ca.pem")[1]
        assert (
            "tls: unable to get local issuer certificate; name the certificates" in said(places[0], "verify: true")[1]
        )
        assert "if it is behind a path, write that into the URL" in said(places[0].removesuffix("/prom"))[1]


GOOD, BAD = "level 1\ngood 1\n", "level 9\n"


@dataclass
class Watched:
    """A Prometheus that scrapes a page which can be changed."""

    url: str
    pages: dict[str, Answer]

    def show(self, level: str) -> None:
        self.pages["/metrics"] = Answer(PAGE + level, headers=TEXT)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    (folder / "rules.yml").write_text(RULES)
    pages = {"/metrics": Answer(PAGE + GOOD, headers=TEXT)}
    with answering(pages) as exporter:
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\nscrape_configs:\n"
            f"- {{job_name: a, static_configs: [{{targets: ['{host(exporter.url)}']}}]}}\n"
            f"- {{job_name: gone, static_configs: [{{targets: ['127.0.0.1:{free_port()}']}}]}}\n"
        )
        with real.prometheus(folder, folder / "prometheus.yml") as server:
            scraped(server)
            yield Watched(server, pages)


PAGE = """\
# TYPE wait_seconds histogram
wait_seconds_bucket{le="1"} 3
wait_seconds_bucket{le="+Inf"} 5
wait_seconds_sum 4
wait_seconds_count 5
depth{code="200",zone="a"} 5
depth{code="404",zone="b"} 7
done_total{zone="a"} 12
"""
RULES = """
groups:
- name: g
  rules:
  - {record: "level:max", expr: max(level)}
  - {record: "all:read", expr: "depth or done_total or wait_seconds_bucket or nowhere"}  # or nobody would ask for them
  - {alert: Plain, expr: level > 5}
  - {alert: Held, expr: level > 5, for: 2s}
  - {alert: Odd, expr: level > 5, for: 1500ms}
  - {alert: Once, expr: "max_over_time(level[4s]) > 5"}
  - {alert: All, expr: "min_over_time(level[4s]) > 5"}
  - {alert: Mean, expr: "avg_over_time(level[4s]) > 7"}
  - {alert: Recorded, expr: "level:max > 5"}
  - {alert: Offset, expr: "level offset 2s > 5"}
  - {alert: Gone, expr: "absent_over_time(good[3s])"}
"""


def ours(url: str) -> World:
    """What we know of it."""
    server = Server("Prometheus", url, url)

    async def read() -> World:
        prometheus = await linting_live.prometheus(server)
        exports = await linting_live.exports(server, prometheus, ["code", "zone"])
        records = {rule.name: [rule] for rule in prometheus.rules if rule.records}
        return World(exports, True, records)

    return asyncio.run(read())


def expression(random_: random.Random, depth: int) -> str:
    """Any vector of what is there, and of what is not."""
    if depth == 0 or random_.random() < 0.15:
        name = random_.choice(["depth", "up", "done_total", "nowhere", "level", "wait_seconds_bucket"])
        chosen = random_.choice(
            ["", "", '{job="a"}', '{job="gone"}', '{zone="a"}', '{zone=~"b|c"}', '{cod="1"}', '{code!="200"}']
        )
        return name + chosen
    below = expression(random_, depth - 1)
    other = expression(random_, depth - 1)
    bound = random_.choice(["0", "1", "5", "-1", "100", "Inf"])
    compare = random_.choice(["==", "!=", ">", "<", ">=", "<="])
    matching = random_.choice(["", "on ()", "on (job)", "ignoring (code, zone, le)"])
    return random_.choice([
        f"({below} {compare} {bound})", f"({below} {compare} bool {bound})", f"({bound} {compare} {below})",
        f"({below} {random_.choice(['and', 'unless'])} {matching} {other})", f"({below} or {other})", f"-{below}",
        f"{random_.choice(['sum', 'min', 'max', 'avg', 'count', 'group', 'stddev'])}({below})",
        f"{random_.choice(['sum', 'count'])} by (job) ({below})", f"topk(1, {below})", f"abs({below})",
        f"absent({below})", f"vector(scalar({below}))", f"({below} {random_.choice('+-*/')} {bound})",
        f"({random_.choice(['sum', 'max'])}({below}) {random_.choice('+-*/')} sum({other}))", f"hour({below})",
        f"{random_.choice(['max', 'min', 'avg', 'count', 'present', 'last'])}_over_time(({below})[5s:1s])",
        f"{random_.choice(['rate', 'changes', 'resets'])}(({below})[5s:1s])", f"sgn({below})",
        f"histogram_quantile(0.5, sum by ({random_.choice(['le', 'job'])}) (rate(wait_seconds_bucket[5s])))",
    ])  # fmt: skip


def test_what_is_said_of_any_expression_is_true(watched: Watched) -> None:
    """Prometheus evaluates it: what we call empty is, and what it yields has the values and labels that we say."""
    time.sleep(6)  # for windows
    world, random_ = ours(watched.url), random.Random(3)
    claims = {"nothing": 0, "always": 0, "range": 0}
    for _ in range(1500):
        text = expression(random_, 3)
        try:
            outcome = world.of(promql.parse(text))
            told = get(f"{watched.url}/api/v1/query?query={quote(text, safe='')}")["data"]["result"]
        except (ValueError, urllib.error.HTTPError):
            continue  # one that either refuses, such as many to many
        if outcome.nothing:
            assert told == [], (text, outcome.nothing)
        if outcome.always:
            assert told, (text, outcome.always)
        for one in told if isinstance(told, list) else ():
            assert fits(outcome, one["metric"], float(one["value"][1])), (text, outcome, one)
        claims["nothing" if outcome.nothing else "always" if outcome.always else "range"] += 1
    assert min(claims.values()) > 100, claims


def fits(outcome: Outcome, labels: dict[str, str], value: float) -> bool:
    asked = {name: outcome.labels.of(name) for name in ("job", "code", "zone", "le")}
    kept = all(values is None or labels.get(name, "") in values for name, values in asked.items())
    inside = outcome.low <= value <= outcome.high if value == value else outcome.nan or outcome.low != outcome.low
    return kept and inside


def test_alerts_come_as_soon_as_is_said(watched: Watched) -> None:
    prometheus = asyncio.run(linting_live.prometheus(Server("Prometheus", watched.url, watched.url)))
    world = ours(watched.url)
    said = {rule.name: linting_times.of(rule, world, None).fires for rule in prometheus.rules if not rule.records}
    time.sleep(5)
    watched.show(BAD)
    struck = time.time()
    fired: dict[str, float] = {}
    while time.time() < struck + 15 and fired.keys() != said.keys():
        for one in get(f"{watched.url}/api/v1/alerts")["data"]["alerts"]:
            if one["state"] == "firing":
                fired.setdefault(one["labels"]["alertname"], time.time())
        time.sleep(0.02)
    watched.show(GOOD)
    assert fired.keys() == said.keys()
    for name, interval in said.items():
        took = fired[name] - struck
        assert interval.at_least / SECOND <= took <= interval.at_most / SECOND + SLACK, (name, took, interval)


#: Our looking, and what a busy machine adds. Seconds.
SLACK = 0.6
