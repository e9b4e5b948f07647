"""What the other slow tests rely on: the kernel can what ours here can't, and commands are run and told apart."""

from __future__ import annotations

import pytest

from tests.slow.machine import Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

#: The quickest of some, in seconds: the others tell how busy the machine below is.
ROUND_TRIP = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
def one():
    started = time.monotonic()
    socket.create_connection(server.getsockname()).close()
    return time.monotonic() - started
print(min(one() for _ in range(10)))
"""


def test_a_command_has_an_exit_code_an_output_and_a_limit_in_time(machine: Machine) -> None:
    done = machine.sh('cat; echo "$NAME" >&2; exit 3', stdin="one\n", env={"NAME": "two"})
    assert (done.code, done.output) == (3, "one\ntwo\n")
    assert machine.run("no-such-program").code == 127
    assert machine.run("sleep", "60", wait=1).code is None
    assert machine.sh("sleep 60 & echo gone", wait=30).output == "gone\n"


def test_control_groups_are_of_version_2_alone(machine: Machine) -> None:
    assert machine.run("stat", "-fc", "%T", "/sys/fs/cgroup").checked() == "cgroup2fs\n"
    assert {"cpu", "memory", "io", "pids"} <= set(
        machine.run("cat", "/sys/fs/cgroup/cgroup.controllers").output.split()
    )


def test_netem_delays(machine: Machine) -> None:
    machine.sh("tc qdisc add dev lo root netem delay 100ms").checked()
    delayed = float(machine.run("python3", "-c", ROUND_TRIP).checked())
    machine.sh("tc qdisc del dev lo root").checked()
    direct = float(machine.run("python3", "-c", ROUND_TRIP).checked())
    assert 0.2 <= delayed < 1
    assert direct < 0.05


def test_docker_runs_containers(machine: Machine) -> None:
    machine.docker()
    machine.docker()  # and does not start another
    assert machine.run("docker", "info", "--format", "{{.CgroupVersion}} {{.Driver}}").checked() == "2 overlay2\n"
    limited = ("--rm", "--memory", "64m", "python:3.11-slim", "cat", "/sys/fs/cgroup/memory.max")
    assert machine.run("docker", "run", *limited).checked() == f"{64 << 20}\n"
