"""A process that a run pauses, known to a real cluster by a lease and a mirror in a namespace of the test's own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.infra import cluster
from veloz_chaos.errors import Missing
from veloz_chaos.mechanisms import proc
from veloz_chaos.mechanisms.kube_api import Api, path

ROOT = Path(__file__).parents[2]
PRODUCT = [sys.executable, "-m", "veloz_chaos"]
LEASES, MAPS = "leases.coordination.k8s.io", "configmaps"


@dataclass
class Paused:
    """Its own folder, process and files; runs of it are processes of their own."""

    api: Api
    folder: Path
    namespace: str
    name: str = field(default_factory=lambda: f"paused-{uuid4().hex[:6]}")

    def begin(self) -> None:
        command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
        pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=pipe, stderr=quiet, text=True)
        assert self.process.stdout
        told = re.match(r"Serving HTTP on 127\.0\.0\.1 port (\d+) ", self.process.stdout.readline())
        assert told
        self.port = int(told[1])
        (self.folder / "pid").write_text(str(self.process.pid))
        until(self.answers)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/pid", timeout=1).close()
        except OSError:
            return False
        return True

    @property
    def stopped(self) -> bool:
        return proc.stopped(self.process.pid)

    def environment(self, name: str = "environment", **changes: Any) -> Path:
        look = {"every": "50ms", "timeout": "5s"}
        get = {"get": f"http://127.0.0.1:{self.port}/pid"}
        data = {
            "kind": "Environment",
            "version": 1,
            "name": self.name,
            "tier": "development",
            "kubernetes": {"lease": {"namespace": self.namespace}, "mirror": {"namespace": self.namespace}},
            "services": {"system": {"process": {"pidfile": str(self.folder / "pid")}}},
            "probes": {
                "healthy": {"http": get, "ok": "status == 200", **look},
                "reported-down": {"http": get, "ok": "status == 503", **look},
            },
        }
        return self._write(name, data | changes)

    def experiment(self, **changes: Any) -> Path:
        data = {
            "kind": "Experiment",
            "version": 1,
            "name": "small",
            "title": "A small system is hurt",
            "failure": "exchange-down",
            "allowed-on": ["development"],
            "blast-radius": {"last-replica": True},
            "steady-state": ["healthy"],
            "baseline": "300ms",
            "fault": {"pause": {"service": "system", "for": "60s"}},
            "expect": {"detection": ["reported-down"], "recovery": {"hold": "300ms"}},
        }
        return self._write("experiment", data | changes)

    def _write(self, name: str, data: dict[str, Any]) -> Path:
        written = self.folder / f"{name}.yaml"
        written.write_text(json.dumps(data))
        return written

    def start(self, runs: str = "runs") -> subprocess.Popen[str]:
        """A run in a process of its own."""
        words = ["run", str(self.experiment()), "-e", str(self.environment()), "--runs", str(self.folder / runs), "-q"]
        pipe = subprocess.PIPE
        return subprocess.Popen([*PRODUCT, *words], stdout=pipe, stderr=pipe, text=True, cwd=ROOT)

    def struck(self, runs: str = "runs") -> subprocess.Popen[str]:
        """A run under way whose fault is in place."""
        run = self.start(runs)
        until(lambda: self.stopped or run.poll() is not None)
        assert run.poll() is None, run.communicate()
        return run

    def call(self, *words: str, runs: str | None = "runs") -> subprocess.CompletedProcess[str]:
        command = [*PRODUCT, *words, *(["--runs", str(self.folder / runs)] if runs else [])]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    # --- what the cluster says -----------------------------------------------------------------------------------

    def lease(self) -> dict[str, Any]:
        """Its spec; empty if there is none."""
        try:
            found: dict[str, Any] = self.api.get(path(LEASES, self.namespace, "veloz-chaos"))["spec"]
        except Missing:
            return {}
        return found

    def holder(self) -> str:
        return str(self.lease().get("holderIdentity", ""))

    def mirrors(self) -> list[dict[str, Any]]:
        selector = "app.kubernetes.io/managed-by=veloz-chaos"
        return self.api.listed(path(MAPS, self.namespace), labelSelector=selector).items


@contextmanager
def paused(api: Api, folder: Path) -> Iterator[Paused]:
    with cluster.namespace() as space:
        made = Paused(api, folder, space.name)
        made.begin()
        try:
            yield made
        finally:
            made.end()


def until(holds: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
