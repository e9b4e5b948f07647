"""Helpers beside a container in a pod: pods of their own on the same node, which join the container's network.

They need a namespace where such pods are allowed: they share the node's pid namespace and see its control groups. A
helper ends with its runner, its target and its expiry; its pod is then finished, and is taken away by whoever of us
comes next.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms import kube_api, kube_pods, kube_stream
from veloz_chaos.mechanisms.beside import ENDING, READY, Found, Helper
from veloz_chaos.mechanisms.beside_pod import OURS, SOON, Beside, attached, default_image
from veloz_chaos.mechanisms.helper_container import CAPABILITIES
from veloz_chaos.mechanisms.kube_api import SIGN, Forbidden, Place, path

#: Which incarnation a helper is beside: the first digits of the container's id (a label holds no more than 63).
TARGET = "veloz-chaos/target"
_DIGITS = 32
#: A pod of ours is ended by its node after so long, whatever it holds. Seconds.
DEADLINE = 4 * 3600
#: Where a quota lets us have it.
CRITICAL = "system-node-critical"
NOWHERE = (
    "no helper may be started: the environment names no namespace for helper pods; write helpers: veloz-chaos beside "
    "the selector, where pods that share the node's pid namespace are allowed"
)
#: What each namespace for helpers answered when it was asked by a dry run; one answer serves thousands of pods.
_REFUSED: dict[tuple[type[Beside], Place, str], str] = {}


@dataclass(frozen=True)
class OnNode(Beside):
    """`helpers`: the namespace for their pods; empty where there may be none."""

    helpers: str = ""

    def start(self, sign: str) -> Helper:
        if not self.helpers:
            raise Unavailable(NOWHERE)
        return super().start(sign)

    def cannot(self, capability: str, process: int | None = None) -> str:  # noqa: ARG002
        if not self.helpers:
            return f"{NOWHERE}; or, for links and for processes inside, helpers: {{in: pod}}"
        key = (type(self), self.cluster, self.helpers)
        if key not in _REFUSED:
            _REFUSED[key] = self._refused()
        return _REFUSED[key]

    def found(self, sign: str | None = None) -> list[Found]:
        if not self.helpers:
            return []
        selector = f"{TARGET}={label(self.container_id)}," + (f"{SIGN}={sign}" if sign else SIGN)
        pods = self.api.listed(path("pods", self.helpers), labelSelector=selector).items
        return [
            Found(kube_pods.name_of(pod), kube_pods.name_of(pod), pod["metadata"]["labels"][SIGN], runs=_runs(pod))
            for pod in pods
            if sign or pod["status"].get("phase") not in ("Succeeded", "Failed")
        ]

    def stop(self, identity: str) -> None:
        """TERM, so that it undoes what it holds; without waiting for its node if that does not answer in time."""
        try:
            self.api.delete(path("pods", self.helpers, identity), {"gracePeriodSeconds": ENDING})
            deadline = time.monotonic() + ENDING
            while time.monotonic() < deadline:
                pod = self.api.get(path("pods", self.helpers, identity))
                if not _runs(pod) and "deletionTimestamp" not in pod["metadata"]:
                    return
                time.sleep(SOON)
            self.api.delete(path("pods", self.helpers, identity), {"gracePeriodSeconds": 0})
        except Gone:
            return

    def ready(self) -> bool:
        return bool(self.helpers)

    def by_hand(self, sign: str) -> str:
        return f"{self.cluster.words} -n {self.helpers} delete pod -l {SIGN}={sign}"

    def told(self, one: Found) -> str:
        return f"helper pod {one.name} of {one.sign} is still beside it; end it by: {self.by_hand(one.sign)}"

    def _refused(self) -> str:
        """Why the server would not admit a helper pod; what an account may not, its missing rights tell."""
        name = f"{OURS}dry-run-{secrets.token_hex(3)}"
        try:
            self._create(self._manifest(name, "vc-dry-run", ["--container", self.container_id]), dryRun="All")
        except (Forbidden, Unavailable):
            return ""
        except TargetError as error:
            return str(error)
        return ""

    def _make(self, name: str, sign: str) -> None:
        self._sweep()
        self._create(self._manifest(name, sign, self._joined()))

    def _runs(self, name: str) -> bool:
        try:
            pod = self.api.get(path("pods", self.helpers, name))
        except Gone:
            pod = None
        if pod is None or "deletionTimestamp" in pod["metadata"]:  # which says nothing of its target
            raise Unavailable(f"somebody has deleted the helper pod {name} in {self.helpers} before it was ready")
        if _runs(pod):
            return True
        if why := kube_pods.cannot_start(pod):
            raise Unavailable(f"the helper pod {name} in {self.helpers} can't start: {why}")
        if pod["status"].get("phase") == "Succeeded":
            raise Gone(f"no process of container {self.container_id[:12]} runs on {self.node} any more")
        return False

    def _late(self, name: str) -> str:
        return (
            f"the helper pod {name} in {self.helpers} has not started on {self.node} within {READY:g} s; see "
            f"{self.cluster.words} -n {self.helpers} describe pod {name}"
        )

    def _attach(self, name: str) -> kube_stream.Stream:
        return kube_stream.connect(self.api, path("pods", self.helpers, name, "attach"), attached("helper"))

    def _joined(self) -> list[str]:
        """Words for the helper, whose network it joins: for links that of any container that runs, since all of a pod
        share it, or else of the pod itself."""
        if not self.network:
            return ["--container", self.container_id]
        running = [kube_pods.id_of(one) for one in self.state()["status"]["containerStatuses"] if kube_pods.runs(one)]
        one = running[0] if running and self.container_id not in running else self.container_id
        return ["--container", one, self.uid]

    def _create(self, manifest: dict[str, Any], **query: Any) -> None:
        """As one that the node needs: then the kernel spares it when memory is short, and takes the target instead."""
        where, spec = path("pods", self.helpers), manifest["spec"]
        try:
            self.api.post(where, {**manifest, "spec": {**spec, "priorityClassName": CRITICAL}}, **query)
        except Missing:
            raise Missing(
                f"no helper pod may be made in {self.helpers}: there is no such namespace; create it, labelled "
                "pod-security.kubernetes.io/enforce=privileged (deploy/kubernetes/node-helpers has one), or name "
                "another one in helpers:"
            ) from None
        except TargetError as error:
            if "violates PodSecurity" in str(error):
                raise TargetError(
                    f"no helper pod may be made in {self.helpers}: {error}; label that namespace "
                    "pod-security.kubernetes.io/enforce=privileged, or name another one in helpers:"
                ) from None
            if isinstance(error, Forbidden) or not re.search("quota|priority", str(error), re.IGNORECASE):
                raise
            self.api.post(where, manifest, **query)

    def _sweep(self) -> None:
        """Pods of ours that have ended, of whichever run."""
        for phase in ("Succeeded", "Failed"):
            query = {"labelSelector": f"{SIGN},{TARGET}", "fieldSelector": f"status.phase={phase}"}
            for pod in self.api.listed(path("pods", self.helpers), **query).items:
                self.stop(kube_pods.name_of(pod))

    def _manifest(self, name: str, sign: str, joined: Sequence[str]) -> dict[str, Any]:
        container = {
            "name": "helper",
            "image": self.image or default_image(),
            "imagePullPolicy": "IfNotPresent",
            "args": [sign, *joined],
            "stdin": True,
            "stdinOnce": True,
            "securityContext": {
                "runAsUser": 0,
                "runAsNonRoot": False,
                "allowPrivilegeEscalation": True,
                "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)},
                "appArmorProfile": {"type": "Unconfined"},
                "seccompProfile": {"type": "Unconfined"},
            },
            "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "256Mi"}},
            "volumeMounts": [{"name": "groups", "mountPath": "/sys/fs/cgroup"}],
        }
        spec = {
            "nodeName": self.node,
            "hostPID": True,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": DEADLINE,
            "terminationGracePeriodSeconds": ENDING,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
            "volumes": [{"name": "groups", "hostPath": {"path": "/sys/fs/cgroup", "type": "Directory"}}],
        }
        labels = kube_api.marked(sign, [(TARGET, label(self.container_id))])
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def _runs(pod: Mapping[str, Any]) -> bool:
    return any(kube_pods.runs(one) for one in pod["status"].get("containerStatuses") or [])


def label(container_id: str) -> str:
    """What the pods of its helpers bear."""
    return container_id[:_DIGITS]


def attended(cluster: Place, helpers: str) -> set[str]:
    """The labels of all containers that have such pods in that namespace."""
    pods = kube_api.client(cluster).listed(path("pods", helpers), labelSelector=f"{SIGN},{TARGET}").items
    return {pod["metadata"]["labels"][TARGET] for pod in pods}
