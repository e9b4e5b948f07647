"""The real Docker Engine of DOCKER_HOST, by its own command line: no test relies on the code it tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from tests.infra.door import Door, door
from tests.infra.require import absent

IMAGE = "python:3.11-slim"
#: Every container and volume of a test carries it.
LABEL = "veloz-chaos.test"
#: A child that takes too much at the signal USR1, and is killed for it; its parent lives on, until it is killed: of one
#: whose only process is killed for memory the engine may learn the end first, and then never the reason.
HUNGRY = """
import signal, subprocess, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [10])
print('ready')
signal.sigwait([10])
subprocess.run([sys.executable, '-c', "held = [bytearray(b'x' * 10**6) for _ in range(500)]"])
time.sleep(600)
"""


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
        pid = int(self.inspect(name)["State"]["Pid"])
        assert pid > 0, f"{name} does not run"  # 0 would be all of us
        os.kill(pid, signal)

    def await_word(self, name: str, word: str, seconds: float = 60) -> None:
        """Until it has written that."""
        self._await(lambda: word in docker("logs", name), seconds)

    def await_oom(self, name: str, seconds: float = 60) -> None:
        """Until the engine has told that the kernel killed one of its processes for memory; its state says so later."""
        since = self.inspect(name)["State"]["StartedAt"]
        which = ("--filter", f"container={name}", "--filter", "event=oom")
        self._await(lambda: docker("events", "--since", since, "--until", f"{time.time():.9f}", *which), seconds)

    @staticmethod
    def _await(true: Callable[[], object], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not come true"
            time.sleep(0.05)

    def await_http(self, port: int, seconds: float = 60) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def answers() -> bool:
            try:
                opener.open(f"http://127.0.0.1:{port}/", timeout=5).close()
            except OSError:
                return False
            return True

        self._await(answers, seconds)

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
