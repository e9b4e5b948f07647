"""Whom a drain sends away, and what refuses one, before a real API server; the laws are in tests/conformance."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from tests.kubernetes.lab import MADE, TOLERATED, Lab, kubeconfig, until
from veloz_chaos.errors import Gone, Missing, Refused, TargetError, Unavailable
from veloz_chaos.faults.drain import Drain
from veloz_chaos.mechanisms.kube_api import path
from veloz_chaos.targets import kubernetes_node

pytestmark = pytest.mark.kubernetes
SIGN = "vc-test-1"
YES = {kubernetes_node.ALLOWED: "true"}
numbers = itertools.count(1)
Make = Callable[..., str]


@pytest.fixture
def make(lab: Lab) -> Iterator[Make]:
    """A node that no machine is behind; its name."""
    with ExitStack() as stack:

        def begin(**labels: str) -> str:
            name = f"vc-test-{os.getpid()}-n{next(numbers)}"
            lab.node(name, **labels)
            stack.callback(remove, lab, name)
            return name

        yield begin


def remove(lab: Lab, name: str) -> None:
    with suppress(TargetError):
        lab.api.delete(path("nodes", name=name))


def found(name: str) -> kubernetes_node.Node:
    return kubernetes_node.find("node", kubernetes_node.Selector(name, kubeconfig=kubeconfig()))[0]


def state(lab: Lab, name: str) -> tuple[bool, dict[str, Any]]:
    read = lab.api.get(path("nodes", name=name))
    marks = read["metadata"].get("annotations") or {}
    return bool(read["spec"].get("unschedulable")), {k: v for k, v in marks.items() if k.startswith("veloz-chaos/")}


def test_it_is_emptied_and_opened_again(lab: Lab, make: Make) -> None:
    node, fault = make(**YES), Drain()
    lab.tenants(node)
    lab.tenants(node, 1, "other")
    target = found(node)
    receipt = fault.prepare(target, SIGN)
    assert receipt["undisturbed"] == 3
    fault.inject(target, receipt)
    assert fault.in_place(target, receipt).shown
    assert state(lab, node) == (True, {"veloz-chaos/sign": SIGN})
    assert not [pod for pod in lab.pods() if pod["spec"].get("nodeName")]
    fault.revert(target, receipt)
    assert state(lab, node) == (False, {})
    assert fault.in_place(target, receipt).shown is False


def test_a_daemon_set_s_pods_stay(lab: Lab, make: Make) -> None:
    node, fault = make(**YES), Drain()
    lab.tenants(node, 1)
    there: dict[str, Any] = {"nodeSelector": {MADE: node}, "tolerations": TOLERATED}
    lab.deployment("daemon", kind="daemonsets.apps", terminationGracePeriodSeconds=0, **there)
    until(lambda: [pod for pod in lab.pods("daemon") if pod["spec"].get("nodeName") == node])
    receipt = fault.prepare(found(node), SIGN)
    assert receipt["undisturbed"] == 1
    fault.inject(found(node), receipt)
    assert fault.in_place(found(node), receipt).shown
    assert len(lab.pods("daemon")) == 1


def test_a_disruption_budget_holds_it_up(lab: Lab, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_node, "PATIENCE", 3.0)
    node, fault = make(**YES), Drain()
    lab.tenants(node)
    lab.run()
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}
    lab.make("poddisruptionbudgets.policy", "policy/v1", "web", spec=spec)
    target = found(node)
    receipt = fault.prepare(target, SIGN)
    with pytest.raises(TargetError, match=r"can't be drained within 3 s: pod t-objects-.*disruption budget"):
        fault.inject(target, receipt)
    assert len(lab.pods()) == 2
    fault.revert(target, receipt)
    assert state(lab, node) == (False, {})


def test_an_eviction_that_was_heard_though_nobody_said_so_is_one(
    lab: Lab, make: Make, unheard: Callable[[str, str], None]
) -> None:
    node, fault = make(**YES), Drain()
    lab.tenants(node)
    target = found(node)
    receipt = fault.prepare(target, SIGN)
    unheard("POST", "/eviction")
    fault.inject(target, receipt)
    assert fault.in_place(target, receipt).shown
    unheard("PATCH", node)
    with pytest.raises(Unavailable):
        fault.revert(target, receipt)
    fault.revert(target, receipt)
    assert state(lab, node) == (False, {})


def test_the_command_by_hand_does_the_same(lab: Lab, make: Make) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl: not here")
    node, fault = make(**YES), Drain()
    lab.tenants(node, 1)
    target = found(node)
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    assert receipt["by_hand"] in target.leftovers()[0]
    subprocess.run(shlex.split(receipt["by_hand"]), check=True, capture_output=True)
    assert state(lab, node) == (False, {})


def test_who_opens_it_meanwhile_is_told(lab: Lab, make: Make) -> None:
    node, fault = make(**YES), Drain()
    lab.tenants(node, 1)
    target = found(node)
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    lab.api.patch(path("nodes", name=node), {"spec": {"unschedulable": None}})
    with pytest.raises(Gone, match="somebody else has uncordoned"):
        fault.revert(target, receipt)
    assert state(lab, node) == (False, {})


def test_one_that_is_cordoned_or_empty_is_refused(lab: Lab, make: Make) -> None:
    node = make(**YES)
    with pytest.raises(Refused, match="0 pods"):
        Drain().prepare(found(node), SIGN)
    lab.tenants(node, 1)
    receipt = Drain().prepare(found(node), SIGN)
    lab.api.patch(path("nodes", name=node), {"spec": {"unschedulable": True}})
    with pytest.raises(Refused, match="not taken"):
        Drain().prepare(found(node), SIGN)
    with pytest.raises(TargetError, match="cordoned by somebody else"):
        Drain().inject(found(node), receipt)
    Drain().revert(found(node), receipt)
    assert state(lab, node)[0]


def test_what_refuses_a_drain(lab: Lab, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, master, bare, own = (
        make(), make(**YES, **{"node-role.kubernetes.io/control-plane": ""}), make(**YES), make(**YES),
    )  # fmt: skip
    assert f"label node {plain} veloz-chaos/may-be-drained=true" in found(plain).lacks["Drainable"]
    assert not found(plain).offered()
    assert "control plane" in found(master).lacks["Drainable"]
    lab.pod("lonely", nodeName=bare, terminationGracePeriodSeconds=0)
    assert f"{lab.name}/lonely" in found(bare).lacks["Drainable"]
    assert found(own).lacks == {}
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("NODE_NAME", own)
    with pytest.raises(TargetError, match="this very program"):
        Drain().prepare(found(own), SIGN)


def test_by_labels(make: Make) -> None:
    names = {make(pool="chaos", **YES), make(pool="chaos")}
    selector = kubernetes_node.Selector(labels={"pool": "chaos"}, kubeconfig=kubeconfig())
    assert {target.name for target in kubernetes_node.find("node", selector)} == names
    with pytest.raises(Missing, match="there is no node nowhere; there are: "):
        found("nowhere")
