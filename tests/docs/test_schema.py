"""The published schemas accept every file that ships, and refuse what `validate` refuses."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from veloz_chaos.registry import Registry
from veloz_chaos.reports import schema

ROOT = Path(__file__).parents[2]
FILES = [path for room in ("experiments", "environments", "schedules") for path in sorted((ROOT / room).glob("*.yaml"))]
KINDS = {"Experiment": "experiment", "Environment": "environment", "ResponseMatrix": "matrix", "Schedule": "schedule"}


@cache
def validator(kind: str) -> Draft202012Validator:
    made = json.loads(json.dumps(schema.of(kind, Registry())))
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


def wrong(data: Any) -> list[str]:
    return [error.message for error in validator(KINDS[data["kind"]]).iter_errors(data)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_file_fits(path: Path) -> None:
    assert wrong(yaml.safe_load(path.read_text())) == []


def test_the_editors_are_told_which_draft_it_is() -> None:
    assert schema.of("experiment", Registry())["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def experiment(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "kind": "Experiment", "version": 1, "name": "a", "title": "A", "failure": "engine-crash",
        "allowed-on": ["staging"], "steady-state": ["up"], "fault": {"kill": {"service": "engine"}},
    }  # fmt: skip
    return {key: value for key, value in (base | changes).items() if value is not None}


def environment(**changes: Any) -> dict[str, Any]:
    return {"kind": "Environment", "version": 1, "name": "a", "tier": "staging", **changes}


def workload(**changes: Any) -> dict[str, Any]:
    action = {"http": {"post": "http://x", "json": {"id": "${id}"}}, "accepted": "true", "refused": "false"}
    reading = {"http": {"get": "http://x"}, "orders": "json"}
    base: dict[str, Any] = {
        "rate": "20/s", "symbols": ["A"], "prices": {"A": {"BUY": "1"}}, "place": action,
        "cancel": {"share": "20%", "after": "500ms", **action}, "settle": "10s",
        "read": {"gateway": reading, "exchange": reading}, "states": {"NEW": "open"},
    }  # fmt: skip
    return environment(workloads={"orders": base | changes})


GOOD = [
    workload(),
    workload(rate="${rate}"),
    experiment(),
    experiment(fault={"latency": {"link": "a->b", "delay": "${delay}", "for": "35s"}}),
    experiment(fault={"pause": {"service": "a", "for": {"until": "decided", "at-most": "35s"}, "pick": "50%"}}),
    experiment(expect={"detection": ["a"]}),
    experiment(expect={"detection": {"signals": ["a"], "optional": True}}),
    experiment(fault=None, steps=[{"name": "a", "inject": [{"kill": {"service": "a"}}]}]),
    environment(services={"a": {"process": {"port": 80}, "restore": "again"}}),
    environment(probes={"a": {"http": {"get": "http://x"}, "every": "50ms", "ok": "status == 200"}}),
    environment(tell={"slack": "${env:SLACK_URL}", "webhook": {"url": "http://x", "ca": "ca.pem", "verify": False}}),
    environment(tell={"grafana": "http://x"}),
    environment(tell={"grafana": {"url": "http://x", "headers": {"authorization": "${env:T}"}, "tags": ["a"]}}),
    environment(links={"a->b": {"stand-in": {"pause": {"service": "a"}}, "models": "silence"}}),
]
BAD = [
    workload(rate="20"),
    workload(rte="20/s"),
    workload(states={"NEW": "opened"}),
    workload(place={"http": {"post": "http://x"}, "accepted": "true"}),
    workload(read={"gateway": {"http": {"get": "http://x"}, "orders": "json"}}),
    experiment(name=None),
    experiment(extra=1),
    experiment(version="${v}"),
    experiment(baseline="3"),
    experiment(fault={"kil": {"service": "engine"}}),
    experiment(fault={"kill": {"service": "engine", "signl": "KILL"}}),
    experiment(fault={"kill": {"service": "engine", "signal": "STOP"}}),
    experiment(fault={"kill": {"service": "engine", "for": "3s"}}),
    experiment(fault={"kill": {"link": "a->b"}}),
    experiment(fault={"latency": {"link": "a->b", "delay": "300ms"}}),
    experiment(fault={"latency": {"link": "a->b", "for": "35s"}}),
    experiment(fault={"kill": {"service": "a"}, "pause": {"service": "a", "for": "3s"}}),
    environment(services={"a": {"proces": {"port": 80}}}),
    environment(services={"a": {"process": {"prt": 80}}}),
    environment(probes={"a": {"http": {"get": "http://x", "gett": "x"}}}),
    environment(probes={"a": {"http": {"get": "http://x"}, "every": 50}}),
    environment(probes={"a": {"every": "50ms"}}),
    environment(tell={"slak": "http://x"}),
    environment(tell={"slack": {"url": "http://x", "tags": ["a"]}}),
    environment(tell={"grafana": {"tags": ["a"]}}),
]


@pytest.mark.parametrize("data", GOOD, ids=str)
def test_what_people_write_fits(data: dict[str, Any]) -> None:
    assert wrong(data) == []


@pytest.mark.parametrize("data", BAD, ids=str)
def test_what_is_wrong_does_not(data: dict[str, Any]) -> None:
    assert wrong(data) != []
