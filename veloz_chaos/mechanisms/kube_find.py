"""Which pods a selector means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from veloz_chaos.errors import Missing, TargetError
from veloz_chaos.mechanisms import kube_pods
from veloz_chaos.mechanisms.kube_api import Api, path, selected
from veloz_chaos.mechanisms.kube_pods import Wanted

#: Word before the slash of an owner -> its kind in paths.
OWNERS = {
    "deployment": "deployments.apps",
    "statefulset": "statefulsets.apps",
    "daemonset": "daemonsets.apps",
    "replicaset": "replicasets.apps",
    "job": "jobs.batch",
}


def require_one_way(wanted: Wanted) -> None:
    """Raises ValueError."""
    if sum(map(bool, (wanted.labels, wanted.owner, wanted.pod))) != 1:
        raise ValueError("write exactly one of selector, owner and pod")
    if wanted.owner:
        kind, slash, name = wanted.owner.partition("/")
        if not slash or not name or kind not in OWNERS:
            raise ValueError(f"{wanted.owner!r} is no owner; write deployment/gateway ({', '.join(OWNERS)})")


def found(api: Api, namespace: str, wanted: Wanted) -> list[Mapping[str, Any]]:
    """Those that run and are not on their way out, eldest first. Raises Missing, with what is there instead."""
    pods, ours = _candidates(api, namespace, wanted)
    fit = [pod for pod in pods if ours(pod) and not kube_pods.leaving(pod) and pod["status"].get("phase") == "Running"]
    if fit:
        return sorted(fit, key=lambda pod: (pod["metadata"]["creationTimestamp"], kube_pods.name_of(pod)))
    there = api.listed(path("pods", namespace)).items
    waiting = [pod for pod in there if ours(pod) and pod in pods]
    if not there:
        _require_namespace(api, namespace)
    what = "none that is meant runs" if waiting else "none is there"
    raise Missing(f"no pod in namespace {namespace} {wanted}: {what}; there are: {kube_pods.listed(there)}")


def _candidates(
    api: Api, namespace: str, wanted: Wanted
) -> tuple[list[dict[str, Any]], Callable[[Mapping[str, Any]], bool]]:
    """Some pods, and which of them are meant."""
    where = path("pods", namespace)
    if wanted.labels:
        return api.listed(where, labelSelector=selected(dict(wanted.labels))).items, lambda _: True
    if wanted.pod:
        return api.listed(where, fieldSelector=f"metadata.name={wanted.pod}").items, lambda _: True
    kind, _, name = str(wanted.owner).partition("/")
    owner = api.get(path(OWNERS[kind], namespace, name))
    uids = {owner["metadata"]["uid"]}
    chosen = _written(owner["spec"]["selector"])
    if kind == "deployment":
        sets = api.listed(path("replicasets.apps", namespace), labelSelector=chosen).items
        uids = {one["metadata"]["uid"] for one in sets if kube_pods.owner_of(one) in uids}
    return api.listed(where, labelSelector=chosen).items, lambda pod: kube_pods.owner_of(pod) in uids


def _written(selector: Mapping[str, Any]) -> str:
    """A workload's own selector as a query has it."""
    words = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or []:
        values = f"({','.join(one.get('values') or [])})"
        kinds = {"In": f"{one['key']} in {values}", "NotIn": f"{one['key']} notin {values}"}
        words.append(kinds.get(one["operator"]) or ("!" if one["operator"] == "DoesNotExist" else "") + one["key"])
    return ",".join(words)


def _require_namespace(api: Api, namespace: str) -> None:
    """Raises Missing, with those there are, as far as we may know."""
    try:
        api.get(path("namespaces", None, namespace))
    except Missing:
        try:
            there = ", ".join(sorted(one["metadata"]["name"] for one in api.listed(path("namespaces")).items))
        except TargetError:
            there = "not to be listed by this account"
        raise Missing(f"there is no namespace {namespace}; there are: {there}") from None
    except TargetError:
        return
