"""The Kubernetes cluster that tests may do anything to, by kubectl: no test relies on the code it tests.

Its kubeconfig is looked for in VELOZ_CHAOS_TEST_KUBECONFIG, then where `tests/infra/kubernetes-up.sh` puts it; that
script starts it where REQUIRE names kubernetes. Never the user's own: other people's pods are there. What tests make is
in namespaces that carry the label of the tests. `python -m tests.infra.cluster` prints the path of the kubeconfig, or
nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.infra.require import absent, required

Manifest = dict[str, Any]

#: Of every namespace of a test; its value is the pid of the test's process.
LABEL = "veloz-chaos.test"
#: HTTP on 8080: /healthz, /readyz, /unready, /alloc?mb=, /work. Ends a second after TERM.
APP = "registry.local/app:v1"
#: busybox, ip, tc, iptables, nft, curl.
TOOLS = "registry.local/tools:v1"
#: Seconds for one command, and until pods are ready.
PATIENCE, READY = 60, 90
#: Seconds for its start, which may build it first.
START = 3000
SOMEBODY = 10001


class Refused(AssertionError):
    """What kubectl said when it failed."""


@cache
def kubeconfig() -> str | None:
    """The path of its kubeconfig, if it answers."""
    named = os.environ.get("VELOZ_CHAOS_TEST_KUBECONFIG") or str(_place() / "pki/admin.kubeconfig")
    if _answers(named):
        return named
    return _started() if required("kubernetes") else None


def _answers(config: str) -> bool:
    try:
        return Path(config).is_file() and bool(run(config, "get", "--raw", "/readyz", "--request-timeout=30s"))
    except (Refused, OSError, subprocess.TimeoutExpired):
        return False


def _started() -> str | None:
    """One that is being started already is waited for."""
    script = Path(__file__).with_name("kubernetes-up.sh")
    try:
        done = subprocess.run([script], check=True, stdout=subprocess.PIPE, text=True, timeout=START)
    except (OSError, subprocess.SubprocessError):
        return None  # the script said why
    return done.stdout.strip()


def require() -> str:
    """Skips the test where there is no cluster, or fails it where one is required."""
    found = kubeconfig()
    if found is None:
        absent("kubernetes", "no cluster for tests answers; start one by tests/infra/kubernetes-up.sh")
    return found


def program() -> str:
    """The path of a kubectl; whether it is there is not asked."""
    return shutil.which("kubectl") or str(_place() / "bin/kubectl")


def run(config: str, *words: str, given: str | None = None, wait: float = PATIENCE) -> str:
    """kubectl with this kubeconfig; `given` is its standard input. Raises Refused if it fails."""
    command = [program(), "--kubeconfig", config, *words]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=wait)
    if done.returncode != 0:
        raise Refused(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


class Namespace:
    """A namespace of one test: what it applies is there, and goes with it."""

    def __init__(self, config: str, labels: Mapping[str, str] | None = None) -> None:
        self.config = config
        self.name = f"t-{uuid4().hex[:10]}"
        own = {LABEL: str(os.getpid()), **(labels or {})}
        self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": own}}])

    def kubectl(self, *words: str, given: str | None = None, wait: float = PATIENCE) -> str:
        return run(self.config, "--namespace", self.name, *words, given=given, wait=wait)

    def apply(self, manifests: Sequence[Manifest]) -> None:
        self.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def get(self, kind: str, name: str) -> Manifest:
        return dict(json.loads(self.kubectl("get", kind, name, "-o", "json")))

    def all(self, kind: str, selector: str = "") -> list[Manifest]:
        return list(json.loads(self.kubectl("get", kind, "-l", selector, "-o", "json"))["items"])

    def pods(self, name: str = "app", replicas: int = 1, **differences: Any) -> list[str]:
        """Names of the pods of a hardened Deployment, all Ready. `differences`: as `deployment` takes them."""
        self.apply([deployment(name, replicas, **differences)])
        self.ready(name)
        return [str(one["metadata"]["name"]) for one in self.all("pods", f"app={name}")]

    def pod(self, name: str = "app", **differences: Any) -> str:
        return self.pods(name, 1, **differences)[0]

    def ready(self, name: str, seconds: float = READY) -> None:
        """Waits until all replicas of a Deployment are available."""
        self.kubectl("rollout", "status", f"deployment/{name}", f"--timeout={seconds}s", wait=seconds + PATIENCE)

    def end(self) -> None:
        """Deletes it, without waiting until all is gone."""
        run(self.config, "delete", "namespace", self.name, "--ignore-not-found", "--wait=false")


def deployment(
    name: str,
    replicas: int = 1,
    *,
    image: str = APP,
    command: Sequence[str] = (),
    memory: str = "64Mi",
    cpu: str = "200m",
    container: Mapping[str, Any] | None = None,
    pod: Mapping[str, Any] | None = None,
) -> Manifest:
    """As production's pods are: no root, nothing to write to, no capability, limits. Label and container: `app`.

    `container` and `pod` are what their specifications have beyond that, or instead.
    """
    spec: Manifest = {
        "name": "app",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": cpu, "memory": memory}},
        **({"command": list(command)} if command else {}),
        **(_probed() if image == APP else {}),
        **(container or {}),
    }
    hardened: Manifest = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": SOMEBODY,
            "runAsGroup": SOMEBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [spec],
        **(pod or {}),
    }
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": hardened},
        },
    }


@contextmanager
def namespace(labels: Mapping[str, str] | None = None) -> Iterator[Namespace]:
    """One for a test, deleted whatever happens. Its labels may ask for a level of Pod Security."""
    config = require()
    sweep(config)
    made = Namespace(config, labels)
    try:
        yield made
    finally:
        made.end()


@cache
def sweep(config: str) -> None:
    """Deletes namespaces that processes left which run no more."""
    for one in json.loads(run(config, "get", "namespaces", "-l", LABEL, "-o", "json"))["items"]:
        pid, name = one["metadata"]["labels"][LABEL], one["metadata"]["name"]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            with suppress(Refused):
                run(config, "delete", "namespace", name, "--ignore-not-found", "--wait=false")


def _probed() -> Manifest:
    return {
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2},
    }


def _place() -> Path:
    infra = Path(os.environ.get("INFRA_DIR") or Path.home() / ".cache/veloz-chaos-infra")
    return infra / "kubernetes"


if __name__ == "__main__":
    print(kubeconfig() or "")
