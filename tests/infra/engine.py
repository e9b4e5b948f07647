"""A Docker Engine of the test's own, which may be stopped and killed: without networks, with the images it is given.

It runs in a network namespace of its own: a daemon told to have no bridge removes the `docker0` that it finds, which is
another engine's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.infra.containers import until
from tests.infra.require import absent


class Engine:
    """Everything of it is below one folder, whose path must be short: sockets have paths of 107 bytes at most."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("dockerd")
        if program is None or os.geteuid() != 0:
            absent("docker", "an engine of the test's own needs dockerd and root")
        self.folder, self.host = folder, f"unix://{folder}/engine.sock"
        (folder / "daemon.json").write_text("{}")
        self.command = [
            "unshare", "--net",
            program, "--config-file", f"{folder}/daemon.json", "--data-root", f"{folder}/data", "-H", self.host,
            "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "--bridge", "none", "--iptables=false",
            "--ip-forward=false", "--exec-opt", "native.cgroupdriver=cgroupfs",
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Answers when it returns. (A containerd that nobody has reaped would be waited for.)"""
        (self.folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until(self._answers, 60)

    def stop(self, name: str = "TERM") -> None:
        """KILL leaves its containers to their shims, as a crash does."""
        assert self.process
        self.process.send_signal(signal.Signals[f"SIG{name}"])
        self.process.wait(60)

    def close(self) -> None:
        """With its containers: what a killed daemon leaves, only a daemon takes away."""
        if self.process is None:
            return
        if self.process.poll() is not None:
            self.start()
        command = "docker --host $0 rm -f $(docker --host $0 ps -aq)"
        subprocess.run(["sh", "-c", command, self.host], check=False, capture_output=True)
        self.stop()
        subprocess.run(["umount", "-l", f"{self.folder}/data"], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def load(self, images: Iterable[str]) -> None:
        """From the engine that the other tests use."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            loading = ["docker", "--host", self.host, "load", "--quiet"]
            subprocess.run(loading, stdin=saved.stdout, check=True, stdout=subprocess.DEVNULL)

    def _answers(self) -> bool:
        asked = ["docker", "--host", self.host, "info"]
        return subprocess.run(asked, check=False, capture_output=True, timeout=30).returncode == 0
