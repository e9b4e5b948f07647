"""The laws of faults on real pods, containers and links: look first, hurt, be seen, be undone by anybody, leave none.

Pods take seconds to start, so one set of them serves all, and each fault goes through its whole life once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.pairs import SIGN, known, prepared
from tests.kubernetes.life import FOUND, TO, every, gone, live
from tests.kubernetes.pods import Pods, first_process, pods, processes
from tests.kubernetes.pods import until as eventually
from veloz_chaos.core.fault import Fault
from veloz_chaos.core.survey import Wanted
from veloz_chaos.engine.survey import survey
from veloz_chaos.errors import Missing
from veloz_chaos.mechanisms import proc
from veloz_chaos.registry import Registry
from veloz_chaos.targets import kubernetes_link

pytestmark = [pytest.mark.kubernetes, pytest.mark.root, pytest.mark.xdist_group("pods"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Pods]:
    with pods() as made:
        yield made


#: The pod and the process go through what is their own; all else is the container's, or the link's.
FOR = {
    "pod": {"kill", "pause"},
    "container": {"kill", "pause", "cpu", "memory", "out_of_memory", "disk"},
    "process": {"kill", "pause", "cpu"},
    "link": {"latency", "bandwidth", "reset", "partition", "loss"},
    "inbound": {"latency", "partition"},
    "names": {"dns"},
}


@pytest.mark.parametrize(("kind", "fault"), list(every(FOR)))
def test_the_life_of_a_fault(kind: str, fault: Fault[Any], lab: Pods) -> None:
    live(kind, fault, lab)


def test_a_container_that_was_started_again_is_another_one(lab: Pods) -> None:
    lab.settle()
    target, before = lab.selected(container="app"), lab.pod()
    fault = known()["kill"]()
    fault.inject(target, fault.prepare(target, SIGN))
    eventually(lambda: gone(target))
    lab.settle()
    again = lab.selected(container="app")
    assert lab.pod()["metadata"]["uid"] == before["metadata"]["uid"]
    assert again.reference != target.reference
    assert again.reference.identity["restarts"] > target.reference.identity["restarts"]
    target.disarm(SIGN)


@pytest.mark.parametrize("again", [True, False])
def test_what_a_killed_helper_left_on_a_link_is_taken_out_though_the_container_ended(again: bool, lab: Pods) -> None:
    """It was started again; or waits for that."""
    lab.space.kubectl("delete", "pod", "-l", "app=app")  # what was started again often waits for its next start
    lab.settle()
    target, fault, sign = FOUND["names"](lab), known()["dns"](answer="nxdomain"), f"{SIGN}-left-{again}"  # type: ignore[call-arg]
    receipt = prepared(fault, target, sign)
    fault.inject(target, receipt)
    (pid,) = proc.matching(rf"helper {sign} --container")
    os.kill(pid, signal.SIGKILL)
    os.kill(first_process(lab.pod()), signal.SIGKILL)
    eventually(lambda: restarts(lab) > 0)
    lab.settle()
    if not again:  # the second time it waits for 10 s, the third time for 20
        os.kill(first_process(lab.pod()), signal.SIGKILL)
        eventually(lambda: restarts(lab) > 1)
        lab.settle()
        os.kill(first_process(lab.pod()), signal.SIGKILL)
        eventually(lambda: not processes(lab.pod()))
    assert lab.rules()
    fault.revert(kubernetes_link.reopen(target.reference), receipt)
    assert processes(lab.pod()) if again else not processes(lab.pod())
    assert lab.rules() == []
    target.disarm(sign)
    lab.settle()
    assert FOUND["names"](lab).leftovers() == []


def restarts(lab: Pods) -> int:
    return int(lab.pod()["status"]["containerStatuses"][0]["restartCount"])


ANOTHER = """
import json, sys
from veloz_chaos.targets import kubernetes
(target,) = kubernetes.find("service", kubernetes.Selector(**json.loads(sys.argv[1])))
target.arm(sys.argv[2])
print("armed", flush=True)
sys.stdin.read()
"""


def test_a_survey_tells_of_a_helper_that_another_process_has_started(lab: Pods) -> None:
    lab.settle()
    sign, wanted = f"{SIGN}-another", {**lab.common, "selector": {"app": "app"}, "container": "app"}

    def left() -> tuple[str, ...]:
        (found,) = survey([Wanted("app", "service", "kubernetes", wanted)], Registry()).found["app"]
        return found.leftovers

    assert left() == ()
    command = [sys.executable, "-c", ANOTHER, json.dumps(wanted), sign]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "armed\n"
        assert [f"of {sign} is still beside it" in one for one in left()] == [True]
        other.communicate("")
    eventually(lambda: left() == ())


def test_who_is_not_there_is_told_with_what_is(lab: Pods) -> None:
    with pytest.raises(Missing, match=r"app=app"):
        lab.selected("nobody")
    with pytest.raises(Missing, match=r"no process has a command line like /absent/.*there run"):
        lab.selected("nested", process="absent")


def test_without_a_namespace_for_helpers_only_pods_can_be_killed(lab: Pods) -> None:
    lab.common["helpers"], kept = None, lab.common["helpers"]
    try:
        pod, container = lab.selected(), lab.selected(container="app")
        assert [offer.capability for offer in pod.offered()] == ["Killable"]
        assert container.offered() == []
        assert "write helpers:" in container.lacks["Killable"]
        assert "write helpers:" in lab.link(to=TO).lacks["Severable"]
    finally:
        lab.common["helpers"] = kept
