"""Pods that conformance tests hurt: hardened, in a namespace of the tests, with another one for the helpers."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from tests.infra import cluster, containers
from tests.infra.cluster import Manifest, Namespace
from tests.infra.require import absent
from veloz_chaos.mechanisms import helper_image
from veloz_chaos.targets import kubernetes, kubernetes_link

LOADER = Path(cluster.__file__).with_name("kubernetes-load.sh")
PORT = 8080
#: A parent that starts its child again and again, as the real VeloZ's gateway does with its engine.
NESTED = ["python3", "-c", containers.PARENT, containers.SERVICE]


@cache
def image() -> str:
    """The helper's, built by the tests' engine and loaded into every node; the name that pods know it by."""
    name = helper_image.tag()
    if not helper_image.there(containers.engine(), name):
        helper_image.build(containers.engine())
    subprocess.run([LOADER, name], check=True, timeout=400)
    return f"docker.io/library/{name}"


class Pods:
    """A Deployment of one hardened pod and its helpers' namespace."""

    def __init__(self, space: Namespace, helpers: Namespace) -> None:
        self.space, self.helpers = space, helpers
        self.common: dict[str, Any] = {
            "namespace": space.name, "helpers": helpers.name, "image": image(), "kubeconfig": space.config,
        }  # fmt: skip

    def pod(self, name: str = "app") -> Manifest:
        """The one that is there, and stays."""
        found = [one for one in self.space.all("pods", f"app={name}") if "deletionTimestamp" not in one["metadata"]]
        return found[0]

    def selected(self, name: str = "app", **keys: Any) -> kubernetes.Part:
        volumes = {"logs": kubernetes.OwnVolume("/logs")} if name == "app" else {}
        selector = kubernetes.Selector(selector={"app": name}, volumes=volumes, **self.common, **keys)
        return kubernetes.find("service", selector)[0]

    def link(self, **keys: Any) -> Any:
        return kubernetes_link.find("link", kubernetes_link.Selector(selector={"app": "app"}, **self.common, **keys))[0]

    def settle(self, name: str = "app") -> None:
        """Until one pod of it is ready, and none is going."""
        until(lambda: [self._ready(one) for one in self.space.all("pods", f"app={name}")] == [True])

    def running(self) -> list[str]:
        """The helpers' pods that run."""
        return self.helpers.kubectl("get", "pods", "-o", "name", "--field-selector", "status.phase=Running").split()

    def traces(self, name: str = "app") -> list[str]:
        """What the machine's own /proc and iptables say is done to it: nodes share our pid namespace."""
        pid = first_process(self.pod(name))
        state = f"/sys/fs/cgroup/freezer{_group(pid, 'freezer')}/freezer.state"
        frozen = [] if Path(state).read_text().strip() == "THAWED" else ["frozen"]
        strains = [words for one in _mates(pid) if "strain" in (words := _words(one))]
        return [*frozen, *strains, *self.rules(name)]

    def rules(self, name: str = "app") -> list[str]:
        """What iptables says, also where no container runs."""
        pid = _within(self.pod(name)["metadata"]["uid"])[0]
        saved = subprocess.run(["nsenter", "-t", str(pid), "-n", "iptables-save"], capture_output=True, text=True)
        return [line for line in saved.stdout.splitlines() if "vc-" in line]

    @staticmethod
    def _ready(pod: Manifest) -> bool:
        conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions") or []}
        return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


class Within(Pods):
    """The same, with the helpers in the pods themselves: one namespace, whose labels say what it admits."""

    def __init__(self, space: Namespace) -> None:
        super().__init__(space, space)
        self.common["helpers"] = {"in": "pod"}

    def running(self) -> list[str]:
        return [name for name, status in self.ephemeral() if "running" in status["state"]]

    def ephemeral(self) -> list[tuple[str, Manifest]]:
        """All there ever were, with their status."""
        told = [pod["status"].get("ephemeralContainerStatuses") or [] for pod in self.space.all("pods")]
        return [(one["name"], one) for many in told for one in many]


@contextmanager
def pods() -> Iterator[Pods]:
    """`app` answers HTTP, also as a service; `nested` has a child that its parent starts again."""
    with cluster.namespace() as space, cluster.namespace() as helpers:
        yield settled(space, helpers)


def settled(space: Namespace, helpers: Namespace) -> Pods:
    _require_root()
    _settle(space)
    return Pods(space, helpers)


@contextmanager
def within(level: str = "privileged") -> Iterator[Within]:
    """The same; what helpers in the pods use of memory counts as the pods'."""
    _require_root()
    with cluster.namespace({"pod-security.kubernetes.io/enforce": level}) as space:
        _settle(space, app="256Mi", nested="256Mi")
        yield Within(space)


def _require_root() -> None:
    if os.geteuid() != 0:
        absent("root", "what is done to a pod is looked at by the node's /proc")


def _settle(space: Namespace, app: str = "64Mi", nested: str = "96Mi") -> None:
    volumes = [{"name": "logs", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}}]
    mounts = {"volumeMounts": [{"name": "logs", "mountPath": "/logs"}]}
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "other"},
        "spec": {"selector": {"app": "other"}, "ports": [{"port": 80, "targetPort": PORT}]},
    }  # fmt: skip
    made = [
        cluster.deployment("app", memory=app, container=mounts, pod={"volumes": volumes}),
        cluster.deployment("nested", image=image(), command=NESTED, memory=nested),
        cluster.deployment("other"),
    ]
    space.apply([*made, service])
    for name in ("app", "nested", "other"):
        space.ready(name)


def until(true: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def first_process(pod: Manifest) -> int:
    """Of its first container, by the machine's count."""
    return min(processes(pod))


def processes(pod: Manifest) -> list[int]:
    """All of its first container."""
    return _within(pod["status"]["containerStatuses"][0]["containerID"].rpartition("://")[2])


def _within(group: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if group in (folder / "cgroup").read_text():
                found.append(int(folder.name))
    return found


def _group(pid: int, controller: str) -> str:
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    return next(path for _, controllers, path in lines if controller in controllers.split(","))


def _mates(pid: int) -> list[int]:
    """The processes in its group for memory."""
    folder = Path(f"/sys/fs/cgroup/memory{_group(pid, 'memory')}")
    return [int(one) for one in (folder / "cgroup.procs").read_text().split()]


def _words(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def as_json(receipt: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(receipt)))
