"""environments/veloz-compose.yaml: every experiment is bound there, and planned beside containers that only exist.

The containers carry the labels that VeloZ's own Compose file would give them, and the limits that the environment asks
its users for; none of them is VeloZ.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.infra.require import absent
from tests.unit.test_cli_app import call

ROOT = Path(__file__).parents[2]
FILE = ROOT / "environments" / "veloz-compose.yaml"
EXPERIMENTS = sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml") if path.stem != "response-matrix")
#: Answers from somebody else than the exchange, for which the user starts `veloz-chaos proxy`.
NEEDS_PROXY = "exchange-rate-limit"
#: The engine is a child of the gateway's first process, as in VeloZ.
GATEWAY = ["sh", "-c", "sh -c 'while sleep 60; do :; done' $ENGINE & wait"]
SERVICES = ("gateway", "postgres", "redis", "vault")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_bound(name: str) -> None:
    answer = call("validate", name, "-e", str(FILE))
    assert (answer.returncode, answer.stdout) == (0, "1 file checked, nothing wrong\n")


def test_every_override_says_so_and_every_shared_probe_is_there() -> None:
    shared = set(yaml.safe_load((ROOT / "environments" / "veloz-probes.yaml").read_text())["probes"])
    own = yaml.safe_load(FILE.read_text())["probes"]
    assert {name for name, probe in own.items() if probe.get("replace")} == shared & set(own)


def environment(folder: Path, **values: str) -> Path:
    """The shipped one, with other values."""
    path = folder / "mine.yaml"
    mine = {"kind": "Environment", "version": 1, "name": "mine", "tier": "development", "uses": [str(FILE)]}
    path.write_text(yaml.safe_dump({**mine, "values": values}))
    return path


@pytest.mark.docker
def test_where_nothing_runs_it_says_what_is_looked_for(tmp_path: Path, engine: None) -> None:  # noqa: ARG001
    nowhere = environment(tmp_path, project="vct-nowhere", faults="127.0.0.1:1")
    for name in EXPERIMENTS:
        answer = call("plan", name, "-e", str(nowhere))
        assert answer.returncode == 4, answer.stdout + answer.stderr
        told = " ".join((answer.stdout + answer.stderr).split())
        assert "no container is gateway of the project vct-nowhere" in told
        assert "start it, or correct the environment" in told


@pytest.mark.docker
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_planned_beside_such_containers(name: str, project: str, tmp_path: Path) -> None:
    there = environment(tmp_path, project=project, faults="127.0.0.1:1", exchange="vault:8200")
    answer = call("plan", name, "-e", str(there))
    told = " ".join((answer.stdout + answer.stderr).split())
    if name == NEEDS_PROXY:
        assert answer.returncode == 4
        assert "127.0.0.1:1" in told
        return
    assert answer.returncode == 0, told
    assert all(label in answer.stdout for label in ("target", "mechanism", "touches", "undo"))
    assert ("stands in for silent partition" in told) == (name == "network-partition")


@pytest.fixture(scope="module")
def engine() -> None:
    """A Docker Engine answers."""
    from veloz_chaos.errors import TargetError
    from veloz_chaos.mechanisms import docker_api

    try:
        docker_api.client()
    except TargetError as error:
        absent("docker", str(error))


@pytest.fixture(scope="module")
def project(engine: None) -> Iterator[str]:  # noqa: ARG001
    """Its containers are gone afterwards, and nothing else is touched."""
    from veloz_chaos.mechanisms import docker_api

    api, name = docker_api.client(), f"vct-veloz-{os.getpid()}"
    network = api.create_network(name, labels={"veloz-chaos.test": name})["Id"]
    made = []
    try:
        for service in SERVICES:
            made.append(_stand_in(name, service))
            api.start(made[-1])
        yield name
    finally:
        for container in made:
            api.remove_container(container, force=True)
        api.remove_network(network)


def _stand_in(project: str, service: str) -> str:
    """The container's id."""
    from veloz_chaos.mechanisms import docker_api

    api = docker_api.client()
    host = api.create_host_config(
        mem_limit="128m", nano_cpus=500_000_000, tmpfs={"/var/log/veloz": "size=8m"}, network_mode=project
    )
    networking = api.create_networking_config({project: api.create_endpoint_config(aliases=[service])})
    made = api.create_container(
        "python:3.11-slim",
        GATEWAY if service == "gateway" else ["python3", "-m", "http.server", "8200"],
        environment={"ENGINE": "veloz_engine --stdio"},
        labels={
            docker_api.PROJECT: project,
            docker_api.SERVICE: service,
            docker_api.ONE_OFF: "False",
            "veloz-chaos.test": project,
        },
        host_config=host,
        networking_config=networking,
    )
    return str(made["Id"])
