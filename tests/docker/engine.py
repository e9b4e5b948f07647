"""The real Docker Engine of DOCKER_HOST, by its own command line: no test relies on the code it tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from tests.infra.door import Door, door
from tests.infra.require import absent

IMAGE = "python:3.11-slim"
#: Every container and volume of a test carries it.
LABEL = "veloz-chaos.test"


def docker(*words: str, wait: float = 60) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=wait)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def require() -> None:
    """Skips, or fails under REQUIRE=docker, where there is no engine or not the image."""
    if not os.environ.get("DOCKER_HOST"):
        absent("docker", "DOCKER_HOST names no engine")
    try:
        docker("image", "inspect", IMAGE)
    except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
        absent("docker", f"no engine, or no {IMAGE} there: {error}")


class Lab:
    """Containers of one test; all are removed at its end."""

    def __init__(self) -> None:
        self.label = f"{LABEL}={uuid4().hex[:10]}"

    def name(self) -> str:
        return f"vct-{uuid4().hex[:10]}"

    def run(self, code: str, *options: str, name: str | None = None) -> str:
        """Python code as the main process; the container's name. Only if a port is published it has a network."""
        name = name or self.name()
        net = ("--network", self._network() if "-p" in options else "none")
        words = ("-d", "--label", self.label, "--name", name, *net, *options, IMAGE, "python", "-u", "-c", code)
        docker("run", *words)
        return name

    def _network(self) -> str:
        """One of its own: the engine's bridge may be used up or taken down by others."""
        return docker("network", "create", "--label", self.label, self.name())

    def inspect(self, name: str) -> dict[str, Any]:
        return dict(json.loads(docker("inspect", name))[0])

    def kill(self, name: str, signal: int = 9) -> None:
        """From the host, as what kills by itself: the restart policy acts."""
        os.kill(int(self.inspect(name)["State"]["Pid"]), signal)

    def await_http(self, port: int, seconds: float = 20) -> None:
        opener, end = urllib.request.build_opener(urllib.request.ProxyHandler({})), time.monotonic() + seconds
        while True:
            try:
                opener.open(f"http://127.0.0.1:{port}/", timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.05)

    def end(self) -> None:
        for words, remove in (
            (("ps", "-aq"), ("rm", "-fv")),
            (("volume", "ls", "-q"), ("volume", "rm", "-f")),
            (("network", "ls", "-q"), ("network", "rm")),
        ):
            if found := docker(*words, "--filter", f"label={self.label}").split():
                with suppress(AssertionError):
                    docker(*remove, *found)


@contextmanager
def lab() -> Iterator[Lab]:
    require()
    made = Lab()
    try:
        yield made
    finally:
        made.end()


@contextmanager
def by_tcp() -> Iterator[Door]:
    """The engine's socket behind a TCP port of this machine."""

    def dial() -> socket.socket:
        upstream = socket.socket(socket.AF_UNIX)
        upstream.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))
        return upstream

    with door(dial) as made:
        yield made
