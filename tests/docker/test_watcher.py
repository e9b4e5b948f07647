"""The sandbox's watcher, against containers of a real engine that die."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from tests.docker.engine import HUNGRY, Lab, docker
from tests.kubernetes.pods import until
from veloz_chaos.sandbox import watcher
from veloz_chaos.sandbox.deaths import Deaths
from veloz_chaos.sandbox.service_metrics import Told

pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2]
IDLE = "import time; time.sleep(600)"
BUSY = "while True: pass"
#: Two that want more than they may have, and how many times as much, as their group tells it from within.
WITHIN = """
import os, time
from veloz_chaos.sandbox import cgroup
group = cgroup.around()
for _ in range(2):
    if os.fork() == 0:
        while True: pass
for _ in range(15):  # where others leave no CPU to be had, nobody is held back by a limit
    before, began = group.demand(), time.monotonic()
    time.sleep(3)
    after = group.demand()
    wanted = (after.seconds - before.seconds) / (time.monotonic() - began) / after.limit
    print(wanted)
    if wanted > 1.5:
        break
"""


def followed(project: str) -> Callable[[str], Told]:
    """What is told of a service of that project, by a watcher that has looked at least once."""
    deaths = Deaths()
    platform = watcher.Docker(os.environ["DOCKER_HOST"].removeprefix("unix://"), project)
    Thread(target=watcher.follow, args=(platform, deaths), daemon=True).start()

    def told(service: str) -> Told:
        return {one.name: one for one in deaths.told}[service]

    until(lambda: deaths.told)
    return told


def labels(project: str, service: str) -> list[str]:
    prefix = "com.docker.compose"
    return ["--label", f"{prefix}.project={project}", "--label", f"{prefix}.service={service}"]


def test_a_death_is_told_and_over_when_it_is_started_again(lab: Lab) -> None:
    project = lab.name()
    name = lab.run(IDLE, *labels(project, "engine"))
    told = followed(project)
    assert told("engine") == Told("engine", True, 0, "", {})
    lab.kill(name)
    until(lambda: told("engine") == Told("engine", False, 0, "killed", {"killed": 1}))
    docker("start", name)
    until(lambda: told("engine") == Told("engine", True, 1, "", {"killed": 1}))


def test_one_that_is_restarted_at_once_and_one_that_took_too_much_memory(lab: Lab) -> None:
    project = lab.name()
    name = lab.run(IDLE, "--restart", "always", *labels(project, "engine"))
    hungry = lab.run(HUNGRY, "--memory", "40m", "--restart", "on-failure:1", *labels(project, "gateway"))
    told = followed(project)
    lab.kill(name)
    until(lambda: told("engine") == Told("engine", True, 1, "", {"killed": 1}))
    for times in (1, 2):
        until(lambda times=times: docker("logs", hungry).count("ready") == times)  # type: ignore[misc]
        lab.kill(hungry, 10)
        lab.await_oom(hungry)
        lab.kill(hungry)
        until(lambda times=times: told("gateway").deaths == {"oom-killed": times})  # type: ignore[misc]
    assert told("gateway").gone == "oom-killed"


def test_the_cpu_that_is_wanted_is_that_of_all_who_share_the_limit(lab: Lab) -> None:
    project = lab.name()
    name = lab.run(BUSY, "--cpus", "0.5", *labels(project, "gateway"))
    platform = watcher.Docker(os.environ["DOCKER_HOST"].removeprefix("unix://"), project)
    assert platform.more() == ""
    platform.look()
    assert 'veloz_cpu_limit_cpus{service="gateway"} 0.5' in platform.more()
    container = lab.inspect(name)
    assert set(watcher.members(container["Id"])) == {container["State"]["Pid"]}
    until(lambda: 'veloz_cpu_wanted_seconds_total{service="gateway"} 0.0\n' not in platform.more())
    assert list(watcher.members("0" * 64)) == []
    assert Path(f"/proc/{container['State']['Pid']}").exists()


def test_from_within_is_seen_what_the_group_ran_and_was_held_back_from(lab: Lab) -> None:
    source = ("-v", f"{ROOT}:/src:ro", "-e", "PYTHONPATH=/src")
    name = lab.run(WITHIN, "--cpus", "0.05", *source)  # so little is to be had on a busy machine, too
    until(lambda: not lab.inspect(name)["State"]["Running"], 120)
    assert float(docker("logs", name).split()[-1]) > 1.5
