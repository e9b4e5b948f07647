"""What the probe makes of the API server's objects; the cluster's own are in tests/kubernetes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from veloz_chaos.core import condition
from veloz_chaos.errors import UsageError
from veloz_chaos.mechanisms import kube_objects
from veloz_chaos.mechanisms.kube_look import Found
from veloz_chaos.probes.kubernetes import NO_NODE, NO_PODS, Kubernetes, endpoints, summary

WORKLOAD = {
    "metadata": {"name": "gateway", "uid": "u-1"},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "gateway"}}},
    "status": {"availableReplicas": 1},
}


def probe(**said: Any) -> Kubernetes:
    return TypeAdapter(Kubernetes).validate_python(said)


def pod(name: str = "gateway-5d-x", ready: bool = True, **status: Any) -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "name": "gateway-5d", "uid": "r-1", "controller": True}
    return {
        "metadata": {
            "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "gateway", "pod-template-hash": "5d"}, "ownerReferences": [owner],
        },
        "spec": {},
        "status": {
            "phase": "Running", "startTime": "2026-01-01T00:00:01Z",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False", "reason": "ContainersNotReady"}],
            **status,
        },
    }  # fmt: skip


def container(restarts: int = 0, started: str = "2026-01-01T00:00:05Z", **states: Any) -> dict[str, Any]:
    return {"restartCount": restarts, "state": {"running": {"startedAt": started}}, "lastState": {}, **states}


def killed(reason: str = "OOMKilled", code: int = 137, finished: str = "2026-01-01T00:01:00Z") -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": code, "finishedAt": finished}}


def told(*pods: dict[str, Any], workload: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return summary(Found(list(pods), workload, **more))


def ok(seen: dict[str, Any]) -> bool:
    variables = {"json": seen, "value": seen, "status": 1, "error": "", "text": "", "headers": {}}
    return condition.compile(Kubernetes.default_ok, condition.LOOK_VARIABLES).holds(variables)


@pytest.mark.parametrize(
    "said",
    [
        {"namespace": "a", "owner": "deployment/gateway", "service": "gateway"},
        {"namespace": "a", "owner": "${who}"},
        {"namespace": "a", "selector": {"app": "gateway"}, "context": "far"},
        {"namespace": "a", "pod": "gateway-0", "kubeconfig": "/etc/kube"},
        {"node": "n1"},
    ],
)
def test_what_may_be_written(said: dict[str, Any]) -> None:
    probe(**said)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"namespace": "a"},
        {"owner": "deployment/gateway"},
        {"namespace": "a", "owner": "gateway"},
        {"namespace": "a", "owner": "cronjob/gateway"},
        {"namespace": "a", "owner": "deployment/gateway", "pod": "gateway-0"},
        {"namespace": "a", "selector": {}},
        {"namespace": "a", "node": "n1"},
        {"node": "n1", "service": "a"},
        {"namespace": "a", "pod": "gateway-0", "label": "x"},
    ],
)
def test_what_may_not(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        probe(**said)


def test_secrets_and_values_are_filled_in() -> None:
    filled = probe(namespace="${n}", selector={"app": "${n}"}).filled(lambda text: text.replace("${n}", "here"))
    assert (filled.namespace, filled.selector) == ("here", {"app": "here"})
    with pytest.raises(UsageError):
        probe(namespace="a", owner="${who}").filled(lambda text: text.replace("${who}", "cronjob/gateway"))


def test_a_workload_that_is_well() -> None:
    seen = told(pod(containerStatuses=[container(2)]), pod("gateway-5d-y"), workload=WORKLOAD)
    assert {key: seen[key] for key in ("count", "ready", "desired", "available", "restarts", "phase", "reason")} == {
        "count": 2, "ready": 2, "desired": 2, "available": 1, "restarts": 2, "phase": "Running", "reason": "",
    }  # fmt: skip
    assert seen["started"] == "2026-01-01T00:00:05Z"
    assert ok(seen)
    assert set(seen) == set(NO_PODS)


def test_the_worst_pod_is_shown() -> None:
    ill = pod("gateway-5d-y", ready=False, containerStatuses=[
        container(3, state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=killed("Error", 1)),
    ])  # fmt: skip
    seen = told(pod(containerStatuses=[container(1)]), ill, workload=WORKLOAD)
    assert (seen["ready"], seen["restarts"], seen["reason"]) == (1, 4, "CrashLoopBackOff")
    assert (seen["terminated"], seen["exit_code"], seen["oom_killed"]) == ("Error", 1, False)
    assert not ok(seen)


def test_one_that_is_ending_hides_no_other() -> None:
    ending = pod("gateway-5d-y")
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:02:00Z"
    fresh = pod("gateway-5d-z", ready=False, phase="Pending")
    seen = told(ending, fresh)
    assert (seen["count"], seen["ready"], seen["desired"], seen["phase"]) == (2, 0, 1, "Pending")
    assert [one["reason"] for one in seen["pods"]] == ["Terminating", "ContainersNotReady"]


def test_an_oom_kill_of_any_pod_is_told() -> None:
    hurt = pod("gateway-5d-y", containerStatuses=[container(1, lastState=killed())])
    seen = told(pod(), hurt, workload=WORKLOAD)
    assert seen["oom_killed"]
    assert ok(seen)


def test_the_latest_end_counts() -> None:
    both = [
        container(1, lastState=killed("OOMKilled", 137, "2026-01-01T00:01:00Z")),
        container(1, lastState=killed("Completed", 0, "2026-01-01T00:03:00Z")),
    ]
    one = kube_objects.told(pod(containerStatuses=both))
    assert (one["terminated"], one["exit_code"], one["oom_killed"]) == ("Completed", 0, True)


def test_an_evicted_pod_is_told_until_another_is_there() -> None:
    evicted = pod(ready=False, phase="Failed", reason="Evicted")
    assert told(evicted)["reason"] == "Evicted"
    seen = told(evicted, pod("gateway-5d-y"))
    assert (seen["count"], seen["phase"], seen["reason"]) == (1, "Running", "")


def test_one_that_fits_no_node() -> None:
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
    assert told(pod(phase="Pending", conditions=conditions))["reason"] == "Unschedulable"


def test_a_workload_without_pods() -> None:
    seen = told(workload=WORKLOAD)
    assert (seen["count"], seen["ready"], seen["desired"], seen["pods"]) == (0, 0, 2, [])
    assert not ok(seen)
    assert not ok(dict(NO_PODS))
    assert not ok(told(workload=WORKLOAD | {"spec": {"replicas": 0}}))


def test_endpoints_are_counted_once() -> None:
    def endpoint(uid: str, **conditions: bool) -> dict[str, Any]:
        return {"addresses": [f"10.0.0.{uid}"], "conditions": conditions, "targetRef": {"uid": uid}}

    slices: list[dict[str, Any]] = [
        {"endpoints": [endpoint("1", ready=True), endpoint("2", ready=False)]},
        {"endpoints": [endpoint("1", ready=True)]},
        {"endpoints": [{"addresses": ["10.1.1.1"]}]},
        {"endpoints": None},
    ]
    assert endpoints(slices) == 2
    assert told(pod(), slices=slices)["endpoints"] == 2
    assert "endpoints" not in told(pod())


def test_nodes() -> None:
    condition_ = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": "t"}
    seen = summary(Found(node={"spec": {"unschedulable": True}, "status": {"conditions": [condition_]}}))
    assert seen == NO_NODE | {"count": 1, "desired": 1, "reason": "NodeStatusUnknown", "started": "t"}
    assert not ok(seen)


# --- whose a pod is ------------------------------------------------------------------------------------------------


def test_a_deployment_s_pods_are_its_own() -> None:
    mine, foreign, bare = pod(), pod(), pod()
    foreign["metadata"]["ownerReferences"][0]["name"] = "gateway-canary-5d"
    bare["metadata"]["ownerReferences"] = []
    assert [kube_objects.owns(WORKLOAD, one) for one in (mine, foreign, bare)] == [True, False, False]


def test_a_stateful_set_s_pods_are_known_by_its_uid() -> None:
    mine, earlier = pod(), pod()
    mine["metadata"]["ownerReferences"] = [{"kind": "StatefulSet", "name": "gateway", "uid": "u-1", "controller": True}]
    earlier["metadata"]["ownerReferences"] = [mine["metadata"]["ownerReferences"][0] | {"uid": "u-0"}]
    assert kube_objects.owns(WORKLOAD, mine)
    assert not kube_objects.owns(WORKLOAD, earlier)


def test_selectors_as_queries_have_them() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "tier", "operator": "NotIn", "values": ["c"]},
        {"key": "x", "operator": "Exists"},
        {"key": "y", "operator": "DoesNotExist"},
    ]
    spec = {"selector": {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": expressions}}
    assert kube_objects.selector({"spec": spec}) == "a=1,b=2,tier in (a,b),tier notin (c),x,!y"


@pytest.mark.parametrize(("written", "kind"), [("deployment/gateway", "deployment"), ("StatefulSet/db", "statefulset")])
def test_owners(written: str, kind: str) -> None:
    assert kube_objects.owner(written).kind == kind


@pytest.mark.parametrize("written", ["gateway", "pod/gateway", "deployment/", "deployment/a/b", ""])
def test_no_owners(written: str) -> None:
    with pytest.raises(ValueError, match="is no owner; write"):
        kube_objects.owner(written)
