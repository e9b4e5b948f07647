"""The same experiments, unchanged, on the sandbox's services as containers: healthy, hardened, with the engine as the
gateway's child, monitored, and with a flaw for each. A stack is brought up once for all that want the same one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.documents import (
    ALERT,
    CAUGHT_BY_ALERT,
    EVERY,
    EXPECT_AN_ALERT,
    EXPERIMENTS,
    FEW,
    ROOT,
    SEEDED,
    asked,
    having,
    require_caught,
    told,
)
from tests.infra import docker as engines
from tests.infra.require import absent

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

HEALTHY, HARDENED, CHILD, MONITORED = (), ("--variant", "hardened"), ("--variant", "child"), ("--monitoring",)
#: What is another matter in a hardened container, and where the engine is a child.
ON_HARDENED = ["oom-kill", "cpu-stress", "disk-full", "network-partition"] if EVERY else ["disk-full"]
ON_CHILD = ["engine-crash", "network-partition"] if EVERY else ["engine-crash"]
TRIED = SEEDED if EVERY else {"pod-kill": "gateway-state-not-restored"}
#: By their alert; and flaws of the monitoring.
ON_MONITORED = EXPECT_AN_ALERT if EVERY else ["engine-crash"]
ON_HEALTHY = EXPERIMENTS if EVERY else [one for one in FEW if one not in ON_MONITORED]
SPOILT = CAUGHT_BY_ALERT if EVERY else [("engine-crash", "alert-wrong-severity")]


def veloz_chaos(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "veloz_chaos", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    address = engines.host()
    if address is None:
        absent("docker", "no engine for tests answers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", address)
        yield


@pytest.fixture(scope="module")
def stack(engine: None, request: pytest.FixtureRequest) -> Iterator[None]:  # noqa: ARG001
    """Up with the options that the test's parameter says; nothing is left of it afterwards. One that is up already is
    somebody else's: it is not taken down, and the test fails by what `up` says."""
    up = veloz_chaos("sandbox", "up", "--on", "docker", *request.param)
    assert up.returncode == 0, up.stderr
    yield
    down = veloz_chaos("sandbox", "down", "--on", "docker")
    assert down.returncode == 0, down.stderr


def run(experiment: str, runs: Path, *options: str, environment: str = "compose") -> dict[str, Any]:
    """One run, as a user types it; the document that --json prints for it."""
    words = ("run", experiment, "-e", environment, "--runs", str(runs), "--json", "-q", *options)
    return asked(lambda: veloz_chaos(*words))


@pytest.mark.parametrize("experiment", ON_HEALTHY)
@pytest.mark.parametrize("stack", [HEALTHY], indirect=True, ids=["healthy"])
def test_a_healthy_system_passes(stack: None, experiment: str, tmp_path: Path) -> None:  # noqa: ARG001
    result = run(experiment, tmp_path)
    assert result["verdict"] == "passed", told(result)


@pytest.mark.skipif(not EVERY, reason="on processes it is always tried: make experiments")
@pytest.mark.parametrize("stack", [HEALTHY], indirect=True, ids=["healthy"])
def test_a_placebo_finds_nothing(stack: None, tmp_path: Path) -> None:  # noqa: ARG001
    result = run("network-partition", tmp_path, "--placebo")
    assert result["verdict"] == "passed", told(result)


@pytest.mark.parametrize("stack", [HEALTHY], indirect=True, ids=["healthy"])
def test_doctor_says_what_can_be_done(stack: None, tmp_path: Path) -> None:  # noqa: ARG001
    answer = veloz_chaos("doctor", "-e", "compose", "--runs", str(tmp_path))
    assert answer.returncode == 0, answer.stdout
    assert answer.stdout.endswith("all is well\n")


@pytest.mark.parametrize("experiment", ON_HARDENED)
@pytest.mark.parametrize("stack", [HARDENED], indirect=True, ids=["hardened"])
def test_a_hardened_system_passes(stack: None, experiment: str, tmp_path: Path) -> None:  # noqa: ARG001
    result = run(experiment, tmp_path)
    assert result["verdict"] == "passed", told(result)


@pytest.mark.parametrize("experiment", ON_CHILD)
@pytest.mark.parametrize("stack", [CHILD], indirect=True, ids=["child"])
def test_a_system_with_the_engine_as_a_child_passes(stack: None, experiment: str, tmp_path: Path) -> None:  # noqa: ARG001
    result = run(experiment, tmp_path, environment="compose-child")
    assert result["verdict"] == "passed", told(result)


@pytest.mark.parametrize(
    ("stack", "experiment", "flaw"),
    [pytest.param(("--flaw", flaw), experiment, flaw, id=f"{flaw}-{experiment}") for experiment, flaw in TRIED.items()],
    indirect=["stack"],
)
def test_a_flaw_fails_its_expectation_and_no_other(stack: None, experiment: str, flaw: str, tmp_path: Path) -> None:  # noqa: ARG001
    result = run(experiment, tmp_path)
    require_caught(flaw, experiment, result)


@pytest.mark.parametrize("experiment", ON_MONITORED)
@pytest.mark.parametrize("stack", [MONITORED], indirect=True, ids=["monitored"])
def test_a_monitored_system_raises_the_alert_of_the_document(stack: None, experiment: str, tmp_path: Path) -> None:  # noqa: ARG001
    result = run(experiment, tmp_path, environment="compose-monitored")
    assert result["verdict"] == "passed", told(result)
    assert set(having(result, "passed")) >= ALERT, told(result)


@pytest.mark.parametrize("stack", [MONITORED], indirect=True, ids=["monitored"])
def test_nothing_is_wrong_with_what_monitors(stack: None) -> None:  # noqa: ARG001
    answer = veloz_chaos("lint", "alerts", "-e", "compose-monitored")
    assert answer.returncode == 0, answer.stdout
    assert "nothing wrong" in answer.stdout


@pytest.mark.parametrize(
    ("stack", "experiment", "flaw"),
    [pytest.param(("--flaw", flaw), experiment, flaw, id=f"{flaw}-{experiment}") for experiment, flaw in SPOILT],
    indirect=["stack"],
)
def test_a_flaw_of_the_monitoring_fails_its_expectation_and_no_other(
    stack: None,  # noqa: ARG001
    experiment: str,
    flaw: str,
    tmp_path: Path,
) -> None:
    result = run(experiment, tmp_path, environment="compose-monitored")
    require_caught(flaw, experiment, result)
