"""The sandbox's services as pods: `environments/kubernetes/` applied by kubectl, looked at and taken down.

All of it is in two namespaces, which are ours if they carry our label: others of the same name are refused, never
touched. The image is the one that `docker.py` builds; the nodes have to find it, and say so if they don't.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import control
from veloz_chaos.sandbox import flaws as known_flaws
from veloz_chaos.sandbox.command import attempt

NAMESPACE, HELPERS, OWNER = "veloz-sandbox", "veloz-sandbox-helpers", "veloz-chaos"
MANAGED_BY, NAME, VARIANT = "app.kubernetes.io/managed-by", "app.kubernetes.io/name", "veloz-chaos/variant"
OF_SANDBOX = "app.kubernetes.io/part-of=veloz-sandbox"
#: The overlays; the first is the usual one.
VARIANTS = ("one", "two", "child")
#: What is applied besides where it is monitored.
MONITORING = "monitoring"
IMAGES = ("docker.io/library/veloz-sandbox-database", "docker.io/library/veloz-sandbox-monitoring")
GATEWAY, PROMETHEUS = 30080, 30085
#: Seconds: for one answer, until it trades, until a service is there again or all is watched, until all is gone;
#: between two looks.
PATIENCE, TRADES_WITHIN, STARTED_WITHIN, GONE_WITHIN = 30.0, 240.0, 90.0, 120.0
LOOK_EVERY, REACHED_WITHIN = 0.5, 1.0
#: How many nodes are tried, and how many of the last lines are passed on.
TRIED, LAST = 3, 3
#: What a container waits for that will not come by itself.
NO_IMAGE = ("ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName")
BRING_IT = (
    "bring it to the nodes (kind load docker-image $(veloz-chaos sandbox build)), or push it to a registry that they "
    "reach and name it by --image"
)
#: what kubectl says -> what to do
REMEDIES = {
    r"localhost:8080 was refused": "no cluster is named: set KUBECONFIG, or give --kubeconfig or --context",
    r"server \S+ was refused|no such host|i/o timeout|Unable to connect|no route": (
        "is the cluster up, and is it this one? `kubectl config get-contexts` lists those that are known"
    ),
    r"context was not found|context \S+ does not exist": "`kubectl config get-contexts` lists those that are known",
    r"Unauthorized|must be logged in|provide credentials": "log in again: the token has expired, or is of elsewhere",
    r"forbidden": "the sandbox wants an account that may create namespaces and all in them: a cluster's admin, mostly",
    r"provided port is already allocated": "another Service has the port on the nodes: remove that one",
}

#: The log of kubectl's own library, which says all of it again.
IDLE = r"[EIW]\d{4} "

Object = dict[str, Any]


@dataclass(frozen=True)
class Cluster:
    """Which one; without either, the one that kubectl means."""

    context: str = ""
    kubeconfig: str = ""

    @property
    def words(self) -> list[str]:
        """How a command begins."""
        config = ["--kubeconfig", self.kubeconfig] if self.kubeconfig else []
        return ["kubectl", *config, *(["--context", self.context] if self.context else [])]


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


def up(
    folder: Path, cluster: Cluster, *, flaws: Sequence[str], variant: str, image: str, monitored: bool = False
) -> None:
    """Apply it and wait until it trades, seeded, and is watched where it is `monitored`. `folder` has the overlays.

    Raises UsageError: no kubectl, no cluster, not permitted, already up, somebody else's namespace, an unknown flaw, a
    failed start. Whatever goes wrong, nothing is left behind.
    """
    chosen = known_flaws.checked(flaws, monitored)
    parts = (variant, *([MONITORING] if monitored else []))
    texts = [_kubectl(cluster, "kustomize", str(folder / part)) for part in parts]
    objects = fitted([one for text in texts for one in yaml.safe_load_all(text)], chosen, variant, image)
    if _namespaces(cluster):
        raise UsageError("a sandbox is already up on Kubernetes; `veloz-chaos sandbox down --on kubernetes` first")
    try:
        whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        _kubectl(cluster, "apply", "--server-side", "--field-manager", OWNER, "-f", "-", given=whole)
        _await_seeded(cluster)
        if monitored and (host := reached(cluster)):
            _await_watching(cluster, host)
    except BaseException:
        with suppress(UsageError):
            down(cluster)
        raise


def fitted(objects: Sequence[Object], flaws: Sequence[str], variant: str, image: str) -> list[Object]:
    """With the flaws, the variant's name and the image put in."""
    for one in objects:
        if one["kind"] == "Namespace":
            one["metadata"]["annotations"] = {VARIANT: variant}
        if one["kind"] == "ConfigMap" and "VELOZ_FLAWS" in one["data"]:
            one["data"]["VELOZ_FLAWS"] = ",".join(flaws)
        for container in one.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
            if container["image"].rpartition(":")[0] in IMAGES:
                container["image"] = image
    return list(objects)


def down(cluster: Cluster) -> bool:
    """The namespaces and all in them are gone; whether there were any. Raises UsageError."""
    ours = _namespaces(cluster, ending=True)
    if ours:
        timeout = f"--timeout={GONE_WITHIN:.0f}s"
        _kubectl(cluster, "delete", "namespace", *ours, "--ignore-not-found", timeout, seconds=GONE_WITHIN + PATIENCE)
    return bool(ours)


def status(cluster: Cluster) -> Status | None:
    """None if it is not there. Raises UsageError."""
    namespace = _namespaces(cluster, ending=True).get(NAMESPACE)
    if namespace is None:
        return None
    found = _list(cluster, "deployments,pods,configmaps")
    settings = [one["data"] for one in found if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "settings"]
    flaws = settings[0].get("VELOZ_FLAWS", "") if settings else ""
    variant = namespace["metadata"].get("annotations", {}).get(VARIANT, "")
    return Status(services(found), tuple(filter(None, flaws.split(","))), variant)


def restart(cluster: Cluster, service: str) -> None:
    """A new release of it: new pods, whether old ones run or not; returns when they are ready. Raises UsageError."""
    if not _namespaces(cluster):
        raise UsageError("no sandbox is up on Kubernetes; start it with: veloz-chaos sandbox up --on kubernetes")
    known = services(_list(cluster, "deployments"))
    if service not in known:
        raise UsageError(f"the sandbox has no service `{service}`; known: {', '.join(known)}")
    name = f"deployment/{service}"
    _kubectl(cluster, "-n", NAMESPACE, "rollout", "restart", name)
    timeout = f"--timeout={STARTED_WITHIN:.0f}s"
    try:
        _kubectl(cluster, "-n", NAMESPACE, "rollout", "status", name, timeout, seconds=STARTED_WITHIN + PATIENCE)
    except UsageError as problem:
        raise UsageError(f"{problem}; {_what_is_wrong(cluster)}") from None


def reached(cluster: Cluster) -> str:
    """The address of a node at which the gateway answers from here; "" if there is none. Raises UsageError."""
    for node in json.loads(_kubectl(cluster, "get", "nodes", "-o", "json"))["items"][:TRIED]:
        for address in node["status"].get("addresses", ()):
            if address["type"] in ("InternalIP", "ExternalIP"):
                with suppress(OSError):
                    socket.create_connection((address["address"], GATEWAY), REACHED_WITHIN).close()
                    return str(address["address"])
    return ""


def context(cluster: Cluster) -> str:
    """The name of the one that is used; "" where kubectl has none, as inside a pod."""
    if cluster.context:
        return cluster.context
    said = attempt([*cluster.words, "config", "current-context"], PATIENCE)
    return said.stdout.strip() if said.returncode == 0 else ""


def services(found: Sequence[Object]) -> dict[str, Service]:
    """Of deployments and pods."""
    pods = [one for one in found if one["kind"] == "Pod"]
    return {one["metadata"]["name"]: _service(one, pods) for one in found if one["kind"] == "Deployment"}


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
    status, wanted = deployment["status"], deployment["spec"]["replicas"]
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = (status.get("updatedReplicas", 0), status.get("readyReplicas", 0), status.get("replicas", 0))
    return seen and counts == (wanted, wanted, wanted)


def _namespaces(cluster: Cluster, ending: bool = False) -> dict[str, Object]:
    """Ours, by their names. Raises UsageError for somebody else's, and for one that is being deleted unless `ending`
    is allowed."""
    said = _kubectl(cluster, "get", "namespace", NAMESPACE, HELPERS, "--ignore-not-found", "-o", "json")
    found: dict[str, Object] = {one["metadata"]["name"]: one for one in json.loads(said)["items"]} if said else {}
    for name, one in found.items():
        if one["metadata"].get("labels", {}).get(MANAGED_BY) != OWNER:
            raise UsageError(
                f"the namespace {name} is not ours: it lacks the label {MANAGED_BY}={OWNER}; delete it, or choose "
                "another cluster by --context"
            )
        if one["metadata"].get("deletionTimestamp") and not ending:
            raise UsageError(f"the namespace {name} is being deleted; try again in a moment")
    return found


def _await_seeded(cluster: Cluster) -> None:
    """Everything is ready and the Job that seeds has ended. Raises UsageError with what stands in the way."""
    deadline = time.monotonic() + TRADES_WITHIN
    while True:
        found = _list(cluster, "deployments,pods,jobs")
        job: Object = next((one["status"] for one in found if one["kind"] == "Job"), {})
        if job.get("succeeded") and all(one.state == "ready" for one in services(found).values()):
            return
        if any(one["type"] == "Failed" and one["status"] == "True" for one in job.get("conditions", ())):
            raise UsageError(f"the sandbox does not trade; {_what_is_wrong(cluster)}")
        if missing := no_image(found):
            raise UsageError(f"the sandbox does not start: {missing}")
        if time.monotonic() > deadline:
            raise UsageError(f"the sandbox does not trade within {TRADES_WITHIN:.0f} s; {_what_is_wrong(cluster)}")
        time.sleep(LOOK_EVERY)


def _await_watching(cluster: Cluster, host: str) -> None:
    """Every target answers, and no alert is pending. Raises UsageError."""
    if not control.until(lambda: control.watched(PROMETHEUS, host), STARTED_WITHIN, LOOK_EVERY):
        raise UsageError(f"the sandbox is not watched within {STARTED_WITHIN:.0f} s; {_what_is_wrong(cluster)}")


def no_image(found: Sequence[Object]) -> str:
    """Of the first pod that waits for an image in vain: which, where, and what to do."""
    for pod in found:
        for container in pod["status"].get("containerStatuses", ()) if pod["kind"] == "Pod" else ():
            if container["state"].get("waiting", {}).get("reason") in NO_IMAGE:
                where = pod["spec"].get("nodeName", "a node")
                return f"{where} neither has nor can pull {container['image']} ({pod['metadata']['name']}); {BRING_IT}"
    return ""


def _what_is_wrong(cluster: Cluster) -> str:
    """What the cluster says of every pod and claim that is not as it should be, and the pods' last words."""
    found = _list(cluster, "persistentvolumeclaims,pods")
    said = [
        f"the volume claim {one['metadata']['name']} is not bound: is there a default storage class? "
        "(kubectl get storageclass)"
        for one in found
        if one["kind"] == "PersistentVolumeClaim" and one["status"].get("phase") != "Bound"
    ]
    said += [
        f"{one['metadata']['name']} is not ready: {condition.get('message') or condition.get('reason', '')}"
        for one in found
        if one["kind"] == "Pod" and one["status"].get("phase") != "Succeeded"
        for condition in one["status"].get("conditions", ())
        if condition["status"] != "True" and condition["type"] in ("PodScheduled", "ContainersReady")
    ]
    asked = ["-n", NAMESPACE, "logs", "--selector", OF_SANDBOX, "--prefix", f"--tail={LAST}"]
    logs = attempt([*cluster.words, *asked], PATIENCE).stdout  # of those that have begun
    return "\n".join(["the cluster says:", *said, *logs.splitlines()])


def _list(cluster: Cluster, kinds: str) -> list[Object]:
    found: list[Object] = json.loads(_kubectl(cluster, "-n", NAMESPACE, "get", kinds, "-o", "json"))["items"]
    return found


def _kubectl(cluster: Cluster, *arguments: str, seconds: float = PATIENCE, given: str = "") -> str:
    """What it prints. Raises UsageError, with what it said and what to do."""
    if not shutil.which("kubectl"):
        raise UsageError("there is no command `kubectl`; install it: https://kubernetes.io/docs/tasks/tools")
    done = attempt([*cluster.words, *arguments], seconds, given=given)
    if done.returncode:
        raise UsageError(explained(done.stderr or done.stdout))
    return done.stdout


def explained(said: str) -> str:
    """The last that kubectl said, and the remedy for what is known."""
    remedy = next((text for pattern, text in REMEDIES.items() if re.search(pattern, said)), "")
    lines = [line.strip() for line in said.splitlines() if line.strip() and not re.match(IDLE, line)][-LAST:]
    return f"kubectl: {' | '.join(lines)}" + (f"; {remedy}" if remedy else "")
