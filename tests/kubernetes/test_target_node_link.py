"""A node is cut off from its API server, for a moment, on a real cluster; and what refuses that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from tests.conformance.pairs import SIGN, prepared, until
from tests.infra import cluster
from tests.kubernetes.lab import Lab, kubeconfig
from tests.kubernetes.lab import lab as one_lab
from tests.kubernetes.pods import as_json, image
from veloz_chaos.errors import Missing, TargetError
from veloz_chaos.faults.partition import Partition
from veloz_chaos.mechanisms.kube_api import path
from veloz_chaos.targets import kubernetes_node_link

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("node link"), pytest.mark.timeout(400)]
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"

#: Injects in a process of its own.
RUNNER = """
import json, sys
from veloz_chaos.core.capability import Reference
from veloz_chaos.faults.partition import Partition
from veloz_chaos.targets import kubernetes_node_link
reference, receipt = json.loads(sys.argv[1])
Partition().inject(kubernetes_node_link.reopen(Reference(**reference)), receipt)
print("injected", flush=True)
sys.stdin.read()
"""


class Node:
    """A node that may be cut off, and a namespace for its helpers."""

    def __init__(self, lab: Lab, helpers: str) -> None:
        self.lab, self.name = lab, lab.machines()[-1]["metadata"]["name"]
        server = yaml.safe_load(Path(kubeconfig()).read_text())["clusters"][0]["cluster"]["server"]
        self.common: dict[str, Any] = {
            "to": server.rpartition("//")[2], "helpers": helpers, "image": image(), "kubeconfig": kubeconfig(),
        }  # fmt: skip
        self.helpers = helpers

    def label(self, **labels: str | None) -> None:
        self.lab.api.patch(path("nodes", name=self.name), {"metadata": {"labels": labels}})

    def link(self, name: str | None = None, **said: Any) -> kubernetes_node_link.NodeLink:
        given = self.common | {"name": name or self.name} | said
        selector = TypeAdapter(kubernetes_node_link.Selector).validate_python(given)
        return kubernetes_node_link.find("node->control-plane", selector)[0]

    def running(self) -> list[str]:
        found = self.lab.api.listed(path("pods", self.helpers), fieldSelector="status.phase=Running").items
        return [one["metadata"]["name"] for one in found if "deletionTimestamp" not in one["metadata"]]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with one_lab() as lab, cluster.namespace() as helpers:
        made = Node(lab, helpers.name)
        made.label(**{kubernetes_node_link.ALLOWED: "true"})
        try:
            yield made
        finally:
            made.label(**{kubernetes_node_link.ALLOWED: None})


def test_the_life_of_a_cut(node: Node) -> None:
    target, fault = node.link(), Partition()
    assert [offer.capability for offer in target.offered()] == ["Severable"]
    assert target.leftovers() == []
    receipt = prepared(fault, target)
    assert as_json(receipt) == receipt
    until(fault, target, receipt, shown=False)
    fault.inject(target, receipt)
    assert until(fault, target, receipt, shown=True)
    assert "sever on the link to" in target.leftovers()[0]
    again = kubernetes_node_link.reopen(target.reference.model_validate_json(target.reference.model_dump_json()))
    fault.revert(again, as_json(receipt))
    until(fault, again, receipt, shown=False)
    fault.revert(target, receipt)
    target.disarm(SIGN)
    assert not [name for name in node.running() if SIGN.removeprefix("vc-") in name]
    assert node.link().leftovers() == []


def test_by_resets(node: Node) -> None:
    target, fault, sign = node.link(), Partition(how="reset"), f"{SIGN}-reset"
    receipt = prepared(fault, target, sign)
    fault.inject(target, receipt)
    assert until(fault, target, receipt, shown=True)
    fault.revert(target, receipt)
    until(fault, target, receipt, shown=False)
    target.disarm(sign)


def test_the_command_by_hand_works_while_the_kubelet_hears_of_nothing(node: Node) -> None:
    target, fault, sign = node.link(), Partition(), f"{SIGN}-hand"
    receipt = prepared(fault, target, sign)
    fault.inject(target, receipt)
    until(fault, target, receipt, shown=True)
    subprocess.run(receipt["by_hand"], shell=True, check=True, stdout=subprocess.DEVNULL)
    look = node.link()
    until(fault, look, receipt, shown=False)
    assert look.leftovers() == []
    target.disarm(sign)


def test_it_ends_with_its_runner(node: Node) -> None:
    target, fault, sign = node.link(), Partition(), f"{SIGN}-killed"
    receipt = prepared(fault, target, sign)
    target.disarm(sign)
    looks = node.link()
    until(fault, looks, receipt, shown=False)  # by a helper that is there before: of a new one no kubelet would hear
    given = json.dumps([target.reference.model_dump(), receipt])
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, given], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as runner:
        try:
            assert runner.stdout
            assert runner.stdout.readline() == b"injected\n"
            until(fault, looks, receipt, shown=True)
        finally:
            runner.kill()
    until(fault, looks, receipt, shown=False)
    assert looks.leftovers() == []
    kubernetes_node_link.reopen(target.reference).disarm(sign)


def test_who_may_not_be_cut_off(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, master = f"vc-test-{os.getpid()}-plain", f"vc-test-{os.getpid()}-master"
    try:
        node.lab.node(plain)
        node.lab.node(master, **{kubernetes_node_link.ALLOWED: "true", CONTROL_PLANE: ""})
        assert f"label node {plain} veloz-chaos/may-be-cut-off=true" in node.link(plain).lacks["Severable"]
        assert node.link(plain).offered() == ()
        assert "control plane" in node.link(master).lacks["Severable"]
        with pytest.raises(TargetError, match="nobody has said that node"):
            Partition().prepare(node.link(plain), SIGN)
    finally:
        for name in (plain, master):
            with suppress(TargetError):
                node.lab.api.delete(path("nodes", name=name))
    assert "write helpers:" in node.link(helpers=None).lacks["Severable"]
    assert "no such namespace" in node.link(helpers="vc-not-there").lacks["Severable"]
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("NODE_NAME", node.name)
    assert "this very program runs on" in node.link().lacks["Severable"]


def test_who_is_not_there_is_told_with_what_is(node: Node) -> None:
    with pytest.raises(Missing, match=f"there is no node nowhere; there are: .*{node.name}"):
        node.link("nowhere")


@pytest.mark.parametrize("said", [{"to": "nowhere"}, {"labels": {"a": "b"}}, {"helpers": "A b"}, {"port": 1}])
def test_what_can_t_be_meant(said: dict[str, Any]) -> None:
    given = {"to": "api:6443", "name": "n1"} | said
    with pytest.raises(ValidationError):
        TypeAdapter(kubernetes_node_link.Selector).validate_python(given)
