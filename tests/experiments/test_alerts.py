"""With a real Prometheus and Alertmanager: each flaw of these fails its expectation alone, and each experiment that
expects an alert passes by it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.experiments.documents import (
    ALARMED,
    ALERT,
    CAUGHT_BY_ALERT,
    EVERY,
    EXPECT_AN_ALERT,
    ROOT,
    having,
    require_caught,
    told,
)
from tests.experiments.documents import typed as run
from tests.infra import prometheus

pytestmark = [pytest.mark.sandbox, pytest.mark.prometheus, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    prometheus.require()


@pytest.mark.parametrize(
    ("experiment", "flaw"), CAUGHT_BY_ALERT if EVERY else [(name, flaw) for flaw, name in ALARMED.items()]
)
def test_a_flaw_fails_its_expectation_and_no_other(experiment: str, flaw: str, tmp_path: Path) -> None:
    result = run(experiment, tmp_path, "--flaw", flaw)
    require_caught(flaw, experiment, result)


def test_every_flaw_of_the_monitoring_is_tried() -> None:
    assert {flaw for _, flaw in CAUGHT_BY_ALERT} == set(ALARMED)
    assert {(experiment, flaw) for flaw, experiment in ALARMED.items()} <= set(CAUGHT_BY_ALERT)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The environment of a sandbox with a real Prometheus and Alertmanager."""
    folder = tmp_path_factory.mktemp("watched") / "sandbox"
    command = [sys.executable, "-m", "veloz_chaos", "sandbox"]
    subprocess.run([*command, "up", "--monitoring", "--free-ports", "--dir", str(folder)], cwd=ROOT, check=True)
    yield folder / "environment.yaml"
    subprocess.run([*command, "down", "--dir", str(folder)], cwd=ROOT, check=True)


@pytest.mark.parametrize("experiment", EXPECT_AN_ALERT)
def test_a_healthy_system_raises_the_alert_of_the_document(watched: Path, experiment: str, tmp_path: Path) -> None:
    result = run(experiment, tmp_path, "-e", str(watched))
    assert result["verdict"] == "passed", told(result)
    assert set(having(result, "passed")) >= ALERT, told(result)
