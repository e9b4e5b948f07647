"""The real Toxiproxy server, on a free loopback port, for as long as a test session needs it.

Looked for in TOXIPROXY_SERVER, on PATH and in INFRA_DIR/bin, where `tests/infra/toxiproxy.sh` builds it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

READY = 60.0
FIRST, LAST = 11_000, 18_000
#: Its own: Hypothesis seeds everybody's.
_random = random.Random()
#: What `free_port` gave away already.
given: set[int] = set()


def program() -> str | None:
    """The path of the server, if there is one."""
    infra = Path(os.environ.get("INFRA_DIR") or Path.home() / ".cache/veloz-chaos-infra")
    named = [os.environ.get("TOXIPROXY_SERVER"), shutil.which("toxiproxy-server"), infra / "bin/toxiproxy-server"]
    return next((str(path) for path in named if path and os.access(path, os.X_OK)), None)


def free_port() -> int:
    """Below the range from which the kernel takes ports for others, and beside those of sandboxes, lest it be taken
    before it is used; and none that another process of these tests, which run side by side, may be given."""
    first, end = _range(os.environ.get("PYTEST_XDIST_WORKER", ""), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        port = _random.randrange(first, end)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in given:
                given.add(port)
                return port


def _range(worker: str, count: str) -> tuple[int, int]:
    """`worker`: gw0, gw1, …; empty where there is only one."""
    length = (LAST - FIRST) // int(count)
    first = FIRST + int(worker.removeprefix("gw") or 0) * length
    return first, first + length


class Admin:
    """The API by plain urllib, so that no test relies on the code it tests."""

    def __init__(self, api: str) -> None:
        self.api = api
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.api}{path}", data, method=method)
        with self.opener.open(request, timeout=10) as response:
            return json.loads(response.read() or b"null")

    def create(self, name: str, upstream: str, listen: str = "127.0.0.1:0") -> str:
        """The address that the new proxy listens on."""
        return str(self.call("POST", "/proxies", {"name": name, "listen": listen, "upstream": upstream})["listen"])

    def delete(self, name: str) -> None:
        self.call("DELETE", f"/proxies/{name}")

    def add(self, proxy: str, **toxic: Any) -> None:
        self.call("POST", f"/proxies/{proxy}/toxics", toxic)

    def toxics(self, proxy: str) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/proxies/{proxy}/toxics"))


class Server:
    """One server process. `stop` may be called twice."""

    def __init__(self, path: str) -> None:
        self.api = f"127.0.0.1:{free_port()}"
        host, _, port = self.api.partition(":")
        self.process = subprocess.Popen(
            [path, "-host", host, "-port", port], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        self.admin = Admin(self.api)
        self._await_ready()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY
        while True:
            try:
                self.admin.call("GET", "/version")
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.01)
