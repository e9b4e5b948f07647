"""The sandbox's services on Kubernetes: `environments/kubernetes/` applied, looked at and taken down, without kubectl.

The cluster is the one of KUBECONFIG and its current context, or the one that we run in. Everything is in one namespace,
which is ours if it carries our label: another one of the same name is refused, never touched.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veloz_chaos.errors import Missing, TargetError, UsageError
from veloz_chaos.mechanisms import kube_api
from veloz_chaos.sandbox import flaws as known_flaws
from veloz_chaos.sandbox import kustomize
from veloz_chaos.sandbox.kustomize import Object

NAMESPACE, OWNER = "veloz-sandbox", "veloz-chaos"
MANAGED_BY, NAME, RELEASE = "app.kubernetes.io/managed-by", "app.kubernetes.io/name", "veloz-chaos/release"
VARIANT = "veloz-chaos/variant"
#: variant -> the overlay, which is also the environment's ending
VARIANTS = ("one", "two", "child")
IMAGE = "veloz-sandbox"
#: Seconds: until it trades, until a service is there again, until all is gone; between two looks.
TRADES_WITHIN, STARTED_WITHIN, GONE_WITHIN = 240.0, 90.0, 120.0
LOOK_EVERY, REACHED_WITHIN = 0.3, 2.0
#: What a container waits for that will not come by itself -> what to do.
HOPELESS = {
    "ErrImageNeverPull": "bring the image to the nodes, or name one that they can pull by --image",
    "ErrImagePull": "bring the image to the nodes, or name one that they can pull by --image",
    "ImagePullBackOff": "bring the image to the nodes, or name one that they can pull by --image",
    "InvalidImageName": "correct --image",
    "CreateContainerConfigError": "see `kubectl -n veloz-sandbox describe pods`",
    "CrashLoopBackOff": "see `kubectl -n veloz-sandbox logs POD --previous`",
}


@dataclass(frozen=True)
class Service:
    """One Deployment. `state`: ready, starting or down; `restarts`: of the containers of its present pods."""

    state: str
    ready: str
    restarts: int
    pods: tuple[str, ...]
    node: str


@dataclass(frozen=True)
class Status:
    services: Mapping[str, Service]
    flaws: tuple[str, ...]
    variant: str


def up(folder: Path, *, flaws: Sequence[str] = (), variant: str = "", image: str = "") -> dict[str, str]:
    """Apply it and wait until it trades, seeded; returns service -> the address of its Service in the cluster.

    `folder` has the overlays. Raises UsageError: no cluster, not permitted, already up, somebody else's namespace, an
    unknown flaw or variant, a failed start. Whatever goes wrong, nothing is left behind.
    """
    chosen = known_flaws.checked(flaws)
    variant = variant or VARIANTS[0]
    if variant not in VARIANTS:
        raise UsageError(f"there is no variant {variant!r} on Kubernetes; it is one of: {', '.join(VARIANTS)}")
    objects = kustomize.rendered(folder / variant)
    _fit(objects, chosen, variant, image)
    with _told():
        if _namespace() is not None:
            raise UsageError("a sandbox is already up on Kubernetes; `veloz-chaos sandbox down --on kubernetes` first")
        try:
            for one in objects:
                _apply(one)
            _await_seeded()
        except BaseException:
            with suppress(UsageError, TargetError):
                down()
            raise
        return addresses()


def down() -> bool:
    """The namespace and all in it is gone; whether it was there. Raises UsageError."""
    with _told():
        if _namespace(ending=True) is None:
            return False
        api = kube_api.client()
        api.delete(kube_api.path("namespaces", None, NAMESPACE))
        deadline = time.monotonic() + GONE_WITHIN
        while (left := _namespace(ending=True)) is not None:
            if time.monotonic() > deadline:
                said = [one.get("message", "") for one in left.get("status", {}).get("conditions", ())]
                raise UsageError(f"the namespace {NAMESPACE} is still being deleted: {' | '.join(filter(None, said))}")
            time.sleep(LOOK_EVERY)
        return True


def status() -> Status | None:
    """None if it is not there. Raises UsageError."""
    with _told():
        namespace = _namespace(ending=True)
        if namespace is None:
            return None
        pods = _list("pods")
        services = {one["metadata"]["name"]: _service(one, pods) for one in _list("deployments.apps")}
        annotations = namespace["metadata"].get("annotations", {})
        settings = [one for one in _list("configmaps") if one["metadata"]["name"] == "settings"]
        flaws = settings[0]["data"].get("VELOZ_FLAWS", "") if settings else ""
        return Status(services, tuple(filter(None, flaws.split(","))), annotations.get(VARIANT, ""))


def restart(service: str) -> None:
    """A new release of it: new pods, whether old ones run or not; returns when they are ready. Raises UsageError."""
    with _told():
        if _namespace() is None:
            raise UsageError("no sandbox is up on Kubernetes; start it with: veloz-chaos sandbox up --on kubernetes")
        known = sorted(one["metadata"]["name"] for one in _list("deployments.apps"))
        if service not in known:
            raise UsageError(f"the sandbox has no service `{service}`; known: {', '.join(known)}")
        where = kube_api.path("deployments.apps", NAMESPACE, service)
        annotations = {"metadata": {"annotations": {RELEASE: str(time.time_ns())}}}
        kube_api.client().patch(where, {"spec": {"template": annotations}}, kind="strategic")
        deadline = time.monotonic() + STARTED_WITHIN
        while not _rolled_out(kube_api.client().get(where)):
            if time.monotonic() > deadline:
                raise UsageError(f"{service} is not ready within {STARTED_WITHIN:.0f} s; {_what_is_wrong()}")
            time.sleep(LOOK_EVERY)


def addresses() -> dict[str, str]:
    """service -> the address of its Service in the cluster."""
    return {one["metadata"]["name"]: one["spec"]["clusterIP"] for one in _list("services")}


def reached(found: Mapping[str, str]) -> bool:
    """Do the Services' addresses lead there from this machine?"""
    try:
        socket.create_connection((found["gateway"], 38080), REACHED_WITHIN).close()
    except OSError:
        return False
    return True


def inside() -> bool:
    """Do we run in a pod?"""
    return "KUBERNETES_SERVICE_HOST" in os.environ


@contextmanager
def _told() -> Iterator[None]:
    """What the cluster refuses is told as a mistake in the use of the command. Raises UsageError."""
    try:
        yield
    except TargetError as problem:
        raise UsageError(str(problem)) from None


def _namespace(ending: bool = False) -> Object | None:
    """Ours; None if there is none. Raises UsageError for somebody else's, and for one that is being deleted unless
    `ending` is allowed."""
    try:
        found = kube_api.client().get(kube_api.path("namespaces", None, NAMESPACE))
    except Missing:
        return None
    if found["metadata"].get("labels", {}).get(MANAGED_BY) != OWNER:
        raise UsageError(
            f"the namespace {NAMESPACE} is not ours: it lacks the label {MANAGED_BY}={OWNER}; delete or rename it, or "
            "choose another cluster by KUBECONFIG"
        )
    if found["metadata"].get("deletionTimestamp") and not ending:
        raise UsageError(f"the namespace {NAMESPACE} is being deleted; try again in a moment")
    return found


def _fit(objects: Sequence[Object], flaws: Sequence[str], variant: str, image: str) -> None:
    """The flaws, the variant's name and the image put in."""
    for one in objects:
        if one["kind"] == "Namespace":
            one["metadata"]["annotations"] = {VARIANT: variant}
        if one["kind"] == "ConfigMap" and "VELOZ_FLAWS" in one["data"]:
            one["data"]["VELOZ_FLAWS"] = ",".join(flaws)
        for container in kustomize.containers(one):
            if image and container["image"].partition(":")[0] == IMAGE:
                container["image"] = image


def _apply(one: Object) -> None:
    group = one["apiVersion"].rpartition("/")[0]
    plural = _plural(one["kind"]) + (f".{group}" if group else "")
    where = kube_api.path(plural, one["metadata"].get("namespace"), one["metadata"]["name"])
    kube_api.client().patch(where, one, kind="apply", fieldManager=OWNER, force="true")


def _plural(kind: str) -> str:
    return kind.lower() + "s"


def _await_seeded() -> None:
    """Everything is ready and the Job that seeds has ended. Raises UsageError with what stands in the way."""
    job = kube_api.path("jobs.batch", NAMESPACE, "seed")
    deadline = time.monotonic() + TRADES_WITHIN
    while True:
        ended = kube_api.client().get(job).get("status", {})
        if ended.get("succeeded") and all(one.state == "ready" for one in _services().values()):
            return
        if any(one["type"] == "Failed" and one["status"] == "True" for one in ended.get("conditions", ())):
            raise UsageError(f"the sandbox does not trade; {_what_is_wrong()}")
        if hopeless := _hopeless(_list("pods")):
            raise UsageError(f"the sandbox does not start: {hopeless}")
        if time.monotonic() > deadline:
            raise UsageError(f"the sandbox does not trade within {TRADES_WITHIN:.0f} s; {_what_is_wrong()}")
        time.sleep(LOOK_EVERY)


def _hopeless(pods: Sequence[Object]) -> str:
    for pod in pods:
        for container in pod["status"].get("containerStatuses", ()):
            waiting = container["state"].get("waiting", {})
            if waiting.get("reason") in HOPELESS:
                name, reason = pod["metadata"]["name"], waiting["reason"]
                return f"{name}: {reason}: {waiting.get('message', container['image'])}; {HOPELESS[reason]}"
    return ""


def _what_is_wrong() -> str:
    """Of every pod and claim that is not as it should be, what the cluster says; and its last warnings."""
    said = []
    for claim in _list("persistentvolumeclaims"):
        if claim["status"].get("phase") != "Bound":
            said.append(
                f"the volume claim {claim['metadata']['name']} is not bound: is there a default storage class? "
                "(kubectl get storageclass)"
            )
    for pod in _list("pods"):
        said += [
            f"{pod['metadata']['name']}: {one['reason']}: {one.get('message', '')}"
            for one in pod["status"].get("conditions", ())
            if one["status"] != "True" and one.get("reason") not in (None, "PodCompleted")
        ]
    warnings = [one for one in _list("events") if one.get("type") == "Warning"]
    said += [f"{one['involvedObject']['name']}: {one['message']}" for one in warnings[-3:]]
    return "\n".join(["the cluster says:", *said]) if said else "the cluster calls all of it well"


def _services() -> dict[str, Service]:
    pods = _list("pods")
    return {one["metadata"]["name"]: _service(one, pods) for one in _list("deployments.apps")}


def _service(deployment: Object, pods: Sequence[Object]) -> Service:
    name, wanted = deployment["metadata"]["name"], deployment["spec"]["replicas"]
    mine = [pod for pod in pods if pod["metadata"].get("labels", {}).get(NAME) == name]
    ready = deployment["status"].get("readyReplicas", 0)
    counts = [one["restartCount"] for pod in mine for one in pod["status"].get("containerStatuses", ())]
    state = "ready" if _rolled_out(deployment) else "starting" if mine else "down"
    nodes = sorted({pod["spec"].get("nodeName", "") for pod in mine} - {""})
    names = tuple(sorted(pod["metadata"]["name"] for pod in mine))
    return Service(state, f"{ready}/{wanted}", sum(counts), names, ", ".join(nodes))


def _rolled_out(deployment: Object) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = (status.get("updatedReplicas", 0), status.get("readyReplicas", 0), status.get("replicas", 0))
    return seen and counts == (wanted, wanted, wanted)


def _list(kind: str) -> list[dict[str, Any]]:
    return kube_api.client().list(kube_api.path(kind, NAMESPACE)).items
