"""Fixtures that several rooms of tests share. What starts processes stops them, by pid."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

#: How long an example takes is a matter of the machine.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

ROOT = str(Path(__file__).parent.parent)
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)  # so that tests may import tests.infra, however pytest was started

from tests.infra import cluster  # noqa: E402
from tests.infra import docker as docker_engine  # noqa: E402
from tests.infra import postgres as postgres_server  # noqa: E402
from tests.infra import toxiproxy as toxiproxy_server  # noqa: E402
from tests.infra.require import absent  # noqa: E402

if TYPE_CHECKING:
    from docker import DockerClient


@pytest.fixture(scope="session")
def toxiproxy() -> Iterator[toxiproxy_server.Server]:
    """The real server."""
    path = toxiproxy_server.program()
    if path is None:
        absent("toxiproxy", "no toxiproxy-server found; build it by tests/infra/toxiproxy.sh")
    server = toxiproxy_server.Server(path)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Server]:
    """The real server."""
    place = postgres_server.programs()
    if place is None:
        absent("postgres", "no initdb and postgres that can be run here; apt-get install postgresql")
    server = postgres_server.Server(place)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def docker() -> DockerClient:
    """A client of the engine that tests may use."""
    return docker_engine.client()


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[str]:
    """The path of that of the cluster that tests may use, for the product as well: it is in KUBECONFIG."""
    found = cluster.require()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", found)
        yield found


@pytest.fixture
def namespace(kubeconfig: str) -> Iterator[cluster.Namespace]:  # noqa: ARG001
    """A namespace of the test's own in that cluster."""
    with cluster.namespace() as made:
        yield made
