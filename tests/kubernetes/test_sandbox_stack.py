"""The sandbox's services as pods of a real cluster: they trade, what they know outlives them, nothing is left."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra import cluster, kube_volumes
from tests.infra import docker as engines
from tests.kubernetes.pods import LOADER, until
from veloz_chaos.cli import on_kubernetes
from veloz_chaos.sandbox.kubernetes import HELPERS, NAMESPACE

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
TOXIPROXY = "ghcr.io/shopify/toxiproxy:2.12.0"
ORDER = {"side": "BUY", "symbol": "BTCUSDT", "qty": "0.01", "price": "1000", "client_order_id": "mine-1"}

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sandbox(kubeconfig: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:  # noqa: ARG001
    """`veloz-chaos sandbox WORDS --on kubernetes` in a folder of its own, with a kubectl on PATH; down at the end."""
    monkeypatch.setenv("PATH", str(Path(cluster.program()).parent), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "veloz_chaos", "sandbox", *words, "--on", "kubernetes"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    yield call
    down = call("down")
    assert down.returncode == 0, down.stderr
    assert call("status").returncode == 1
    assert not on_kubernetes.ENVIRONMENT.exists()


@pytest.fixture
def stack(kubeconfig: str, sandbox: Call, request: pytest.FixtureRequest) -> Iterator[str]:
    """Up with the options that the test's parameter says; the gateway's address, as the environment leads to it."""
    images()
    claims = kube_volumes.volumes(kubeconfig, NAMESPACE, ["gateway", "engine"])
    with claims, ExitStack() as stack:
        stack.callback(sandbox, "down")
        up = sandbox("up", *request.param)
        assert up.returncode == 0, up.stderr
        yield str(yaml.safe_load(on_kubernetes.ENVIRONMENT.read_text())["values"]["gateway"])


@cache
def images(monitored: bool = False) -> None:
    """In every node: the sandbox's, built by the tests' engine, and Toxiproxy's."""
    engines.client()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engines.host() or "")
        command = [sys.executable, "-m", "veloz_chaos", "sandbox", "build", *(["--monitoring"] if monitored else [])]
        built = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=900
        ).stdout.strip()
    subprocess.run([LOADER, built, TOXIPROXY], check=True, timeout=400)


def ask(address: str, body: Any = None) -> Any:
    request = urllib.request.Request(address, json.dumps(body).encode() if body else None)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def orders(gateway: str) -> set[str]:
    try:
        return {one["client_order_id"] for one in ask(f"{gateway}/api/orders")["orders"]}
    except OSError:
        return set()


def gateways(kubeconfig: str) -> list[str]:
    words = ["--namespace", NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/name=gateway", "-o", "name"]
    return cluster.run(kubeconfig, *words).split()


@pytest.mark.parametrize("stack", [(), ("--replicas", "2")], ids=["one", "two"], indirect=True)
def test_what_the_gateway_knows_outlives_its_pods(stack: str, kubeconfig: str) -> None:
    assert ask(f"{stack}/api/order", ORDER)["ok"]
    before = gateways(kubeconfig)
    cluster.run(kubeconfig, "--namespace", NAMESPACE, "delete", "--grace-period=1", *before)
    until(lambda: {"mine-1", "seed-filled"} <= orders(stack))
    assert not set(before) & set(gateways(kubeconfig))


@pytest.mark.parametrize("stack", [("--variant", "child", "--flaw", "health-lies")], ids=["child"], indirect=True)
def test_the_engine_is_the_gateways_child_and_a_flaw_is_in_it(stack: str, sandbox: Call) -> None:
    assert ask(f"{stack}/health")["engine"]["connected"]
    told = json.loads(sandbox("status", "--json").stdout)
    assert (told["variant"], told["flaws"]) == ("child", ["health-lies"])
    assert "engine" not in told["services"]
    assert {one["state"] for one in told["services"].values()} == {"ready"}
    again = sandbox("up")
    assert (again.returncode, "already up" in again.stderr) == (2, True)
    restarted = sandbox("restart", "vault")
    assert (restarted.returncode, restarted.stdout) == (0, "vault is healthy\n")


def test_an_image_that_no_node_finds_is_told_and_nothing_is_left(sandbox: Call, kubeconfig: str) -> None:
    with kube_volumes.volumes(kubeconfig, NAMESPACE, ["gateway", "engine"]):
        up = sandbox("up", "--image", "127.0.0.1:1/nothing:1")
    assert up.returncode == 2
    assert "neither has nor can pull 127.0.0.1:1/nothing:1" in up.stderr
    assert "kind load docker-image" in up.stderr
    left = cluster.run(kubeconfig, "get", "namespaces", NAMESPACE, HELPERS, "--ignore-not-found", "-o", "name")
    assert left == ""


def test_somebody_elses_namespace_is_refused_and_left_alone(sandbox: Call, kubeconfig: str) -> None:
    cluster.run(kubeconfig, "create", "namespace", NAMESPACE)
    try:
        for words in (["up"], ["down"], ["restart", "gateway"]):
            done = sandbox(*words)
            assert (done.returncode, "is not ours" in done.stderr) == (2, True), done.stderr
        assert cluster.run(kubeconfig, "get", "namespace", NAMESPACE, "-o", "name") == f"namespace/{NAMESPACE}"
    finally:
        cluster.run(kubeconfig, "delete", "namespace", NAMESPACE)
