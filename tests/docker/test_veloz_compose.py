"""Every experiment is planned on environments/veloz-compose.yaml, beside containers that only exist.

They carry the labels that VeloZ's own Compose file would give them, and the limits that the environment asks its users
for; none of them is VeloZ.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.infra import docker as docker_engine
from tests.infra.containers import running, until
from veloz_chaos.core.plan import Plan
from veloz_chaos.engine.conduct import Request, planned
from veloz_chaos.errors import Refused
from veloz_chaos.mechanisms import docker_api, helper_container
from veloz_chaos.mechanisms.docker_api import ONE_OFF, PROJECT, SERVICE
from veloz_chaos.registry import Registry
from veloz_chaos.reports.planned import describe

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

ROOT = Path(__file__).parents[2]
FILE = ROOT / "environments" / "veloz-compose.yaml"
EXPERIMENTS = sorted(
    path.stem for path in (ROOT / "experiments").glob("*.yaml") if path.stem not in ("response-matrix", "full-dr-test")
)
#: Answers from somebody else than the exchange, for which the user starts `veloz-chaos proxy`.
NEEDS_PROXY = "exchange-rate-limit"
#: The engine is a child of the gateway's first process, as in VeloZ.
GATEWAY = ["sh", "-c", "sh -c 'while sleep 60; do :; done' $ENGINE & wait"]
#: It is heard there, in the container.
CALL = "import socket; socket.create_connection(('127.0.0.1', 8200), 5)"
SERVICES = ("gateway", "postgres", "redis", "vault")

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("engine")]


def test_where_nothing_runs_it_says_what_is_looked_for(tmp_path: Path) -> None:
    nowhere = environment(tmp_path, project="vct-nowhere")
    for name in EXPERIMENTS:
        with pytest.raises(Refused) as refused:
            plan(name, nowhere)
        assert "no container is gateway of the project vct-nowhere" in str(refused.value)
        assert "start it, or correct the environment" in str(refused.value)


def test_a_fault_that_needs_our_proxy_says_so(project: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"127.0.0.1:1 does not answer.*is `veloz-chaos proxy` running there"):
        plan(NEEDS_PROXY, environment(tmp_path, project=project, exchange="vault:8200"))


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != NEEDS_PROXY])
def test_every_other_experiment_is_planned(name: str, project: str, tmp_path: Path) -> None:
    made = plan(name, environment(tmp_path, project=project, exchange="vault:8200"))
    lines = describe(made)
    assert [line for line in lines if len(line) > 80] == []
    told = {line.split()[0] for line in lines if line.startswith("  ") and line.strip()}
    assert {"target", "mechanism", "touches", "held", "undo"} <= told
    assert [fault.models for fault in made.faults] == ["silent partition" if name == "network-partition" else ""]


def environment(folder: Path, **values: str) -> Path:
    """The shipped one, with other values; nobody serves a fault proxy's API."""
    path = folder / "mine.yaml"
    mine: dict[str, Any] = {"kind": "Environment", "version": 1, "name": "mine", "tier": "development"}
    path.write_text(yaml.safe_dump({**mine, "uses": [str(FILE)], "values": {"faults": "127.0.0.1:1", **values}}))
    return path


def plan(name: str, where: Path) -> Plan:
    return planned(Request(ROOT / "experiments" / f"{name}.yaml", where), Registry())


@pytest.fixture(scope="module")
def engine(docker: DockerClient) -> Iterator[None]:  # noqa: ARG001
    """What is planned here reaches the engine for tests, and no other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", docker_engine.host() or "")
        docker_api.client.cache_clear()
        yield
    docker_api.client.cache_clear()


@pytest.fixture(scope="module")
def project(docker: DockerClient, engine: None) -> Iterator[str]:  # noqa: ARG001
    """Its containers are gone afterwards, with the helpers beside them, and nothing else is touched."""
    name = f"vct-veloz-{os.getpid()}"
    network = docker.networks.create(name, labels=docker_engine.labels())
    made: list[Container] = []
    try:
        for service in SERVICES:
            made.append(_stand_in(docker, name, service))
        until(lambda: any(line.endswith("veloz_engine --stdio") for line in running(str(made[0].id))))
        for container in made[1:]:
            until(lambda container=container: container.exec_run(["python3", "-c", CALL]).exit_code == 0)  # type: ignore[misc]
        yield name
    finally:
        for container in made:
            for helper in helper_container.find(docker_api.client(), target=str(container.id)):
                helper_container.end_one(docker_api.client(), helper["Id"])
            container.remove(force=True)
        network.remove()


def _stand_in(docker: DockerClient, project: str, service: str) -> Container:
    """One that runs, with a name in its network."""
    made = docker.containers.create(
        "python:3.11-slim",
        GATEWAY if service == "gateway" else ["python3", "-m", "http.server", "8200"],
        environment={"ENGINE": "veloz_engine --stdio"},
        labels={PROJECT: project, SERVICE: service, ONE_OFF: "False", **docker_engine.labels()},
        mem_limit="128m",
        nano_cpus=500_000_000,
        tmpfs={"/var/log/veloz": "size=8m"},
        network_mode="none",
    )
    docker.networks.get("none").disconnect(made)
    docker.networks.get(project).connect(made, aliases=[service])
    made.start()
    return made
