"""Each experiment passes on the healthy sandbox, and fails on each flaw that concerns it, by that expectation alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments.documents import (
    CAUGHT,
    EVERY,
    EXPECT_AN_ALERT,
    EXPERIMENTS,
    ROOT,
    SEEDED,
    having,
    require_caught,
    told,
)
from tests.experiments.documents import typed as run
from veloz_chaos.sandbox import monitoring

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]


#: With a Prometheus the others are tried in test_alerts.py, by their alerts too.
ALONE = [name for name in EXPERIMENTS if EVERY or name not in EXPECT_AN_ALERT or not monitoring.programs()]


@pytest.mark.parametrize("experiment", ALONE)
def test_a_healthy_system_passes(experiment: str, tmp_path: Path) -> None:
    result = run(experiment, tmp_path)
    assert result["verdict"] == "passed", told(result)


@pytest.mark.parametrize(("experiment", "flaw"), CAUGHT if EVERY else SEEDED.items())
def test_a_flaw_fails_its_expectation_and_no_other(experiment: str, flaw: str, tmp_path: Path) -> None:
    result = run(experiment, tmp_path, "--flaw", flaw)
    require_caught(flaw, experiment, result)


def test_every_experiment_has_a_flaw_that_it_catches() -> None:
    assert {experiment for experiment, _ in CAUGHT} == set(EXPERIMENTS)


@pytest.mark.parametrize("experiment", ["engine-crash", "network-latency"])
def test_a_placebo_finds_nothing(experiment: str, tmp_path: Path) -> None:
    result = run(experiment, tmp_path, "--placebo")
    assert result["verdict"] == "passed", told(result)
    expected = {"placebo: no detection", "placebo: no impact", "placebo: clean audit"}
    assert set(having(result, "passed")) == expected


def test_a_lying_gateway_can_not_hide_that_it_died(tmp_path: Path) -> None:
    """pod-kill asks the supervisor and the orders, never the gateway about itself."""
    result = run("pod-kill", tmp_path, "--flaw", "health-lies")
    assert {"detection", "impact", "recovery"} <= set(having(result, "passed")), told(result)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_plans_on_the_sandbox(experiment: str) -> None:
    command = [sys.executable, "-m", "veloz_chaos", "plan", experiment, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [fault["held"] for fault in json.loads(done.stdout)["faults"]]
