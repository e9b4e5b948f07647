"""The real Alertmanager on a free loopback port, with a configuration of the test's own, for as long as it is needed.

Looked for in ALERTMANAGER and on PATH (Debian's package prometheus-alertmanager).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from tests.infra.toxiproxy import free_port

READY = 60.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def program() -> str | None:
    """The path of the server, if there is one."""
    named = [os.environ.get("ALERTMANAGER"), shutil.which("prometheus-alertmanager"), shutil.which("alertmanager")]
    return next((path for path in named if path and os.access(path, os.X_OK)), None)


def told(name: str, *, ended: bool = False, **labels: str) -> dict[str, Any]:
    """An alert as its API takes it. One that began longer ago than its group waits is not waited with at all."""
    now = datetime.now(UTC)
    start, end = (now - timedelta(seconds=2), now) if ended else (now, now + timedelta(minutes=5))
    about = {"labels": {"alertname": name, **labels}, "annotations": {"summary": f"{name} was raised"}}
    return about | {"startsAt": start.isoformat(), "endsAt": end.isoformat()}


class Server:
    """One server process. `stop` may be called twice."""

    def __init__(self, path: str, configuration: dict[str, Any], folder: Path) -> None:
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(configuration))
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.address}"
        options = {
            "config.file": folder / "alertmanager.yml", "storage.path": folder / "alertmanager",
            "web.listen-address": self.address, "cluster.listen-address": "",
        }  # fmt: skip
        self._log = (folder / "alertmanager.log").open("w+")
        self.process = subprocess.Popen(
            [path, *(f"--{name}={value}" for name, value in options.items())],
            stdout=self._log, stderr=subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
        self._await_ready()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with _OPENER.open(request, timeout=10) as response:
            return json.loads(response.read() or b"null")

    def alert(self, name: str, *, ended: bool = False, **labels: str) -> None:
        """What a Prometheus would send: it fires, or it did until now."""
        self.call("POST", "/api/v2/alerts", [told(name, ended=ended, **labels)])

    def log(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text()

    def stop(self) -> None:
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        self._log.close()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY
        while True:
            try:
                with _OPENER.open(self.url + "/-/ready", timeout=5):
                    return
            except OSError as error:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    told = self.log()
                    self.stop()
                    raise RuntimeError(f"Alertmanager did not start: {told}") from error
                time.sleep(0.02)


@contextmanager
def running(path: str, configuration: dict[str, Any]) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-alertmanager-") as folder:
        server = Server(path, configuration, Path(folder))
        try:
            yield server
        finally:
            server.stop()
