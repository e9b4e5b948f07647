"""What an account must be allowed, and the Role that would grant it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from tests.unit.cli_runs import Paper, events
from veloz_chaos.core import event as ev
from veloz_chaos.core.environment import Environment
from veloz_chaos.core.survey import Wanted
from veloz_chaos.engine.conduct import Request, planned
from veloz_chaos.engine.rights import of_plan, places, refusal, to_act, to_look
from veloz_chaos.errors import Refused
from veloz_chaos.mechanisms import kube_api, kube_rights
from veloz_chaos.mechanisms.kube_api import Place
from veloz_chaos.mechanisms.kube_rights import CLASSES, Right, merged, of_class, right, rights, roles, to_find
from veloz_chaos.registry import Registry
from veloz_chaos.targets import fake, kubernetes

HERE = Place()


def test_one_role_for_each_namespace_and_a_cluster_role_for_what_has_none() -> None:
    lacking = [
        right(HERE, "staging", "get", "pods"),
        right(HERE, "staging", "list", "pods"),
        right(HERE, "staging", "create", "pods/eviction"),
        right(HERE, "helpers", "create", "pods/attach"),
        right(HERE, None, "patch", "nodes"),
        right(HERE, "staging", "get", "pods"),
    ]
    documents = list(yaml.safe_load_all("\n".join(roles(lacking))))
    told = {(one["kind"], one["metadata"].get("namespace")): one["rules"] for one in documents}
    assert told == {
        ("ClusterRole", None): [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]}],
        ("Role", "helpers"): [{"apiGroups": [""], "resources": ["pods/attach"], "verbs": ["create"]}],
        ("Role", "staging"): [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
        ],
    }


def test_a_service_account_gets_a_binding_of_its_own_and_others_the_command_that_binds_them() -> None:
    needed = [right(HERE, "staging", "get", "pods"), right(HERE, None, "patch", "nodes")]
    account = list(yaml.safe_load_all("\n".join(roles(needed, {HERE: "system:serviceaccount:ci:runner"}))))
    bindings = [one for one in account if one["kind"].endswith("Binding")]
    assert [(one["kind"], one["metadata"].get("namespace"), one["roleRef"]["kind"]) for one in bindings] == [
        ("ClusterRoleBinding", None, "ClusterRole"),
        ("RoleBinding", "staging", "Role"),
    ]
    assert {one["metadata"]["name"] for one in bindings} == {"veloz-chaos:ci:runner"}
    assert bindings[0]["subjects"] == [{"kind": "ServiceAccount", "name": "runner", "namespace": "ci"}]
    somebody = roles(needed, {HERE: "o'brien"})
    assert [one["kind"] for one in yaml.safe_load_all("\n".join(somebody))] == ["ClusterRole", "Role"]
    command = "kubectl -n staging create rolebinding veloz-chaos --role veloz-chaos --user "
    assert any(command + "'o'\"'\"'brien'" in line for line in somebody)
    assert any(command in line for line in roles(needed))
    assert any("create clusterrolebinding veloz-chaos --clusterrole" in line for line in roles(needed))


def test_what_is_granted_holds_all_that_is_needed_where_something_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    class Api:
        def user(self) -> str:
            return "system:serviceaccount:ci:runner"

    monkeypatch.setattr(kube_api, "client", lambda _: Api())
    pods = [right(HERE, "staging", verb, "pods") for verb in ("get", "list")]
    elsewhere = right(HERE, "helpers", "list", "pods")
    role, _ = yaml.safe_load_all("\n".join(kube_rights.granting([*pods, elsewhere], pods[:1])))
    assert role["metadata"]["namespace"] == "staging"
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]


def test_roles_for_two_clusters_say_for_which(tmp_path: Path) -> None:
    both = [right(place, "a", "get", "pods") for place in (HERE, Place("other", str(tmp_path / "config")))]
    assert [line for line in roles(both) if line.startswith("# in")] == [
        "# in the cluster of: kubectl",
        f"# in the cluster of: kubectl --kubeconfig {tmp_path}/config --context other",
    ]


def test_a_cluster_that_can_t_be_asked_is_told_once(tmp_path: Path) -> None:
    nowhere = Place(kubeconfig=str(tmp_path / "none"))
    needed = [right(nowhere, "a", verb, "pods") for verb in ("get", "list")]
    (said,) = refusal(needed)
    assert "can't be told: " in said
    assert refusal(needed, {nowhere}) == []


def test_nothing_missing_is_no_role() -> None:
    assert roles([]) == []


def test_resources_with_the_same_verbs_share_a_rule() -> None:
    of = [{"apiGroups": ["apps"], "resources": [name], "verbs": ["get"]} for name in ("b", "a")]
    assert merged(of) == [{"apiGroups": ["apps"], "resources": ["a", "b"], "verbs": ["get"]}]


def test_part_of_a_class_can_be_asked_for() -> None:
    (only,) = rights(HERE, "x", "pod-kill", only=["pods"])
    assert (only.verb, only.path, only.namespace) == ("delete", "/api/v1/namespaces/x/pods", "x")
    assert right(HERE, None, "get", "nodes").namespace == ""


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_class_can_be_written_as_rules(name: str) -> None:
    granted = {
        (f"{resource}.{group}" if group else resource, verb)
        for rule in of_class(name)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    asked = {(resource, verb) for resource, verbs in CLASSES[name].items() for verb in verbs}
    assert granted == asked


def test_each_right_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    class Api:
        def allowed(self, verb: str, where: str) -> bool:
            asked.append((verb, where))
            return verb == "get"

    monkeypatch.setattr(kube_api, "client", lambda _: Api())
    pods = [right(HERE, "x", verb, "pods") for verb in ("get", "list", "get")]
    assert kube_rights.missing(pods) == [pods[1]]
    assert len(asked) == 2


def test_to_find_pods_by_their_deployment_takes_its_replica_sets() -> None:
    asked = {(one.verb, one.path.rpartition("/")[2]) for one in to_find(HERE, "x", "deployment/gateway")}
    pods = {(verb, "pods") for verb in ("get", "list", "watch")}
    assert asked == pods | {("get", "deployments"), ("get", "replicasets"), ("list", "replicasets")}
    assert {(one.verb, one.path.rpartition("/")[2]) for one in to_find(HERE, "x")} == pods


def test_who_has_helpers_on_the_nodes_looks_for_those_that_are_left() -> None:
    common = {"namespace": "x", "selector": {"app": "a"}, "container": "a"}
    with_, without = (kubernetes.Selector(**common, **more) for more in ({"helpers": "h"}, {}))  # type: ignore[arg-type]
    assert [one.verb for one in kubernetes.rights(with_, "") if one.namespace == "h"] == ["list"]
    assert {one.namespace for one in kubernetes.rights(without, "")} == {"x"}
    inner = kubernetes.Selector(namespace="x", selector={"app": "a"}, process="p", helpers="h")
    assert {one.verb for one in kubernetes.rights(inner, "") if one.namespace == "h"} == {
        "create",
        "delete",
        "get",
        "list",
    }


# --- what a run needs ----------------------------------------------------------------------------------------------


class Clustered:
    """A backend whose targets are in a cluster."""

    Selector = fake.Selector
    asked: ClassVar[list[str]] = []

    @classmethod
    def rights(cls, selector: fake.Selector, capability: str) -> list[Right]:
        assert selector.id
        cls.asked.append(capability)
        return [right(HERE, "staging", "delete", "pods")] if capability else to_find(HERE, "staging")


class Backends:
    def backend(self, name: str) -> Any:
        return Clustered if name == "clustered" else fake


def test_a_run_needs_what_its_faults_its_lease_and_its_mirror_need() -> None:
    started = events(Paper())[0]
    assert isinstance(started, ev.RunStarted)
    fault = started.plan.faults[0]
    hit = fault.model_copy(update={"reference": fault.reference.model_copy(update={"backend": "clustered"})})
    plan = started.plan.model_copy(update={"faults": [hit]})
    wanted = [Wanted(fault.on, "service", "clustered", {"id": "x"}), Wanted("other", "service", "fake", {"id": "x"})]
    written = {"kind": "Environment", "version": 1, "name": "a", "tier": "staging"}
    places = {"lease": {"namespace": "chaos"}, "mirror": {"namespace": "chaos"}}
    plain, known = (Environment.model_validate(written | more) for more in ({}, {"kubernetes": places}))
    Clustered.asked.clear()
    needed = of_plan(plan, wanted, plain, Backends())
    assert [(one.verb, one.namespace) for one in needed][-1] == ("delete", "staging")
    assert Clustered.asked == ["", fault.offer.capability]
    also = of_plan(plan, wanted, known, Backends())
    more = {one.path for one in also} - {one.path for one in needed}
    assert more == {"/apis/coordination.k8s.io/v1/namespaces/chaos/leases", "/api/v1/namespaces/chaos/configmaps"}
    placebo = of_plan(plan.model_copy(update={"placebo": True}), wanted, plain, Backends())
    assert [one.verb for one in placebo] == ["get", "list", "watch"]


def test_before_anything_is_found_a_fault_s_needs_are_known_if_there_is_one_way_to_strike() -> None:
    one = Wanted("gateway", "service", "clustered", {"id": "x"})
    other = Wanted("gateway", "service", "fake", {"id": "x"})
    acts = [(right.verb, right.namespace) for right in to_act([one], [("gateway", "Killable")], Backends())]
    assert acts == [("delete", "staging")]
    assert to_act([one, other], [("gateway", "Killable")], Backends()) == []
    assert places([one, other], Backends()) == {HERE}


def test_what_lies_in_no_cluster_needs_nothing_and_asks_nobody() -> None:
    environment = Environment.model_validate({"kind": "Environment", "version": 1, "name": "a", "tier": "staging"})
    assert refusal(to_look([Wanted("x", "service", "fake", {"id": "x"})], environment, Backends())) == []


def test_a_cluster_that_does_not_answer_is_told_once_by_a_plan(tmp_path: Path) -> None:
    """By its targets, its lease and its identity."""
    config = tmp_path / "config"
    config.write_text("hello")
    look = {"every": "50ms", "timeout": "1s", "http": {"get": "http://127.0.0.1:1/"}}
    environment = {
        "kind": "Environment", "version": 1, "name": "a", "tier": "development", "identity": {"kube-system-uid": "u"},
        "kubernetes": {"lease": {"namespace": "a"}, "kubeconfig": str(config)},
        "services": {"s": {"kubernetes": {"namespace": "a", "selector": {"a": "b"}, "kubeconfig": str(config)}}},
        "probes": {"up": {"ok": "status == 200", **look}, "down": {"ok": "status == 503", **look}},
    }  # fmt: skip
    experiment = {
        "kind": "Experiment", "version": 1, "name": "e", "title": "A pod is killed", "failure": "exchange-down",
        "allowed-on": ["development"], "steady-state": ["up"], "baseline": "300ms", "fault": {"kill": {"service": "s"}},
        "blast-radius": {"last-replica": True}, "expect": {"detection": ["down"], "recovery": {"hold": "300ms"}},
    }  # fmt: skip
    files = tmp_path / "experiment.yaml", tmp_path / "environment.yaml"
    for file, data in zip(files, (experiment, environment), strict=True):
        file.write_text(json.dumps(data))
    with pytest.raises(Refused) as refused:
        planned(Request(*files), Registry())
    assert str(refused.value).count("is no kubeconfig") == 1, refused.value
    assert "can't be told" not in str(refused.value)
