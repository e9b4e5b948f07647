"""The engine that the other tests rely on: real containers, and a restart policy that knows a kill from a stop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.infra.docker import built, container

if TYPE_CHECKING:
    from docker.models.containers import Container

pytestmark = pytest.mark.docker

#: Seconds in which the engine acts, and in which it would have.
ACTS, WOULD_HAVE = 60.0, 2.0
SLEEP = ["sleep", "600"]
ALWAYS = {"Name": "always"}


def test_a_container_runs() -> None:
    with container(command=["sh", "-c", "echo up; exec sleep 600"]) as one:
        until(lambda: one.logs() == b"up\n")
        until(lambda: one.exec_run(["cat", "/proc/1/cmdline"]).output == b"sleep\x00600\x00")


def test_an_image_of_a_dockerfile_has_the_files_beside_it() -> None:
    with container(built("FROM busybox\nCOPY told /told\n", {"told": "so"}), SLEEP) as one:
        assert one.exec_run(["cat", "/told"]).output == b"so"


def test_a_kill_of_the_process_lets_the_restart_policy_act() -> None:
    with container(command=SLEEP, restart_policy=ALWAYS) as one:
        os.kill(pid(one), signal.SIGKILL)
        until(lambda: restarts(one) == 1 and one.status == "running")


def test_a_kill_by_the_engine_counts_as_a_stop() -> None:
    with container(command=SLEEP, restart_policy=ALWAYS) as one:
        one.kill()
        until(lambda: restarts(one) == 0 and one.status == "exited")
        time.sleep(WOULD_HAVE)
        assert (restarts(one), one.status) == (0, "exited")


def pid(one: Container) -> int:
    """On the engine's host, which is this one."""
    one.reload()
    return int(one.attrs["State"]["Pid"])


def restarts(one: Container) -> int:
    one.reload()
    return int(one.attrs["RestartCount"])


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ACTS
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
