"""A namespace of a real cluster's, with what a test puts into it; gone after the test."""

from __future__ import annotations

import itertools
import os
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from tests.infra import cluster
from tests.infra.require import absent
from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms import kube_api
from veloz_chaos.mechanisms.kube_api import path

#: In every node's store; serves HTTP on 8080.
IMAGE = os.environ.get("VELOZ_CHAOS_TEST_IMAGE", "registry.local/app:v1")
numbers = itertools.count(1)
#: Not that a node is cordoned: who tolerates that is put there again.
TOLERATED = [{"key": "veloz-chaos/test", "operator": "Exists"}]
#: The label of a node that no machine is behind; its value is its name.
MADE = "veloz-chaos/test-node"
T = TypeVar("T")


def until(look: Callable[[], T], wanted: Callable[[T], bool] = bool, seconds: float = 60) -> T:
    end = time.monotonic() + seconds
    while not wanted(seen := look()):
        assert time.monotonic() < end, seen
        time.sleep(0.1)
    return seen


def kubeconfig() -> str:
    """Never the cluster that somebody happens to work with."""
    return cluster.require()


def api() -> kube_api.Api:
    try:
        made = kube_api.client(kube_api.Place(kubeconfig=kubeconfig()))
        made.get("/version")
    except TargetError as error:
        absent("kubernetes", str(error))
    return made


class Lab:
    """One namespace."""

    def __init__(self, server: kube_api.Api, name: str) -> None:
        self.api, self.name = server, name

    def path(self, kind: str, name: str | None = None, sub: str | None = None) -> str:
        return path(kind, self.name, name, sub)

    def make(self, kind: str, api_version: str, name: str, **body: Any) -> dict[str, Any]:
        titles = {"deployments.apps": "Deployment", "statefulsets.apps": "StatefulSet", "daemonsets.apps": "DaemonSet"}
        head = {"apiVersion": api_version, "kind": titles.get(kind, ""), "metadata": {"name": name}}
        return self.api.post(self.path(kind), {key: value for key, value in head.items() if value} | body)

    def deployment(
        self, name: str = "web", replicas: int = 1, kind: str = "deployments.apps", ready: bool = True, **pod: Any
    ) -> dict[str, Any]:
        """Its pods serve at once, and end within a second; `ready` False: they never are."""
        spec: dict[str, Any] = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}}
        spec["template"] = {"metadata": {"labels": {"app": name}}, "spec": podspec(ready) | pod}
        if kind == "statefulsets.apps":
            spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}
        if kind == "daemonsets.apps":
            del spec["replicas"]
        return self.make(kind, "apps/v1", name, spec=spec)

    def pod(self, name: str = "bare", **spec: Any) -> dict[str, Any]:
        return self.make("pods", "v1", name, spec=podspec() | spec)

    def service(self, name: str = "web") -> None:
        self.make("services", "v1", name, spec={"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]})

    def node_port(self, name: str = "web") -> str:
        """A Service that every node has a port for; host:port, as seen from here."""
        spec = {"selector": {"app": name}, "type": "NodePort", "ports": [{"port": 80, "targetPort": 8080}]}
        made = self.make("services", "v1", name, spec=spec)
        addresses = self.machines()[0]["status"]["addresses"]
        host = next(one["address"] for one in addresses if one["type"] == "InternalIP")
        return f"{host}:{made['spec']['ports'][0]['nodePort']}"

    def machines(self) -> list[dict[str, Any]]:
        """The nodes, without those that other tests make meanwhile and no machine is behind."""
        there = self.api.listed(path("nodes")).items
        return [one for one in there if MADE not in one["metadata"].get("labels", {})]

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.api.get(self.path(kind, name))

    def pods(self, name: str = "web") -> list[dict[str, Any]]:
        return self.api.listed(self.path("pods"), labelSelector=f"app={name}").items

    def ready(self, wanted: int, name: str = "web", kind: str = "deployments.apps") -> None:
        def serving() -> int:
            found = self.get(kind, name).get("status", {})
            return int(found.get("readyReplicas", found.get("numberReady", 0)) or 0)

        until(serving, lambda number: number == wanted)

    def gone(self, kind: str, name: str) -> None:
        """Deleted, and with everything that it owns, at once."""
        with suppress(TargetError):
            self.api.delete(self.path(kind, name), propagationPolicy="Background", gracePeriodSeconds=0)

    # --- a node that no machine is behind ---------------------------------------------------------------------------

    def node(self, name: str, **labels: str) -> dict[str, Any]:
        """Nobody's pods are put there but those of `tenants`; they never run."""
        taint = {"key": "veloz-chaos/test", "value": name, "effect": "NoSchedule"}
        meta = {"name": name, "labels": {MADE: name, **labels}}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {"taints": [taint]}}
        made = self.api.post(path("nodes"), body)
        room = {"cpu": "8", "memory": "8Gi", "pods": "110"}
        ready = {"type": "Ready", "status": "True", "reason": "Told", "message": "", "lastHeartbeatTime": now()}
        status = {"capacity": room, "allocatable": room, "conditions": [{**ready, "lastTransitionTime": now()}]}
        self.api.patch(path("nodes", name=name, sub="status"), {"status": status})
        return made

    def tenants(self, node: str, replicas: int = 2, name: str = "web", **pod: Any) -> None:
        spec = {"terminationGracePeriodSeconds": 0, "tolerations": TOLERATED, **pod}
        self.deployment(name, replicas, nodeSelector={MADE: node}, **spec)
        until(
            lambda: [pod for pod in self.pods(name) if pod["spec"].get("nodeName") == node],
            lambda on: len(on) == replicas,
        )

    def run(self, name: str = "web") -> None:
        """They run and serve by their own word, as a kubelet would say."""
        ready = [{"type": kind, "status": "True", "lastTransitionTime": now()} for kind in ("Ready", "PodScheduled")]
        for pod in self.pods(name):
            status = {"status": {"phase": "Running", "conditions": ready}}
            self.api.patch(self.path("pods", pod["metadata"]["name"], "status"), status)


def answers(address: str) -> bool:
    """Does somebody speak HTTP there?"""
    try:
        with urllib.request.urlopen(f"http://{address}/healthz", timeout=5):
            return True
    except OSError:
        return False


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def podspec(ready: bool = True) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}
    if not ready:
        container["readinessProbe"] = {"tcpSocket": {"port": 9}, "periodSeconds": 1}
    return {"terminationGracePeriodSeconds": 1, "containers": [container]}


@contextmanager
def lab() -> Iterator[Lab]:
    server, name = api(), f"t-objects-{os.getpid()}-{next(numbers)}"
    labels = {cluster.LABEL: str(os.getpid())}
    body: Mapping[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    server.post(path("namespaces"), body)
    made = Lab(server, name)
    until(lambda: server.listed(path("serviceaccounts", name)).items)
    try:
        yield made
    finally:
        server.delete(path("namespaces", name=name))
