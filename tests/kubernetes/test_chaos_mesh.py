"""Chaos Mesh as a target: the real API server, CRDs of the published form, and a stand-in for its controllers.

None of this has met the real controllers; what they do to a pod is not tested here.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.conformance.pairs import prepared
from tests.infra import cluster
from tests.kubernetes import lab as labs
from tests.kubernetes import mesh as stand_in
from tests.kubernetes.lab import Lab, kubeconfig, until
from tests.kubernetes.mesh import Controller
from veloz_chaos.core import event as ev
from veloz_chaos.engine import hand
from veloz_chaos.errors import Gone, TargetError, Unavailable
from veloz_chaos.faults.kill import Kill
from veloz_chaos.faults.memory import Memory
from veloz_chaos.faults.partition import Partition
from veloz_chaos.mechanisms import kube_pods, mesh_api, meshed
from veloz_chaos.mechanisms.mesh_objects import KINDS, NETWORK, POD
from veloz_chaos.targets import chaos_mesh

#: Its definitions are the whole cluster's, and so these tests go one after the other.
pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600), pytest.mark.xdist_group("mesh")]
SIGN = "vc-mesh-1"
LONG = timedelta(minutes=5)


@pytest.fixture(scope="module")
def crds() -> Iterator[None]:
    with stand_in.installed(labs.api()):
        yield


@pytest.fixture
def controller(crds: None, lab: Lab) -> Iterator[Controller]:  # noqa: ARG001
    with stand_in.controlled(lab.api, lab.name) as made:
        yield made


@pytest.fixture
def running(lab: Lab) -> Lab:
    lab.deployment()
    lab.ready(1)
    return lab


def targets(lab: Lab, **more: Any) -> list[Any]:
    keys = {"helpers": lab.name, "kubeconfig": kubeconfig(), "owner": "deployment/web", **more}
    return list(chaos_mesh.find("it", chaos_mesh.Selector(lab.name, **keys)))


def pod(lab: Lab, **more: Any) -> chaos_mesh.MeshPod:
    (found,) = targets(lab, **more)
    assert isinstance(found, chaos_mesh.MeshPod)
    return found


def link(lab: Lab, **more: Any) -> chaos_mesh.MeshLink:
    (found,) = targets(lab, to="far:80", **more)
    assert isinstance(found, chaos_mesh.MeshLink)
    return found


def cut(one: chaos_mesh.MeshLink, expires: timedelta = LONG) -> None:
    one.sever(SIGN, "silent", "all", expires)


def objects(lab: Lab, kind: str = NETWORK) -> list[dict[str, Any]]:
    return lab.api.listed(lab.path(KINDS[kind])).items


def replaced(lab: Lab, one: meshed.Meshed) -> None:
    """Until another pod is ready in its place (the owner's own count lags behind)."""

    def settled() -> bool:
        there = lab.pods()
        return [kube_pods.ready(pod) for pod in there] == [True] and there[0]["metadata"]["uid"] != one.victim.uid

    until(settled)


def run(command: str) -> None:
    words = shlex.split(command)
    assert words[0] == "kubectl"
    subprocess.run([cluster.program(), *words[1:]], check=True, capture_output=True, timeout=60)


# --- without it ----------------------------------------------------------------------------------------------------


def test_where_it_is_not_installed_all_is_lacking_and_a_strike_says_so(running: Lab) -> None:
    stand_in.forbid_real(running.api)
    stand_in.uninstall(running.api)
    one = pod(running)
    assert one.offered() == []
    assert set(one.lacks) == {"Killable", "Pressable"}
    assert "Chaos Mesh is not installed: the cluster knows no podchaos.chaos-mesh.org" in one.lacks["Killable"]
    assert one.leftovers() == []
    one.arm(SIGN)
    with pytest.raises(TargetError, match="Chaos Mesh is not installed"):
        one.kill("KILL")
    assert one.alive()


# --- kill ----------------------------------------------------------------------------------------------------------


def test_a_pod_is_killed_by_its_object_which_is_gone_then(controller: Controller, running: Lab) -> None:
    one, fault = pod(running), Kill()
    receipt = fault.prepare(one, SIGN)
    assert fault.in_place(one, receipt).shown is False
    fault.inject(one, receipt)
    assert fault.in_place(one, receipt).shown
    assert objects(running, POD) == []
    (seen,) = controller.seen
    assert seen["spec"]["gracePeriod"] == 1
    assert seen["metadata"]["labels"]["veloz-chaos/sign"] == SIGN
    replaced(running, one)
    assert pod(running).alive()


def test_a_kill_whose_outcome_nobody_told_us_strikes_no_more_when_it_has_failed(
    controller: Controller, running: Lab, unheard: Callable[[str, str], None]
) -> None:
    controller.idle = True
    one = pod(running)
    one.arm(SIGN)
    unheard("POST", KINDS[POD].partition(".")[0])
    with pytest.raises(Unavailable, match="closed connection"):
        one.kill("KILL")
    assert objects(running, POD) == []
    assert one.alive()


@pytest.mark.usefixtures("controller")
def test_a_kill_whose_object_was_deleted_though_nobody_said_so_is_one(
    running: Lab, unheard: Callable[[str, str], None]
) -> None:
    one = pod(running)
    one.arm(SIGN)
    unheard("DELETE", KINDS[POD].partition(".")[0])
    one.kill("KILL")
    assert objects(running, POD) == []
    assert not one.alive()


def test_a_kill_that_its_controller_only_claims_is_not_in_place(controller: Controller, running: Lab) -> None:
    controller.powerless = True
    one, fault = pod(running), Kill()
    receipt = fault.prepare(one, SIGN)
    fault.inject(one, receipt)
    assert fault.in_place(one, receipt).shown is False


def test_other_signals_are_refused(controller: Controller, running: Lab) -> None:
    one = pod(running, container="c")
    one.arm(SIGN)
    with pytest.raises(TargetError, match="write signal: KILL"):
        one.kill("TERM")
    assert controller.seen == []


# --- injected and recovered ----------------------------------------------------------------------------------------


def test_a_partition_is_in_place_by_its_word_and_by_ours_and_is_recovered(
    controller: Controller, running: Lab, helpers: str
) -> None:
    running.deployment("far")
    running.service("far")
    running.ready(1, "far")
    one, fault = link(running, path="/healthz", helpers=helpers), Partition()
    assert set(one.lacks) == {"Throttleable"}
    receipt = prepared(fault, one, SIGN)  # a node hears of a service's pods when it likes
    try:
        assert one.leftovers() == []
        fault.inject(one, receipt)
        seen = until(lambda: fault.in_place(one, receipt), lambda found: bool(found.shown))
        assert "silent" in seen.evidence
        (made,) = objects(running)
        assert made["spec"]["externalTargets"] == [f"far.{running.name}.svc:80"]
        assert made["spec"]["duration"] == "120000000us"
        assert f"of {SIGN} is on pod" in one.leftovers()[0]
        fault.revert(one, receipt)
        assert objects(running) == []
        until(lambda: fault.in_place(one, receipt), lambda found: found.shown is False)
        fault.revert(one, receipt)
    finally:
        one.disarm(SIGN)
    assert one.leftovers() == []
    assert controller.seen[0]["metadata"]["name"] == made["metadata"]["name"]


def test_every_object_is_taken_by_the_schema(controller: Controller, running: Lab) -> None:
    one = link(running, pods={"app": "far"})
    assert one.lacks == {}
    second = timedelta(seconds=1)
    one.delay(SIGN, second, timedelta(0), LONG)
    one.lose(SIGN, 0.25, LONG)
    one.throttle(SIGN, 10_000, LONG)
    cut(one)
    assert len(objects(running)) == 4
    one.mend(SIGN)
    assert objects(running) == []
    assert len(controller.seen) == 4


def test_memory_that_its_controller_only_claims_is_not_in_place(controller: Controller, lab: Lab, helpers: str) -> None:
    limited = labs.podspec()
    limited["containers"][0]["resources"] = {"limits": {"memory": "128Mi"}}
    lab.deployment(**limited)
    lab.ready(1)
    one, fault = pod(lab, helpers=helpers), Memory(upto="80%")  # type: ignore[arg-type]
    receipt = fault.prepare(one, SIGN)
    try:
        fault.inject(one, receipt)
        assert fault.in_place(one, receipt).shown is False
        (seen,) = controller.seen
        assert seen["spec"]["containerNames"] == ["c"]
        size = int(seen["spec"]["stressors"]["memory"]["size"].removesuffix("B"))
        assert 2**20 * 60 < size < 2**20 * 103
    finally:
        fault.revert(one, receipt)
        one.disarm(SIGN)


# --- bad luck ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("idle", "no controller has said anything"),
        ("blind", "has selected no pod"),
        ("failing", "is not injected .no daemon answers."),
    ],
)
def test_what_is_never_injected_is_taken_away_and_never_in_place(
    controller: Controller, running: Lab, monkeypatch: pytest.MonkeyPatch, fails: str, told: str
) -> None:
    monkeypatch.setattr(mesh_api, "INJECTING", 8.0)  # it says why only after some rounds
    setattr(controller, fails, True)
    one = link(running)
    with pytest.raises(TargetError, match=rf"has not injected NetworkChaos .*{told}.*; it was taken away again"):
        cut(one)
    assert objects(running) == []


def test_a_finalizer_that_hangs_is_told_with_the_command_that_frees_it(
    controller: Controller, running: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh_api, "ENDING", 1.0)
    one = link(running)
    cut(one)
    controller.hanging = True
    with pytest.raises(TargetError, match="held by chaos-mesh/records") as hanging:
        one.mend(SIGN)
    told = str(hanging.value)
    assert f"stays in pod {one.victim.pod} until that pod is gone" in told
    assert told in one.leftovers()
    run(told.partition("free it by: ")[2].partition(" (what")[0])
    assert objects(running) == []
    assert one.leftovers() == []
    one.mend(SIGN)


def test_a_revert_that_hangs_ends_as_failed_with_the_command_that_frees_it(
    controller: Controller, running: Lab, helpers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh_api, "ENDING", 1.0)
    monkeypatch.setattr(hand, "REVERT_PATIENCE", 3_000_000_000)
    running.deployment("far")
    running.service("far")
    running.ready(1, "far")
    one, told = link(running, path="/healthz", helpers=helpers), list[ev.Event]()
    held = hand.Hand("f", Partition(), one)
    try:
        prepared(Partition(), one, SIGN)
        held.prepare(SIGN, 60)
        held.inject()
        controller.hanging = True
        assert not hand.take_out(held, "runner", told.append, held.receipt["by_hand"])
    finally:
        one.disarm(SIGN)
    assert isinstance(told[-1], ev.RevertFailed)
    assert '{"metadata":{"finalizers":null}}' in told[-1].error


def test_one_that_hangs_is_told_of_to_whoever_comes_next(
    controller: Controller, running: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh_api, "ENDING", 1.0)
    controller.hanging = True
    one = pod(running)
    one.arm(SIGN)
    with pytest.raises(TargetError, match="a kill leaves nothing in a pod"):
        one.kill("KILL")
    replaced(running, one)
    assert "held by chaos-mesh/records" in pod(running).leftovers()[0]


def test_one_that_somebody_else_deletes_in_the_midst_does_not_count(controller: Controller, running: Lab) -> None:
    one = link(running)
    cut(one)
    (made,) = objects(running)
    running.api.delete(running.path(KINDS[NETWORK], made["metadata"]["name"]))
    until(lambda: objects(running) == [])
    with pytest.raises(TargetError, match="somebody else has deleted it"):
        one.pass_through(1, timedelta(seconds=1))
    one.mend(SIGN)
    assert controller.seen


def test_one_whose_duration_is_over_does_not_count(controller: Controller, running: Lab) -> None:
    one = link(running)
    cut(one, timedelta(seconds=12))  # it is injected before
    until(lambda: "AllRecovered" in str(objects(running)) and "Stop" in str(objects(running)))
    with pytest.raises(TargetError, match="is to stop, not to run it"):
        one.pass_through(1, timedelta(seconds=1))
    one.mend(SIGN)
    assert controller.seen
    assert objects(running) == []


def test_of_a_pod_that_was_replaced_the_object_is_still_taken_away(controller: Controller, running: Lab) -> None:
    one = link(running)
    cut(one)
    running.api.delete(running.path("pods", one.victim.pod), {"gracePeriodSeconds": 1})
    until(lambda: not one.alive())
    with pytest.raises(Gone):
        one.pass_through(1, timedelta(seconds=1))
    replaced(running, one)
    again = chaos_mesh.reopen(one.reference)
    assert isinstance(again, chaos_mesh.MeshLink)
    again.mend(SIGN)
    assert objects(running) == []
    with pytest.raises(Gone):
        chaos_mesh.reopen(one.reference)
    assert controller.seen


def test_the_command_by_hand_does_the_same(controller: Controller, running: Lab) -> None:
    one = link(running)
    cut(one)
    run(one.by_hand("Severable", SIGN))
    assert objects(running) == []
    assert controller.seen
