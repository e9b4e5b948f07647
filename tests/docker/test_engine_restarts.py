"""The daemon itself stops, or is killed, and starts again while a fault is in place."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.conformance.pairs import until as effect
from tests.infra import containers
from tests.infra.containers import until
from tests.infra.engine import Engine
from veloz_chaos.errors import Gone, TargetError, Unavailable
from veloz_chaos.faults.cpu import Cpu
from veloz_chaos.mechanisms import docker_api, helper_container, helper_image
from veloz_chaos.mechanisms.docker_api import Place
from veloz_chaos.targets import docker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

SIGN = f"vc-restart-{os.getpid()}"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    containers.engine()
    folder = Path(tempfile.mkdtemp(prefix="vce-", dir="/tmp"))
    own = Engine(folder)
    try:
        own.start()
        own.load([containers.IMAGE, helper_image.ensure(Place())])
        yield own
    finally:
        own.close()


def strained() -> list[str]:
    """Of this machine, on which this engine runs."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            found += [line] if ".strain " in line and SIGN in line else []
    return found


@pytest.mark.parametrize("name", ["TERM", "KILL"])
def test_the_daemon_restarts_under_a_fault(name: str, engine: Engine) -> None:
    place = Place(host=engine.host)
    api = docker_api.client(place)
    host = api.create_host_config(nano_cpus=600_000_000, network_mode="none", restart_policy={"Name": "always"})
    command = ["python3", "-c", "import time; print('ready', flush=True); time.sleep(600)"]
    container = api.create_container(containers.IMAGE, command, name=f"vc-{name.lower()}", host_config=host)["Id"]
    api.start(container)
    target = find(name=f"vc-{name.lower()}", host=engine.host)
    fault = Cpu()
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    effect(fault, target, receipt, shown=True)
    engine.stop(name)
    if name == "TERM":  # of a daemon that is killed its helpers learn when it is back, or at their expiry
        until(lambda: not strained())
    with pytest.raises(TargetError):
        fault.in_place(target, receipt)
    with pytest.raises(Unavailable, match="no Docker Engine answers"):
        fault.revert(target, receipt)
    engine.start()
    reverted(fault, target, receipt)
    until(lambda: not target.alive())
    with pytest.raises(Gone, match=r"restarted at|ended at"):
        docker.reopen(target.reference)
    assert helper_container.find(api, SIGN) == []
    assert strained() == []


def find(**said: Any) -> Any:
    return docker.find("it", TypeAdapter(docker.Selector).validate_python(said))[0]


def reverted(fault: Cpu, target: Any, receipt: dict[str, Any]) -> None:
    """As a run reverts: again, as long as the engine is not back."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return fault.revert(target, receipt)
        except Unavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)
