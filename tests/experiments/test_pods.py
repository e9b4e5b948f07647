"""The same experiments, unchanged, on the sandbox's services as pods of a real cluster: healthy, with two gateways,
monitored, and with flaws. A stack is brought up once for all that want the same one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.documents import (
    ALERT,
    CAUGHT_BY_ALERT,
    EVERY,
    EXPECT_AN_ALERT,
    EXPERIMENTS,
    ROOT,
    SEEDED,
    asked,
    having,
    require_caught,
    told,
)
from tests.infra import cluster, kube_volumes
from tests.kubernetes import pods
from tests.kubernetes.test_sandbox_stack import images
from veloz_chaos.cli.on_kubernetes import ENVIRONMENT
from veloz_chaos.sandbox.flaws import need_monitoring
from veloz_chaos.sandbox.kubernetes import NAMESPACE

pytestmark = [pytest.mark.kubernetes, pytest.mark.docker, pytest.mark.timeout(900)]

ONE, TWO, MONITORED = (), ("--replicas", "2"), ("--monitoring",)
TRIED = SEEDED if EVERY else {}
#: By their alert; and flaws of the monitoring. What others in a pod's group want of a CPU is not seen from within where
#: the kernel accounts for that elsewhere (docs/monitoring.md).
ON_MONITORED = [one for one in EXPECT_AN_ALERT if one != "cpu-stress"] if EVERY else ["engine-crash"]
HEALTHY = EXPERIMENTS if EVERY else ["pod-kill"]
SPOILT = CAUGHT_BY_ALERT if EVERY else []

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """`veloz-chaos WORDS` in a folder of its own, with the tests' cluster and a kubectl."""
    folder = tmp_path_factory.mktemp("pods")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", cluster.require())
        patch.setenv("PATH", str(Path(cluster.program()).parent), prepend=":")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("VELOZ_CHAOS_HELPER_IMAGE", pods.image())

        def done(*words: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "veloz_chaos", *words]
            return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

        yield done


@pytest.fixture(scope="module")
def stack(call: Call, request: pytest.FixtureRequest) -> Iterator[Call]:
    """Up with the options that the test's parameter says; nothing is left of it afterwards."""
    images(monitored=need_monitoring(request.param) or request.param == MONITORED)
    with kube_volumes.volumes(cluster.require(), NAMESPACE, ["gateway", "engine"]):
        up = call("sandbox", "up", "--on", "kubernetes", *request.param)
        assert up.returncode == 0, up.stderr
        try:
            yield call
        finally:
            down = call("sandbox", "down", "--on", "kubernetes")
    assert down.returncode == 0, down.stderr


def run(call: Call, experiment: str, runs: Path, *options: str) -> dict[str, Any]:
    """One run, as a user types it; the document that --json prints for it."""
    words = ("run", experiment, "-e", str(ENVIRONMENT), "--runs", str(runs), "--json", "-q", *options)
    return asked(lambda: call(*words))


@pytest.mark.parametrize("experiment", HEALTHY)
@pytest.mark.parametrize("stack", [ONE], indirect=True, ids=["one"])
def test_a_healthy_system_passes(stack: Call, experiment: str, tmp_path: Path) -> None:
    result = run(stack, experiment, tmp_path)
    assert result["verdict"] == "passed", told(result)


@pytest.mark.skipif(not EVERY, reason="on processes it is always tried: make experiments")
@pytest.mark.parametrize("stack", [ONE], indirect=True, ids=["one"])
def test_a_placebo_finds_nothing(stack: Call, tmp_path: Path) -> None:
    result = run(stack, "network-partition", tmp_path, "--placebo")
    assert result["verdict"] == "passed", told(result)


@pytest.mark.parametrize("stack", [ONE], indirect=True, ids=["one"])
def test_doctor_says_what_can_be_done(stack: Call, tmp_path: Path) -> None:
    answer = stack("doctor", "-e", str(ENVIRONMENT), "--runs", str(tmp_path))
    assert answer.returncode == 0, answer.stdout
    assert answer.stdout.endswith("all is well\n")


@pytest.mark.parametrize("stack", [TWO], indirect=True, ids=["two"])
def test_one_of_two_gateways_is_killed(stack: Call, tmp_path: Path) -> None:
    result = run(stack, "pod-kill", tmp_path)
    assert result["verdict"] == "passed", told(result)


@pytest.mark.parametrize(
    ("stack", "experiment", "flaw"),
    [pytest.param(("--flaw", flaw), experiment, flaw, id=f"{flaw}-{experiment}") for experiment, flaw in TRIED.items()],
    indirect=["stack"],
)
def test_a_flaw_fails_its_expectation_and_no_other(stack: Call, experiment: str, flaw: str, tmp_path: Path) -> None:
    result = run(stack, experiment, tmp_path)
    require_caught(flaw, experiment, result)


@pytest.mark.parametrize("experiment", ON_MONITORED)
@pytest.mark.parametrize("stack", [MONITORED], indirect=True, ids=["monitored"])
def test_a_monitored_system_raises_the_alert_of_the_document(stack: Call, experiment: str, tmp_path: Path) -> None:
    result = run(stack, experiment, tmp_path)
    assert result["verdict"] == "passed", told(result)
    assert set(having(result, "passed")) >= ALERT, told(result)


@pytest.mark.parametrize("stack", [MONITORED], indirect=True, ids=["monitored"])
def test_nothing_is_wrong_with_what_monitors(stack: Call) -> None:
    answer = stack("lint", "alerts", "-e", str(ENVIRONMENT))
    assert answer.returncode == 0, answer.stdout
    assert "nothing wrong" in answer.stdout


@pytest.mark.parametrize(
    ("stack", "experiment", "flaw"),
    [pytest.param(("--flaw", flaw), experiment, flaw, id=f"{flaw}-{experiment}") for experiment, flaw in SPOILT],
    indirect=["stack"],
)
def test_a_flaw_of_the_monitoring_fails_its_expectation_and_no_other(
    stack: Call, experiment: str, flaw: str, tmp_path: Path
) -> None:
    result = run(stack, experiment, tmp_path)
    require_caught(flaw, experiment, result)
