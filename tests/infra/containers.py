"""Containers for tests, on the tests' own engine; all carry a label of the tests."""

from __future__ import annotations

import atexit
import io
import itertools
import os
import tarfile
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.infra import docker
from tests.infra.require import absent
from veloz_chaos.mechanisms import docker_api, helper_container

if TYPE_CHECKING:
    from docker.api.client import APIClient

LABEL = "veloz-chaos.test"
IMAGE = "python:3.11-slim"
BARE = "veloz-chaos-test-bare:1"
_numbers = itertools.count(1)

#: Answers lines, holds memory so that the kernel finds it first, and ends at TERM as a service should.
SERVICE = """
import signal, socket, sys, threading
held = b"x" * (16 << 20)
def talk(connection):
    try:
        for line in connection.makefile("rb"):
            connection.sendall(b"PONG\\n")
    except OSError:
        pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
listener = socket.create_server(("0.0.0.0", 7000), backlog=256)
print("ready", flush=True)
while True:
    threading.Thread(target=talk, args=listener.accept()[:1], daemon=True).start()
"""

#: Starts a child again and again, as the real VeloZ's gateway does with its engine.
PARENT = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
while True:
    subprocess.run([sys.executable, "-c", sys.argv[1], "veloz_engine"])
"""

#: No shell, and nothing that could start one.
BARED = """
import pathlib
for folder in ("/bin", "/usr/bin", "/usr/sbin"):
    for file in pathlib.Path(folder).iterdir():
        if "python" not in file.name and not file.is_dir():
            file.unlink()
"""
RECIPE = 'FROM python:3.11-slim\nCOPY bare.py /\nRUN ["python3", "/bare.py"]\nUSER 65534\n'


@cache
def engine() -> APIClient:
    """The tests' own, never the machine's. Skips the test if there is none, or fails it if one is required."""
    address = docker.host()
    if address is None:
        absent("docker", "no engine for tests answers; start one by tests/infra/docker-up.sh and tests/infra/images.sh")
    os.environ["DOCKER_HOST"] = address
    return docker_api.client(docker_api.Place())


def create(image: str = IMAGE, command: list[str] | None = None, **host: Any) -> str:
    """A running container's id. `host`: as create_host_config takes it; the container's own: user, labels, name."""
    api = engine()
    own = {key: host.pop(key) for key in ("user", "name") if key in host}
    labels = {LABEL: str(os.getpid()), **host.pop("labels", {})}
    if image == BARE:
        bare()
    made = api.create_container(
        image, command or ["python3", "-c", SERVICE], labels=labels,
        host_config=api.create_host_config(**host), **{"name": f"vc-test-{os.getpid()}-{next(_numbers)}", **own},
    )["Id"]  # fmt: skip
    try:
        api.start(made)
        until(lambda: b"ready" in api.logs(made))
    except Exception:
        destroy(made)
        raise
    return str(made)


#: Another container, by its name on the network of the tests.
FAR = "far.rig.test"


@cache
def network() -> str:
    """The name of a network of this process, with FAR in it; both go at the end."""
    api, name = engine(), f"vc-test-{os.getpid()}"
    made = api.create_network(name, labels={LABEL: str(os.getpid())})
    ends = api.create_networking_config({name: api.create_endpoint_config(aliases=[FAR])})  # type: ignore[arg-type]
    far = api.create_container(
        IMAGE, ["python3", "-c", SERVICE], labels={LABEL: str(os.getpid())}, networking_config=ends, name=f"{name}-far"
    )["Id"]
    api.start(far)
    until(lambda: b"ready" in api.logs(far))
    atexit.register(api.remove_network, made["Id"])
    atexit.register(helper_container.remove, api, far)
    return name


def destroy(container: str) -> None:
    """With the helpers beside it."""
    for one in helper_container.find(engine(), target=container):
        helper_container.remove(engine(), one["Id"])
    helper_container.remove(engine(), container)


@cache
def bare() -> None:
    """Builds the image without a shell."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, text in (("Dockerfile", RECIPE), ("bare.py", BARED)):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    context.seek(0)
    said = list(engine().build(fileobj=context, custom_context=True, tag=BARE, rm=True, decode=True))
    assert "error" not in said[-1], said[-1]


def running(container: str) -> list[str]:
    """Command lines of all processes in a container's control groups, by the engine's word; none where it has ended."""
    from docker.errors import APIError

    try:
        found = engine().top(container, "-eo pid,args")["Processes"] or []
    except APIError as error:
        if error.status_code not in (404, 409):
            raise
        return []
    return [line[-1] for line in found]


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
