"""The Docker Engine that tests may do anything to, and what they make in it: all of it carries the label of the tests.

Looked for in VELOZ_CHAOS_TEST_DOCKER (an address as in DOCKER_HOST), then where `tests/infra/docker-up.sh` starts it;
started by that script where REQUIRE names docker. Never the machine's own engine: other people's containers are there.
`python -m tests.infra.docker` prints its address, or nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.infra.require import absent, required

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

#: Of every container, network, volume and image of a test; its value is the pid of the test's process.
LABEL = "veloz-chaos.test"
BUSYBOX = "busybox:latest"
#: Seconds for one answer of the engine, and for its start.
PATIENCE, START = 60, 120
PID_DIGITS = 7
SCRIPTS = Path(__file__).parent


def host() -> str | None:
    """Its address, if it answers."""
    named = os.environ.get("VELOZ_CHAOS_TEST_DOCKER") or f"unix://{_socket()}"
    if _answers(named):
        return named
    return _started() if required("docker") else None


@cache
def client() -> DockerClient:
    """Skips the test where there is no engine, or fails it where one is required."""
    import docker

    address = host()
    if address is None:
        absent("docker", "no engine for tests answers; start one by tests/infra/docker-up.sh and tests/infra/images.sh")
    made = docker.DockerClient(base_url=address, timeout=PATIENCE)
    sweep(made)
    return made


def labels() -> dict[str, str]:
    return {LABEL: str(os.getpid())}


@contextmanager
def container(image: str = BUSYBOX, command: str | list[str] | None = None, **options: Any) -> Iterator[Container]:
    """One that runs, removed with its volumes whatever happens. `options`: as the SDK's `containers.run` takes them."""
    from docker.errors import NotFound

    options["labels"] = {**options.pop("labels", {}), **labels()}
    made = client().containers.create(image, command, **options)
    try:
        made.start()
        yield made
    finally:
        with suppress(NotFound):
            made.remove(force=True, v=True)


def built(dockerfile: str, files: Mapping[str, str | bytes] | None = None) -> str:
    """The name of an image of this Dockerfile and the files beside it. It stays, and is made again when they differ."""
    context = {"Dockerfile": dockerfile, **(files or {})}
    name = f"veloz-chaos-test:{hashlib.sha256(repr(sorted(context.items())).encode()).hexdigest()[:16]}"
    if not client().images.list(name):
        client().images.build(
            fileobj=_packed(context), custom_context=True, tag=name, labels=labels(), rm=True, forcerm=True
        )
    return name


def sweep(engine: DockerClient) -> None:
    """Removes what processes left that run no more."""
    from docker.errors import APIError

    ours: dict[str, str | list[str] | bool] = {"label": LABEL}
    for one in engine.containers.list(all=True, filters=ours, ignore_removed=True):
        if _ended(one.labels[LABEL]):
            with suppress(APIError):
                one.remove(force=True, v=True)
    for network in engine.networks.list(filters=ours):
        if _ended(network.attrs["Labels"][LABEL]):
            with suppress(APIError):
                network.remove()
    for volume in engine.volumes.list(filters=ours):
        if _ended(volume.attrs["Labels"][LABEL]):
            with suppress(APIError):
                volume.remove()


def _ended(pid: str) -> bool:
    """Whatever else somebody labels with is no pid, and not ours to judge."""
    return pid.isdigit() and len(pid) <= PID_DIGITS and not Path(f"/proc/{pid}").exists()


def _socket() -> Path:
    infra = Path(os.environ.get("INFRA_DIR") or Path.home() / ".cache/veloz-chaos-infra")
    return infra / "docker/docker.sock"


def _answers(address: str) -> bool:
    import docker
    from docker.errors import DockerException

    try:
        return bool(docker.APIClient(base_url=address, timeout=30).ping())
    except (DockerException, OSError):
        return False


def _started() -> str | None:
    run = partial(subprocess.run, check=True, stdout=subprocess.PIPE, text=True)
    try:
        address = str(run([SCRIPTS / "docker-up.sh"], timeout=START).stdout).strip()
        run([SCRIPTS / "images.sh"], env={**os.environ, "DOCKER_HOST": address})
    except (OSError, subprocess.SubprocessError):
        return None  # the script said why
    return address


def _packed(files: Mapping[str, str | bytes]) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    packed.seek(0)
    return packed


if __name__ == "__main__":
    print(host() or "")
