"""Links of containers on a real engine: what ends with whom, and what is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from tests.conformance.pairs import prepared as told
from tests.conformance.pairs import until as effect
from tests.docker.conftest import Create
from tests.infra import containers
from tests.infra.containers import until
from veloz_chaos.errors import Gone, Missing
from veloz_chaos.faults.latency import Latency
from veloz_chaos.faults.partition import Partition
from veloz_chaos.mechanisms import helper_container
from veloz_chaos.mechanisms.contained_link import LinePing
from veloz_chaos.targets import docker_link

pytestmark = [pytest.mark.docker, pytest.mark.root]

SIGN = f"vc-link-test-{os.getpid()}"
#: Long before a fault's own expiry: seconds in which it ends once whatever held it has, on a busy machine too.
SOON = 30.0
PING = LinePing(send="PING\n", answer="PONG")
FAULTS: tuple[tuple[Any, dict[str, Any]], ...] = (
    (Latency(delay=timedelta(milliseconds=300)), {"delay": "300ms"}),
    (Partition(), {}),
)
each = pytest.mark.parametrize(("fault", "arguments"), FAULTS, ids=["latency", "partition"])

#: Injects in a process of its own.
RUNNER = """
import json, sys
from veloz_chaos.core.capability import Reference
from veloz_chaos.registry import Registry
reference, name, arguments, receipt = json.loads(sys.argv[1])
fault = Registry().fault(name).__pydantic_validator__.validate_python(arguments)
fault.inject(Registry().backend("docker-link").reopen(Reference(**reference)), receipt)
print("injected", flush=True)
sys.stdin.read()
"""


def link(container: str, to: str = f"{containers.FAR}:7000") -> docker_link.ContainerLink:
    name = containers.engine().inspect_container(container)["Name"].lstrip("/")
    found = docker_link.find("link", docker_link.Selector(name=name, to=to, ping=PING))[0]
    assert isinstance(found, docker_link.ContainerLink)
    return found


def near(create: Create) -> str:
    return create(network_mode=containers.network())


def answered(target: docker_link.ContainerLink) -> bool:
    passage = target.pass_through(1, timedelta(seconds=0.3))
    return passage.outcome == "answered" and passage.seconds < 0.25


def helpers(container: str) -> list[str]:
    found = helper_container.find(containers.engine(), SIGN, container)
    return [one["Id"] for one in found]


@contextmanager
def injected(fault: Any, arguments: dict[str, Any], target: Any, receipt: Any) -> Iterator[subprocess.Popen[bytes]]:
    """By another process, which still lives."""
    text = json.dumps([target.reference.model_dump(), type(fault).__name__.lower(), arguments, receipt])
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, text], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as runner:
        assert runner.stdout
        assert runner.stdout.readline() == b"injected\n"
        try:
            yield runner
        finally:
            runner.kill()


def prepared(fault: Any, target: Any, **more: Any) -> dict[str, Any]:
    receipt = {**told(fault, target, SIGN), **more}
    target.beside.end(SIGN)  # ours; the runner shall start its own
    return receipt


@each
def test_the_runner_is_killed_and_nothing_is_left(fault: Any, arguments: dict[str, Any], create: Create) -> None:
    container = near(create)
    target = link(container)
    receipt = prepared(fault, target)
    with injected(fault, arguments, target, receipt) as runner:
        effect(fault, link(container), receipt, shown=True)
        runner.kill()
        runner.wait()
        until(lambda: answered(link(container)), SOON)
    until(lambda: not helpers(container), SOON)
    assert link(container).leftovers() == []


@each
def test_the_helper_is_killed_and_packets_pass(fault: Any, arguments: dict[str, Any], create: Create) -> None:
    container = near(create)
    target = link(container)
    receipt = prepared(fault, target)
    with injected(fault, arguments, target, receipt):
        effect(fault, link(container), receipt, shown=True)
        for one in helpers(container):
            helper_container.remove(containers.engine(), one)
        until(lambda: answered(link(container)), SOON)
        assert any("are left in its network namespace" in words for words in link(container).leftovers())
        fault.revert(link(container), receipt)
    assert link(container).leftovers() == []


def test_a_runner_that_hangs_outlasts_no_fault(create: Create) -> None:
    """Stopped, it holds the helper's stdin open: only the fault's own expiry is left to end it."""
    container = near(create)
    fault, target = Partition(), link(container)
    receipt = prepared(fault, target, expires=10.0)
    with injected(fault, {}, target, receipt) as runner:
        effect(fault, link(container), receipt, shown=True)
        runner.send_signal(signal.SIGSTOP)
        until(lambda: answered(link(container)), 10.0 + SOON)
    until(lambda: not helpers(container), SOON)


def test_a_restart_under_a_fault_ends_it_and_is_told(create: Create) -> None:
    container = near(create)
    fault, target = Partition(), link(container)
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    containers.engine().restart(container, timeout=0)
    with pytest.raises(Gone, match="restarted at"):
        fault.in_place(target, receipt)
    fault.revert(target, receipt)
    until(lambda: answered(link(container)))
    assert helpers(container) == []


def test_another_container_of_the_network_is_spared(create: Create) -> None:
    hurt, other = link(near(create)), link(near(create))
    hurt.sever(SIGN, "silent", "all", timedelta(seconds=60))
    until(lambda: answered(other))
    assert not answered(hurt)
    hurt.mend(SIGN)
    until(lambda: answered(hurt))


def test_a_name_that_the_container_does_not_know(create: Create) -> None:
    target = link(near(create), "nowhere.rig.test:7000")
    with pytest.raises(Missing, match=r"does not know nowhere\.rig\.test"):
        target.pass_through(1, timedelta(seconds=1))


def test_the_mechanism_is_named(create: Create) -> None:
    offers = {offer.capability: offer.mechanism for offer in link(near(create)).offered()}
    assert offers["Delayable"].split()[0] in ("NFQUEUE", "netem")
    assert "where the kernel has it" not in offers["Delayable"]
