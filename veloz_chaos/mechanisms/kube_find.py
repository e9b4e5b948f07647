"""Which pods a selector means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from veloz_chaos.errors import Missing, TargetError
from veloz_chaos.mechanisms import kube_objects, kube_pods
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
    try:
        owner = api.get(path(OWNERS[kind], namespace, name))
    except Missing:
        raise absent(api, namespace, OWNERS[kind], str(wanted.owner)) from None
    uids = {owner["metadata"]["uid"]}
    chosen = kube_objects.selector(owner)
    if kind == "deployment":
        sets = api.listed(path("replicasets.apps", namespace), labelSelector=chosen).items
        uids = {one["metadata"]["uid"] for one in sets if kube_pods.owner_of(one) in uids}
    return api.listed(where, labelSelector=chosen).items, lambda pod: kube_pods.owner_of(pod) in uids


def absent(api: Api, namespace: str, kind: str, owner: str) -> Missing:
    """Says what there is instead of this owner, as far as we may know. `kind`: as in paths."""
    try:
        _require_namespace(api, namespace)
    except Missing as error:
        return error
    word = owner.partition("/")[0]
    try:
        names = sorted(one["metadata"]["name"] for one in api.listed(path(kind, namespace)).items)
        there = f"there are: {', '.join(f'{word}/{name}' for name in names) or 'none'}"
    except TargetError:
        there = f"there are the pods: {_pods(api, namespace)}"
    return Missing(f"there is no {owner} in namespace {namespace}; {there}")


def _pods(api: Api, namespace: str) -> str:
    try:
        return kube_pods.listed(api.listed(path("pods", namespace)).items)
    except TargetError:
        return "not to be listed by this account"


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
