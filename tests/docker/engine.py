"""The real Docker Engine of DOCKER_HOST, by its own command line: no test relies on the code it tests."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

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
        """Python code as the main process; the container's name."""
        name = name or self.name()
        words = ("-d", "--label", self.label, "--name", name, *options, IMAGE, "python", "-u", "-c", code)
        docker("run", *words)
        return name

    def inspect(self, name: str) -> dict[str, Any]:
        return dict(json.loads(docker("inspect", name))[0])

    def kill(self, name: str, signal: int = 9) -> None:
        """From the host, as what kills by itself: the restart policy acts."""
        os.kill(int(self.inspect(name)["State"]["Pid"]), signal)

    def end(self) -> None:
        for kind, remove in (("ps", ("rm", "-fv")), ("volume", ("volume", "rm", "-f"))):
            words = ("ps", "-aq") if kind == "ps" else ("volume", "ls", "-q")
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
