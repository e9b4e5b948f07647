"""What the API server's objects say: whose a pod is, how it fares, what a node is like. Pure; plain JSON in and out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veloz_chaos.mechanisms import kube_pods
from veloz_chaos.mechanisms.kube_api import path, selected

Json = Mapping[str, Any]
#: What may own pods, by the words that `owner:` is written with.
KINDS = {
    "deployment": "deployments.apps",
    "statefulset": "statefulsets.apps",
    "daemonset": "daemonsets.apps",
    "replicaset": "replicasets.apps",
}
HASH = "pod-template-hash"
_FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Owner:
    """`kind` is a key of KINDS."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    def path(self, namespace: str) -> str:
        return path(KINDS[self.kind], namespace, self.name)


def owner(text: str, kinds: Sequence[str] = tuple(KINDS)) -> Owner:
    """Of `deployment/gateway`. Raises ValueError."""
    kind, _, name = text.partition("/")
    if kind.lower() not in kinds or not name or "/" in name:
        raise ValueError(f"{text!r} is no owner; write {' or '.join(f'{one}/NAME' for one in kinds)}")
    return Owner(kind.lower(), name)


# --- whose a pod is ------------------------------------------------------------------------------------------------


def selector(workload: Json) -> str:
    """The label selector of its pods, as a query has it. It may fit others' pods as well: see `owns`."""
    spec = workload["spec"]["selector"]
    told = selected(spec.get("matchLabels") or {})
    return ",".join(filter(None, [told, *map(_expression, spec.get("matchExpressions") or [])]))


def _expression(one: Json) -> str:
    key, values = one["key"], ",".join(one.get("values") or [])
    words = {"Exists": key, "DoesNotExist": f"!{key}", "In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})"}
    return str(words[one["operator"]])


def controller(thing: Json) -> Json:
    """What it is owned and replaced by; empty if by nothing."""
    owners = thing["metadata"].get("ownerReferences") or []
    return next((one for one in owners if one.get("controller")), {})


def owns(workload: Json, pod: Json) -> bool:
    """A Deployment's pods are its ReplicaSets', whose names are its own with the hash of the pods' template."""
    by = controller(pod)
    if by.get("uid") == workload["metadata"]["uid"]:
        return True
    template = (pod["metadata"].get("labels") or {}).get(HASH)
    return by.get("kind") == "ReplicaSet" and by["name"] == f"{workload['metadata']['name']}-{template}"


# --- how a pod fares -----------------------------------------------------------------------------------------------


def condition(thing: Json, kind: str) -> Json:
    """That one of its conditions; empty if it has none such."""
    found = thing.get("status", {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind), {})


def ending(thing: Json) -> bool:
    return bool(thing["metadata"].get("deletionTimestamp"))


def finished(pod: Json) -> bool:
    return pod.get("status", {}).get("phase") in _FINISHED


def told(pod: Json) -> dict[str, Any]:
    """One pod in few words: `reason` why it is not well, `terminated` how a container of it ended last."""
    meta, status = pod["metadata"], pod.get("status", {})
    containers = status.get("containerStatuses") or []
    ends = [end for one in containers for end in _ends(one)]
    last = max(ends, key=lambda end: str(end.get("finishedAt") or ""), default={})
    starts = [str(start) for one in containers if (start := _start(one))]
    return {
        "name": meta["name"],
        "phase": status.get("phase", ""),
        "ready": kube_pods.ready(pod),
        "reason": _reason(pod),
        "restarts": sum(int(one.get("restartCount", 0)) for one in containers),
        "terminated": last.get("reason", ""),
        "exit_code": int(last.get("exitCode", 0)),
        "oom_killed": any(end.get("reason") == "OOMKilled" for end in ends),
        "started": max(starts, default=status.get("startTime") or meta.get("creationTimestamp", "")),
    }


def _ends(container: Json) -> Iterable[Json]:
    """How it ended before, and now."""
    states = (container.get("lastState") or {}, container.get("state") or {})
    return [state["terminated"] for state in states if state.get("terminated")]


def _start(container: Json) -> str | None:
    state = container.get("state") or {}
    for kind in ("running", "terminated"):
        if state.get(kind):
            return str(state[kind].get("startedAt") or "") or None
    return None


def _reason(pod: Json) -> str:
    status = pod.get("status", {})
    if status.get("reason"):
        return str(status["reason"])
    if ending(pod):
        return "Terminating"
    for one in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return str(waiting["reason"])
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return str(scheduled.get("reason", ""))
    return "" if kube_pods.ready(pod) or finished(pod) else str(condition(pod, "Ready").get("reason", ""))


# --- workloads and nodes -------------------------------------------------------------------------------------------


def desired(workload: Json) -> int:
    """How many pods it wants; of a DaemonSet as many as nodes fit."""
    if "desiredNumberScheduled" in workload.get("status", {}):
        return int(workload["status"]["desiredNumberScheduled"])
    return int(workload["spec"].get("replicas", 1))


def available(workload: Json) -> int:
    status = workload.get("status", {})
    return int(status.get("availableReplicas", status.get("numberAvailable", 0)) or 0)


def schedulable(node: Json) -> bool:
    return not node["spec"].get("unschedulable", False)


def node_ready(node: Json) -> bool:
    return condition(node, "Ready").get("status") == "True"
