"""Selectors, and what a container lacks, from the engine's inspection of it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tests.infra.answers import Answer, answering
from veloz_chaos.core.capability import Reference
from veloz_chaos.errors import Gone, TargetError, Unavailable
from veloz_chaos.mechanisms import helper_image
from veloz_chaos.mechanisms.helper_container import Beside
from veloz_chaos.registry import Registry
from veloz_chaos.targets import docker

LOGS = {"logs": "/var/log/veloz"}


def selector(**said: Any) -> docker.Selector:
    return TypeAdapter(docker.Selector).validate_python(said)


def inspected(mounts: list[dict[str, Any]] | None = None, **host: Any) -> dict[str, Any]:
    return {"Id": "0" * 64, "Name": "/veloz-gateway-1", "HostConfig": host, "Mounts": mounts or []}


@pytest.mark.parametrize(
    "said",
    [
        {"name": "veloz-gateway-1"},
        {"label": "app=gateway"},
        {"project": "veloz", "service": "gateway", "volumes": {"logs": {"path": "/var/log/veloz"}}},
        {"project": "veloz", "service": "gateway", "process": "veloz_engine", "context": "far"},
        {"name": "x", "host": "tcp://a:1"},
    ],
)
def test_selectors(said: dict[str, Any]) -> None:
    found = selector(**said)
    assert found.wanted.filters()
    assert (found.place.host, found.place.context) == (said.get("host"), said.get("context"))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"project": "veloz"},
        {"service": "gateway"},
        {"name": "a", "label": "b"},
        {"name": "a", "project": "veloz", "service": "gateway"},
        {"name": "a", "host": "tcp://a:1", "context": "far"},
        {"name": "a", "process": "("},
        {"name": "a", "volumes": {"logs": "/var/log"}},
        {"name": "a", "volumes": {"logs": {"path": "/var/log", "size": "1MB"}}},
        {"nmae": "a"},
    ],
)
def test_refused_selectors(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        selector(**said)


def test_a_container_with_every_limit_lacks_nothing() -> None:
    found = inspected(Memory=96 << 20, NanoCpus=600_000_000, Tmpfs={"/var/log": "size=4m"})
    assert docker.lacking(found, LOGS) == {}


@pytest.mark.parametrize("limit", [{"NanoCpus": 1}, {"CpuQuota": 60_000}, {"CpusetCpus": "0"}])
def test_any_cpu_limit_will_do(limit: dict[str, Any]) -> None:
    assert "Saturable" not in docker.lacking(inspected(**limit), {})


def test_what_is_missing_names_the_key_to_write() -> None:
    found = docker.lacking(inspected(CpuQuota=0, NanoCpus=0, CpusetCpus="", Memory=0), {})
    assert "cpus: 1.0" in found["Saturable"]
    assert "mem_limit: 256m" in found["Pressable"]
    assert found["Exhaustible"] == found["Pressable"]
    assert "volumes: {logs: {path: …}}" in found["Fillable"]
    assert all("veloz-gateway-1" in text for name, text in found.items() if name != "Fillable")


MOUNT = {"Destination": "/var/log/veloz"}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (inspected(), "root file system"),
        (inspected([{"Type": "bind", "Destination": "/var/log/velozette"}]), "root file system"),
        (inspected(Tmpfs={"/var/log/veloz": ""}), "without a size"),
        (inspected([{"Type": "tmpfs", **MOUNT}], Mounts=[{"Type": "tmpfs", "Target": "/var/log/veloz"}]), "a size"),
    ],
)
def test_volumes_that_are_never_filled(found: dict[str, Any], words: str) -> None:
    assert words in docker.lacking(found, LOGS)["Fillable"]


@pytest.mark.parametrize(
    "found",
    [
        inspected([{"Type": "volume", **MOUNT}]),
        inspected([{"Type": "volume", "Destination": "/var/log"}]),
        inspected([{"Type": "bind", **MOUNT}]),
        inspected(Tmpfs={"/var/log/veloz/": "rw,size=4m"}),
        inspected(
            [{"Type": "tmpfs", **MOUNT}],
            Mounts=[{"Type": "tmpfs", "Target": "/var/log/veloz", "TmpfsOptions": {"SizeBytes": 4 << 20}}],
        ),
    ],
)
def test_volumes_that_may_be_filled(found: dict[str, Any]) -> None:
    assert "Fillable" not in docker.lacking(found, LOGS)


def reference(**more: Any) -> Reference:
    identity = {"container": "veloz-gateway-1", "id": "ab" * 32, "started": "2026-01-01T00:00:00Z", **more}
    return Reference(backend="docker", name="gateway", identity=identity)


@pytest.mark.parametrize(
    ("there", "error"), [(["mine"], Gone), (["another"], Unavailable), (["one", "new", "each", "time"], Gone)]
)
def test_only_its_own_engine_can_say_that_it_is_gone(there: list[str], error: type[TargetError]) -> None:
    """A revert may begin where DOCKER_HOST, or the context, leads elsewhere than it led the run."""
    gone = Answer({"message": "No such container: abab"}, 404)
    answers: dict[str, Answer | list[Answer]] = {
        "/version": Answer({"ApiVersion": "1.41"}),
        "/v1.41/info": [Answer({"ID": one}) for one in there],
        f"/v1.41/containers/{'ab' * 32}/json": gone,
    }
    with answering(answers) as engine, pytest.raises(error) as told:
        docker.reopen(reference(host=engine.url, system={"docker-id": "mine"}))
    assert type(told.value) is error


@pytest.mark.parametrize(("counts", "told"), [([None, 0, 2], 2), ([0], 0), ([None], 3), ([], 3)])
def test_where_no_helper_saw_the_count_of_kills_the_engine_is_asked(
    counts: list[int | None], told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended:
        def __init__(self, count: int | None) -> None:
            self.epilogue = {"ended": "target", "oom_kills": count}

    def gone(*_: object, **__: object) -> None:
        raise Gone("it is over")

    monkeypatch.setattr(Beside, "own", lambda _: [Ended(count) for count in counts])
    monkeypatch.setattr(Beside, "call", gone)
    monkeypatch.setattr(docker.Container, "told_oom_kills", lambda _: 3)
    assert docker.Container(reference()).oom_kills() == told


def test_by_hand() -> None:
    target = docker.Container(reference(context="far"))
    assert target.by_hand("Killable", "vc-1") == target.by_hand("Exhaustible", "vc-1") == ""
    assert target.by_hand("Pausable", "vc-1") == "docker --context far unpause abababababab"
    assert target.by_hand("Saturable", "vc-1") == (
        "docker --context far kill -s TERM $(docker --context far ps -q --filter label=veloz-chaos.sign=vc-1)"
    )


def test_by_hand_for_a_process() -> None:
    target = docker.Inner(reference(process="x", pid=77, start=1, boot_id="b"))
    assert "os.kill(77, signal.SIGCONT)" in target.by_hand("Pausable", "vc-1")


def test_docker_is_no_longer_to_come() -> None:
    assert not Registry().later("targets", "docker")
    assert "docker" in Registry().backends()


def test_the_sdk_is_not_imported_with_the_target() -> None:
    code = "import sys, veloz_chaos.targets.docker; sys.exit('docker' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_image_holds_the_program_and_its_recipe() -> None:
    files = helper_image.content()
    assert {"veloz_chaos/helper/Dockerfile", "veloz_chaos/mechanisms/helper.py", "veloz_chaos/errors.py"} <= set(files)
    assert not any(path.startswith(("veloz_chaos/sandbox", "veloz_chaos/cli")) for path in files)
    assert helper_image.tag() == helper_image.tag()


def test_a_failed_build_is_told_with_its_last_words() -> None:
    lines = [{"stream": "Step 2/9"}, {"stream": "No matching distribution found"}, {"error": "returned non-zero: 1\n"}]
    assert helper_image._failure(lines) == "returned non-zero: 1; Step 2/9; No matching distribution found"
    assert helper_image._failure(lines[:2]) == ""
