"""Which policies let through what another one would forbid, and what a workload's and a node's patches are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from veloz_chaos.core.capability import Reference
from veloz_chaos.errors import Gone
from veloz_chaos.mechanisms import kube_amend, kube_api, kube_nodes, kube_policy
from veloz_chaos.mechanisms.kube_api import Place
from veloz_chaos.targets import kubernetes_node, kubernetes_policy, kubernetes_workload


def policy(direction: str = "ingress", sign: str | None = None, **spec: Any) -> dict[str, Any]:
    made = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": [direction.title()], direction: [{}]}
    return {"metadata": {"labels": {"veloz-chaos/sign": sign} if sign else {}}, "spec": made | spec}


@pytest.mark.parametrize(
    ("one", "inbound", "expected"),
    [
        (policy(), 80, True),
        (policy(), None, False),
        (policy("egress"), None, True),
        (policy(ingress=[]), 80, False),
        (policy(sign="vc-1"), 80, False),
        (policy(podSelector={}), 80, True),
        (policy(podSelector={"matchLabels": {"app": "other"}}), 80, False),
    ],
)
def test_what_lets_through(one: dict[str, Any], inbound: int | None, expected: bool) -> None:
    assert kube_policy.lets_through(one, {"app": "web", "x": "y"}, inbound) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"key": "app", "operator": "In", "values": ["web"]}, True),
        ({"key": "app", "operator": "NotIn", "values": ["web"]}, False),
        ({"key": "none", "operator": "NotIn", "values": ["web"]}, True),
        ({"key": "none", "operator": "In", "values": ["web"]}, False),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "app", "operator": "DoesNotExist"}, False),
    ],
)
def test_expressions(expression: dict[str, Any], expected: bool) -> None:
    assert kube_policy.fits({"matchExpressions": [expression]}, {"app": "web"}) is expected


@pytest.mark.parametrize(
    ("port", "spans"), [(8080, [(1, 8079), (8081, 65535)]), (1, [(2, 65535)]), (65535, [(1, 65534)])]
)
def test_a_cut_spares_the_other_ports(port: int, spans: list[tuple[int, int]]) -> None:
    spec = kube_policy.cut("vc-1", "x", {"matchLabels": {"app": "web"}}, port)["spec"]
    allowed = spec["ingress"][0]["ports"]
    assert [(one["port"], one["endPort"]) for one in allowed if one["protocol"] == "TCP"] == spans
    assert {"protocol": "UDP"} in allowed


def test_a_cut_to_the_outside_spares_name_servers_alone() -> None:
    made = kube_policy.cut("vc-1", "x", {}, None)
    assert made["spec"]["policyTypes"] == ["Egress"]
    assert {port["port"] for port in made["spec"]["egress"][0]["ports"]} == {53}
    assert kube_policy.sign_of(made) == "vc-1"


def test_a_cut_is_taken_away_though_its_workload_was_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What carries its labels is cut off as before: whoever reverts from a journal must not take it for gone."""
    old, new, sign = "0123456789", "abcdef0123", "vc-1-1"
    policies = [kube_policy.cut(sign, f"veloz-chaos-{sign}-{uid[:8]}", {}, 80) for uid in (old, new)]

    class Server:
        def get(self, _: str) -> Any:
            return {"kind": "Deployment", "metadata": {"uid": new, "name": "web", "creationTimestamp": "now"}}

        def listed(self, _: str, labelSelector: str) -> Any:
            wanted = labelSelector in ("veloz-chaos/sign", f"veloz-chaos/sign={sign}")
            return SimpleNamespace(items=[one for one in policies if wanted])

        def delete(self, path: str) -> None:
            policies[:] = [one for one in policies if not path.endswith(one["metadata"]["name"])]

    monkeypatch.setattr(kube_api, "client", lambda _: Server())
    identity = {"namespace": "n", "owner": "deployment/web", "uid": old, "inbound": 80}
    reference = Reference(backend="kubernetes-policy", name="a->web", identity=identity)
    target = kubernetes_policy.reopen(reference)
    assert not target.alive()
    target.mend(sign)
    assert [one["metadata"]["name"] for one in policies] == [f"veloz-chaos-{sign}-{new[:8]}"]
    with pytest.raises(Gone):
        kubernetes_policy.reopen(reference)


# --- nodes ---------------------------------------------------------------------------------------------------------


def pod(kind: str | None = "ReplicaSet", name: str = "a", phase: str = "Running", **meta: Any) -> dict[str, Any]:
    owners = [{"kind": kind, "controller": True, "name": "x", "uid": "u"}] if kind else []
    return {"metadata": {"name": name, "ownerReferences": owners, **meta}, "status": {"phase": phase}}


def test_whom_a_drain_moves() -> None:
    mirror = pod(annotations={kubernetes_node.MIRROR: "x"})
    helper = pod(None, labels={"app.kubernetes.io/managed-by": "veloz-chaos"})
    stay = [mirror, helper, pod("DaemonSet"), pod(phase="Succeeded")]
    assert not [one for one in stay if kubernetes_node.movable(one)]
    assert all(map(kubernetes_node.movable, [pod(), pod("StatefulSet"), pod(None)]))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"NODE_NAME": "n1"}, False),
        ({"KUBERNETES_SERVICE_HOST": "x"}, True),
        ({"KUBERNETES_SERVICE_HOST": "x", "HOSTNAME": "b"}, True),
        ({"KUBERNETES_SERVICE_HOST": "x", "NODE_NAME": "n1"}, True),
    ],
)
def test_where_this_very_program_runs(environment: dict[str, str], expected: bool) -> None:
    assert kube_nodes.runs_on("n1", [pod(name="a")], environment, "a") is expected


def test_elsewhere() -> None:
    inside = {"KUBERNETES_SERVICE_HOST": "x", "NODE_NAME": "n2"}
    assert not kube_nodes.runs_on("n1", [pod(name="a")], inside, "b")


def test_a_control_plane_is_never_drained() -> None:
    labels = {"node-role.kubernetes.io/control-plane": "", kubernetes_node.ALLOWED: "true"}
    assert "never" in kube_nodes.unfit(
        {"metadata": {"name": "n1", "labels": labels}}, Place(), kubernetes_node.ALLOWED, "drained"
    )


# --- by hand -------------------------------------------------------------------------------------------------------


def test_commands_by_hand_undo_number_and_marks_at_once() -> None:
    patch = kubernetes_workload.restored(2)
    assert kube_amend.by_hand(Place("far"), "a", "deployment", "web", patch) == (
        "kubectl --context far -n a patch deployment web --type merge -p "
        '\'{"metadata": {"annotations": {"veloz-chaos/sign": null, "veloz-chaos/replicas-before": null, '
        '"veloz-chaos/replicas-set": null}}, "spec": {"replicas": 2}}\''
    )
    assert "spec" not in kubernetes_workload.restored(None)


def test_who_has_changed_the_number() -> None:
    def entry(manager: str, time: str, **fields: Any) -> dict[str, Any]:
        return {"manager": manager, "time": time, "fieldsV1": {"f:spec": fields}}

    replicas: dict[str, Any] = {"f:replicas": {}}
    fields = [entry("us", "1", **replicas), entry("kubectl", "3", **replicas), entry("other", "4")]
    assert kubernetes_workload.changed_by({"metadata": {"managedFields": fields}}) == " (kubectl has changed it)"
    assert kubernetes_workload.changed_by({"metadata": {}}) == ""
