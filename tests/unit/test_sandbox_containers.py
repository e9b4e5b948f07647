"""What a container of the sandbox reads from its environment, and what is said when Docker refuses."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import container, control, docker, monitoring_files
from veloz_chaos.sandbox.settings import LOOPBACK, Settings, from_json, to_json

FILES = Path(__file__).parent.parent.parent / "environments" / "compose"


def test_a_container_knows_where_the_others_are() -> None:
    made = container.settings({"VELOZ_ENGINE": "engine:7", "VELOZ_DNS": "faults:53", "VELOZ_FLAWS": "health-lies"})
    assert (made.host("engine-link"), made.ports["engine-link"]) == ("engine", 7)
    assert (made.host("dns-link"), made.ports["dns-link"]) == ("faults", 53)
    assert (made.host("vault-link"), made.listen, made.contained) == (LOOPBACK, "0.0.0.0", True)
    assert made.has("health-lies")


@pytest.mark.parametrize("text", ["engine", "engine:", ":18082", "engine:http"])
def test_a_place_is_a_host_and_a_port(text: str) -> None:
    with pytest.raises(UsageError, match=r"VELOZ_ENGINE=.*write host:port"):
        container.settings({"VELOZ_ENGINE": text})


def test_an_unknown_flaw_or_service_is_told() -> None:
    with pytest.raises(UsageError, match="did you mean 'health-lies'"):
        container.settings({"VELOZ_FLAWS": "helth-lies"})
    with pytest.raises(UsageError, match="no service 'links'"):
        container.main("links", {})


def test_processes_of_one_machine_stay_on_loopback(tmp_path: Path) -> None:
    made = Settings(tmp_path, {"gateway": 1})
    again = from_json(tmp_path, to_json(made))
    assert again == made
    assert (again.host("gateway"), again.listen, again.contained) == (LOOPBACK, LOOPBACK, False)


def test_a_late_engine_is_late_only_when_it_starts_again(tmp_path: Path) -> None:
    async def served(_: Settings, __: asyncio.Event) -> None:
        return

    (tmp_path / "engine").mkdir()
    late = replace(Settings(tmp_path, {}), flaws=("engine-slow-restart",))
    assert container.flawed_engine(late, served) is served
    again = container.flawed_engine(late, served)
    assert again is not served

    async def stopped_at_once() -> float:
        stop = asyncio.Event()
        stop.set()
        began = time.monotonic()
        await again(late, stop)
        return time.monotonic() - began

    assert asyncio.run(stopped_at_once()) < container.LATE / 2


SAID = [
    ("Got permission denied while trying to connect to the Docker daemon socket", "add yourself to the group docker"),
    ("Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?", "start it"),
    ("Bind for 127.0.0.1:28080 failed: port is already allocated", "port 28080 is in use"),
    ("listen tcp4 127.0.0.1:28081: bind: address already in use", "port 28081 is in use"),
    ("Get https://registry-1.docker.io/v2/: no such host", "pull python:3.11-slim"),
]


@pytest.mark.parametrize(("said", "remedy"), SAID)
def test_what_docker_refuses_comes_with_what_to_do(said: str, remedy: str) -> None:
    assert remedy in docker.explained(["docker", "compose", "up"], f"Creating …\n{said}\n")


def test_the_last_words_of_a_failed_build_are_passed_on() -> None:
    said = "Step 1/9 : FROM x\n ---> 12ab\nERROR: no matching distribution\nService 'gateway' failed to build\n"
    told = docker.explained(["docker-compose", "build"], said)
    assert told == "`docker-compose build` failed: ERROR: no matching distribution | Service 'gateway' failed to build"


def test_images_are_named_after_what_they_are_built_from(tmp_path: Path) -> None:
    with docker.context(FILES) as one, docker.context(FILES) as other:
        assert docker.digest(one) == docker.digest(other)
        assert {path.name for path in one.iterdir()} == {"veloz_chaos", "environments", "pyproject.toml"}
        assert not list(one.rglob("__pycache__"))
        (other / "veloz_chaos" / "new.py").touch()
        assert docker.digest(one) != docker.digest(other)
    assert list(tmp_path.iterdir()) == []


def test_rules_and_routes_are_in_the_images() -> None:
    with docker.context(FILES) as made:
        found = {path.name for path in (made / "environments" / "monitoring").iterdir()}
    assert found == set(monitoring_files.NAMES)
    assert docker.image(FILES, monitored=True).replace("monitoring", "database") == docker.image(FILES)


def test_alerts_are_read_where_they_are_published() -> None:
    over = yaml.safe_load((FILES / docker.MONITORED).read_text())["services"]
    written = yaml.safe_load((FILES.parent / "compose-monitored.yaml").read_text())["alerts"]
    for name, port in docker.ALERTS.items():
        (published,) = over[name]["ports"]
        assert published.startswith(f"127.0.0.1:{port}:")
        assert written[name] == f"http://127.0.0.1:{port}"
    assert "ports" not in over["watcher"]


def test_nobody_sees_an_engine_that_is_a_child() -> None:
    with pytest.raises(UsageError, match="leave --variant or --monitoring out"):
        docker.up(FILES, variant="child", monitored=True)


def test_the_socket_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELOZ_DOCKER_SOCKET", "/mine.sock")
    assert docker.socket() == "/mine.sock"


@pytest.mark.parametrize(
    ("place", "system", "found"),
    [
        ("unix:///run/user/1000/docker.sock", "Debian GNU/Linux 12", "/run/user/1000/docker.sock"),
        ("unix:///Users/me/.docker/run/docker.sock", "Docker Desktop", docker.SOCKET),
        ("tcp://10.0.0.9:2376", "Debian GNU/Linux 12", docker.SOCKET),
    ],
)
def test_the_socket_is_where_the_daemon_finds_it(
    place: str, system: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VELOZ_DOCKER_SOCKET", raising=False)
    (tmp_path / "docker").write_text(f"#!/bin/sh\ncase $1 in context) echo {place};; info) echo '{system}';; esac\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert docker.socket() == found


def test_the_way_in_is_the_same_for_processes_and_containers() -> None:
    assert not control.trades(1)
    assert control.seed(1) == "the sandbox refused its first order: None"
