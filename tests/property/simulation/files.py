"""Files as people write them, to be changed a word at a time, and what planning makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from veloz_chaos.core.capability import Offer, Reference
from veloz_chaos.core.checking import Written
from veloz_chaos.core.document import Document, parse, validate
from veloz_chaos.core.environment import Environment
from veloz_chaos.core.experiment import Experiment
from veloz_chaos.core.matrix import ResponseMatrix
from veloz_chaos.core.plan import Plan
from veloz_chaos.core.planning import Choices, plan, wanted
from veloz_chaos.core.survey import Found, Inventory
from veloz_chaos.errors import InvalidFile, Refused
from veloz_chaos.registry import Registry

EXPERIMENT = """
kind: Experiment
version: 1
name: engine-crash
title: The engine dies
failure: engine-crash
allowed-on: [development, staging]
blast-radius: {count: 1, percent: 100%, last-replica: true}
steady-state: [healthy]
fault:
  kill: {service: engine, pick: one}
expect:
  detection: [down]
  recovery: {hold: 2s}
"""
ENVIRONMENT = """
kind: Environment
version: 1
name: lab
tier: development
services:
  engine: {fake: {id: engine}}
links:
  gateway->engine: {fake: {id: wire}}
probes:
  healthy: {http: {get: "http://127.0.0.1:1/health"}, every: 100ms, timeout: 250ms}
  down: {http: {get: "http://127.0.0.1:1/status"}, every: 100ms, timeout: 250ms}
"""
MATRIX = """
kind: ResponseMatrix
version: 1
immediate: 1s
give-up: 10m
rows:
  engine-crash: {title: Engine Crash, detection: 5s, recovery: 10s}
  network-partition: {title: Network Partition, detection: immediate, recovery: variable}
"""


def read(text: str, name: str, *changes: tuple[str, str]) -> Document:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse(text, name)


def written(experiment: Sequence[tuple[str, str]] = (), environment: Sequence[tuple[str, str]] = ()) -> Written:
    """The files above, changed."""
    first, second = read(EXPERIMENT, "engine-crash.yaml", *experiment), read(ENVIRONMENT, "lab.yaml", *environment)
    return Written(
        validate(Experiment, first),
        first,
        validate(Environment, second),
        second,
        validate(ResponseMatrix, parse(MATRIX, "response-matrix.yaml")),
        {},
    )


def found(
    number: int = 0,
    *,
    expiry: str | None = "1m",
    leftovers: tuple[str, ...] = (),
    **offers: bool,
) -> Found:
    """One incarnation that can be killed and paused."""
    names = {"Killable", "Pausable", "Severable"} if not offers else {name for name, there in offers.items() if there}
    how: dict[str, Any] = {"mechanism": "memory", "touches": "it", "undo": "undo", "expiry": expiry}
    made = {name: Offer(capability=name, **how) for name in names}
    return Found(Reference(backend="fake", name="engine", identity={"id": number}), made, leftovers)


def planned(files: Written, *incarnations: Found, on: str = "engine", **choices: Any) -> Plan:
    return plan(files, Inventory({on: incarnations or (found(),)}), Registry(), Choices(**choices))


def refusal(files: Written, *incarnations: Found, **more: Any) -> list[str]:
    with pytest.raises(Refused) as refused:
        planned(files, *incarnations, **more)
    return str(refused.value).splitlines()


def problems(files: Written) -> list[str]:
    with pytest.raises(InvalidFile) as invalid:
        wanted(files, Registry())
    return [str(problem) for problem in invalid.value.problems]
