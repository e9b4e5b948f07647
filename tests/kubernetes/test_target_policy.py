"""A NetworkPolicy as a fault, before a real API server and a real network; the laws are in tests/conformance."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
from typing import Any

import pytest

from tests.conformance.pairs import prepared
from tests.kubernetes import lab as labs
from tests.kubernetes.lab import Lab, answers, kubeconfig, until
from veloz_chaos.errors import Missing, TargetError
from veloz_chaos.faults.partition import Partition
from veloz_chaos.targets import kubernetes_policy
from veloz_chaos.targets.kubernetes_policy import POLICIES

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]  # an image may have to be loaded into every node
SIGN = "vc-test-1"
NEW = Partition(connections="new")


@pytest.fixture
def address(lab: Lab) -> str:
    found = lab.node_port()
    lab.deployment()
    lab.ready(1)
    until(lambda: answers(found))
    return found


def target(lab: Lab, **more: Any) -> kubernetes_policy.PolicyLink:
    keys = {"path": "/healthz", "kubeconfig": kubeconfig(), **more}
    selector = kubernetes_policy.Selector(lab.name, "deployment/web", **keys)
    return kubernetes_policy.find("link", selector)[0]


def inbound(lab: Lab, address: str) -> kubernetes_policy.PolicyLink:
    return target(lab, inbound=8080, address=address)


def policy(lab: Lab, name: str, labels: dict[str, str], **spec: Any) -> None:
    body = {"podSelector": {"matchLabels": labels}, **spec}
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}}
    lab.api.post(lab.path(POLICIES), {**head, "spec": body})


def test_new_connections_are_cut_and_established_ones_are_not(lab: Lab, address: str) -> None:
    link = inbound(lab, address)
    host, _, port = address.rpartition(":")
    asked = f"GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    receipt = NEW.prepare(link, SIGN)
    with socket.create_connection((host, int(port)), 5) as before:
        before.settimeout(5)
        before.sendall(asked)
        assert before.recv(4096)
        NEW.inject(link, receipt)
        until(lambda: NEW.in_place(link, receipt), lambda seen: bool(seen.shown))
        before.sendall(asked)
        assert before.recv(4096)
    NEW.revert(link, receipt)
    until(lambda: NEW.in_place(link, receipt), lambda seen: seen.shown is False)


def test_what_a_policy_cannot_do_is_refused(lab: Lab, address: str) -> None:
    link = inbound(lab, address)
    with pytest.raises(TargetError, match="write connections: new"):
        Partition().prepare(link, SIGN)
    with pytest.raises(TargetError, match="write how: silent"):
        Partition(how="reset", connections="new").prepare(link, SIGN)


def test_one_that_allows_it_makes_it_vain(lab: Lab, address: str) -> None:
    policy(lab, "other-pods", {"app": "other"}, policyTypes=["Ingress"], ingress=[{}])
    policy(lab, "other-way", {"app": "web"}, policyTypes=["Egress"], egress=[{}])
    assert inbound(lab, address).offered()
    policy(lab, "welcome", {"app": "web"}, policyTypes=["Ingress"], ingress=[{}])
    link = inbound(lab, address)
    assert not link.offered()
    with pytest.raises(TargetError, match="policies add up, and welcome may allow the pods of deployment/web"):
        NEW.prepare(link, SIGN)


def test_strangers_with_the_same_labels_are_spared(lab: Lab, address: str) -> None:
    meta = {"name": "stranger", "labels": {"app": "web"}}
    lab.api.post(lab.path("pods"), {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": labs.podspec()})
    with pytest.raises(TargetError, match="are those of stranger too"):
        NEW.prepare(inbound(lab, address), SIGN)


def test_the_command_by_hand_does_the_same(lab: Lab, address: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl: not here")
    link = inbound(lab, address)
    receipt = NEW.prepare(link, SIGN)
    NEW.inject(link, receipt)
    assert receipt["by_hand"] in link.leftovers()[0]
    subprocess.run(shlex.split(receipt["by_hand"]), check=True, capture_output=True)
    assert link.leftovers() == []


def test_to_another_service_it_needs_a_helper_to_look(lab: Lab) -> None:
    lab.deployment()
    lab.ready(1)
    assert "write helpers:" in target(lab, to="far:80").lacks["Severable"]
    with pytest.raises(Missing, match="there are: deployment/web"):
        kubernetes_policy.find(
            "link", kubernetes_policy.Selector(lab.name, "deployment/x", to="far:80", kubeconfig=kubeconfig())
        )


def test_to_another_service_as_seen_from_within(lab: Lab, helpers: str) -> None:
    lab.deployment()
    lab.deployment("far")
    lab.service("far")
    lab.ready(1)
    lab.ready(1, "far")
    link = target(lab, to="far:80", helpers=helpers)
    receipt = prepared(NEW, link, SIGN)  # a node hears of a service's pods when it likes
    try:
        NEW.inject(link, receipt)
        seen = until(lambda: NEW.in_place(link, receipt), lambda one: bool(one.shown))
        assert "silent" in seen.evidence
        NEW.revert(link, receipt)
        until(lambda: NEW.in_place(link, receipt), lambda one: one.shown is False)
    finally:
        link.disarm(SIGN)
    assert link.leftovers() == []
