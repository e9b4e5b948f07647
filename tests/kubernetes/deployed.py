"""`deploy/kubernetes` as it is, in namespaces of the test's own: the runner's, and the system's (its helpers' too)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.infra import cluster, docker
from tests.infra.cluster import Manifest, Namespace
from tests.kubernetes.pods import LOADER, Pods, processes, until

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "kubernetes"
IMAGE = "veloz-chaos:0.1.0"
JOB = "job/pod-kill"
SMALL: dict[str, Any] = {
    "allowed-on": ["staging"], "steady-state": ["served"], "baseline": "1s",
    "blast-radius": {"count": 1, "percent": "100%", "last-replica": True},
}  # fmt: skip


def cut(lab: Pods, length: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """An experiment that cuts off `app` by a helper on its node, and its environment as seen from within."""
    common = {key: value for key, value in lab.common.items() if key != "kubeconfig"}
    link = {**common, "selector": {"app": "app"}, "to": "other:80"}
    probe = {"kubernetes": {"namespace": lab.space.name, "owner": "deployment/app"}, "every": "200ms", "timeout": "5s"}
    experiment = SMALL | {
        "failure": "network-partition",
        "fault": {"partition": {"link": "app->other", "for": length}},
        "expect": {"impact": "none", "recovery": {"hold": "1s"}},
    }
    links = {"app->other": {"kubernetes-link": link}}
    return experiment, {"permit": {"helpers": {"node": True}}, "links": links, "probes": {"served": probe}}


@dataclass(frozen=True)
class Deployed:
    folder: Path
    runner: Namespace
    system: Namespace

    def apply(self, part: str = "") -> None:
        cluster.run(cluster.require(), "apply", "-k", str(self.folder / part))

    def on(self, experiment: dict[str, Any], environment: dict[str, Any]) -> None:
        """What its Job runs, and on what; everything that it needs is applied, and nothing started."""
        known = {name: {"namespace": self.runner.name} for name in ("lease", "mirror")}
        head: dict[str, Any] = {"kind": "Environment", "version": 1, "name": self.system.name, "tier": "staging"}
        written = {"environment.yaml": head | {"kubernetes": known} | environment}
        written |= {
            "experiment.yaml": {"kind": "Experiment", "version": 1, "name": "small", "title": "small"} | experiment
        }
        runner = self.folder / "runner.yaml"
        parts = list(yaml.safe_load_all(runner.read_text()))
        (given,) = (one for one in parts if one["kind"] == "ConfigMap")
        given["data"] = {name: json.dumps(data) for name, data in written.items()}
        runner.write_text(yaml.safe_dump_all(parts))
        job = self.folder / "job" / "job.yaml"
        job.write_text(job.read_text().replace("[run, pod-kill,", "[run, /etc/veloz-chaos/experiment.yaml,"))
        self.apply()
        self.apply("node-helpers")

    def start(self) -> None:
        """Another Job, as an operator starts it."""
        self.runner.kubectl("delete", JOB, "--ignore-not-found")
        self.apply("job")

    def start_elsewhere(self, nodes: Iterable[str]) -> None:
        """On any node but those."""
        cluster.run(cluster.require(), "cordon", *nodes)
        self.start()
        until(lambda: any("nodeName" in one["spec"] for one in self._pods()))
        cluster.run(cluster.require(), "uncordon", *nodes)

    def ended(self, seconds: float = 180) -> str:
        """Of the Job: Complete or Failed."""
        found: list[str] = []

        def over() -> bool:
            told = self.runner.get(*JOB.split("/")).get("status", {}).get("conditions") or []
            found[:] = [
                one["type"] for one in told if one["status"] == "True" and one["type"] in ("Complete", "Failed")
            ]
            return bool(found)

        until(over, seconds)
        return found[0]

    def said(self) -> str:
        """By both of its containers: `revert`, then `run`."""
        words = []
        for container in ("revert", "run"):
            with suppress(cluster.Refused):
                words.append(self.runner.kubectl("logs", JOB, "-c", container))
        return "\n".join(words)

    def pod(self) -> Manifest:
        """The Job's."""
        return self._pods()[0]

    def _pods(self) -> list[Manifest]:
        there = self.runner.all("pods", "job-name=pod-kill")
        return [one for one in there if "deletionTimestamp" not in one["metadata"]]

    def kill(self) -> None:
        """All of its processes at once, guardian and all."""
        for pid in processes(self.pod()):
            os.kill(pid, signal.SIGKILL)

    def lost(self) -> list[str]:
        """Runs that the cluster tells of, as nobody has closed them."""
        maps = self.runner.all("configmaps", "app.kubernetes.io/managed-by=veloz-chaos")
        return [str(one["metadata"]["name"]) for one in maps]


@contextmanager
def deployed() -> Iterator[Deployed]:
    with tempfile.TemporaryDirectory() as name, cluster.namespace() as one, cluster.namespace() as other:
        folder = Path(name) / "kubernetes"
        shutil.copytree(DEPLOY, folder)
        runner, system = one.name, other.name
        for file in folder.rglob("*.yaml"):
            text = file.read_text().replace("namespace: veloz-chaos-helpers", f"namespace: {system}")
            text = text.replace("namespace: veloz-chaos", f"namespace: {runner}")
            text = text.replace("namespace: veloz\n", f"namespace: {system}\n")
            if file.name == "namespace.yaml":
                here = system if file.parent.name == "node-helpers" else runner
                text = "\n".join(f"  name: {here}" if line.startswith("  name:") else line for line in text.split("\n"))
            file.write_text(text)
        yield Deployed(folder, one, other)


@cache
def image() -> None:
    """The runner's, built from its Dockerfile by the tests' engine and loaded into every node."""
    with tempfile.TemporaryDirectory() as name:
        for part in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / part, name)
        for part in ("veloz_chaos", "experiments", "environments", "schedules"):
            shutil.copytree(ROOT / part, Path(name) / part, ignore=shutil.ignore_patterns("__pycache__", "data"))
        recipe = shutil.copy(DEPLOY / "Dockerfile", name)
        docker.client().images.build(path=name, dockerfile=recipe, tag=IMAGE, rm=True, network_mode="host")
    subprocess.run([LOADER, IMAGE], check=True, timeout=400)
