"""Helpers as ephemeral containers in the pod itself: what they do, what they can't, and how each comes to its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.pairs import SIGN, known, prepared
from tests.infra import cluster
from tests.kubernetes.life import FOUND, TO, every, gone, live
from tests.kubernetes.pods import Within, first_process, image, within
from tests.kubernetes.pods import until as eventually
from tests.kubernetes.test_rights import account, granted
from veloz_chaos.core.fault import Fault
from veloz_chaos.errors import Gone, TargetError, Unavailable
from veloz_chaos.mechanisms import kube_file, proc
from veloz_chaos.mechanisms.kube_api import Api
from veloz_chaos.mechanisms.kube_rights import of_class
from veloz_chaos.targets import kubernetes, kubernetes_link

pytestmark = [
    pytest.mark.kubernetes, pytest.mark.root, pytest.mark.xdist_group("helpers-in-pod"), pytest.mark.timeout(600),
]  # fmt: skip
SOON = timedelta(seconds=20)
WITH = {
    "process": {"kill", "pause"},
    "container": {"disk"},
    "link": {"latency", "bandwidth", "reset", "partition", "loss"},
    "inbound": {"latency", "partition"},
    "names": {"dns"},
}
ON_NODE = r"write helpers: NAMESPACE, for a helper pod on its node"


@pytest.fixture(scope="module")
def lab() -> Iterator[Within]:
    with within() as made:
        yield made


@pytest.fixture(scope="module")
def strict() -> Iterator[Within]:
    with within("restricted") as made:
        yield made


# --- where the namespace admits capabilities -----------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "fault"), list(every(WITH)))
def test_the_life_of_a_fault(kind: str, fault: Fault[Any], lab: Within) -> None:
    live(kind, fault, lab)


def test_a_file_in_the_pod_is_seen(lab: Within) -> None:
    lab.settle()
    given = {key: lab.common[key] for key in ("namespace", "helpers", "image", "kubeconfig")}
    files = kube_file.Files(**given, selector={"app": "app"})
    inside = kube_file.Inside(files.filled(lambda text: text), "/etc/resolv.conf")
    assert inside.look().size > 0
    with pytest.raises(Gone, match="missing"):
        kube_file.Inside(files, "/logs/absent").look()


def test_what_only_the_node_can_do_says_so(lab: Within) -> None:
    container, pod = lab.selected(container="app"), lab.selected()
    assert {offer.capability for offer in container.offered()} == {"Fillable"}
    assert {offer.capability for offer in pod.offered()} == {"Killable", "Fillable"}
    for capability in ("Saturable", "Pressable", "Exhaustible"):
        assert "control groups" in container.lacks[capability]
        assert "write helpers: NAMESPACE" in container.lacks[capability]
    for capability in ("Killable", "Pausable"):
        assert "first process of a container" in container.lacks[capability]
    first = lab.selected("nested", process="^python3")
    assert "first process of a container" in first.lacks["Killable"]


def test_the_plan_is_told_the_mechanism_and_what_remains(lab: Within) -> None:
    offers = {offer.capability: offer for offer in lab.link(to=TO).offered()}
    assert offers["Delayable"].mechanism == (
        "NFQUEUE in the container's network namespace (by an ephemeral container, as root with NET_ADMIN, NET_RAW)"
    )
    assert offers["Severable"].undo.endswith("; one ended entry remains in the pod")
    assert "with its runner, and with its pod" in str(offers["Severable"].expiry)
    (kill,) = (one for one in FOUND["process"](lab).offered() if one.capability == "Killable")
    assert "as root with KILL, SYS_PTRACE" in kill.mechanism


def test_its_rights_are_few_and_enough(lab: Within, kubernetes: Api, tmp_path: Path) -> None:
    space = lab.space
    config = account(kubernetes, space.name, "bare", tmp_path)
    user = f"--serviceaccount={space.name}:bare"
    kept = lab.common["kubeconfig"]
    try:
        lab.common["kubeconfig"] = str(config)
        for name in ("looking", "ephemeral-helpers"):
            if name == "ephemeral-helpers":
                with pytest.raises(Unavailable, match=r'a Role must grant: .*"pods/ephemeralcontainers".*"patch"'):
                    lab.link(to=TO).arm(SIGN)
                assert [offer.capability for offer in lab.selected().offered()] == ["Killable"]
            role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}}
            space.apply([role | {"rules": of_class(name)}])
            space.kubectl("create", "rolebinding", name, f"--role={name}", user)
            eventually(lambda name=name: granted(config, space.name, name))  # type: ignore[misc]
        live("link", known()["partition"](), lab)
        live("process", known()["pause"](), lab)
    finally:
        lab.common["kubeconfig"] = kept


def test_an_image_that_no_node_has_is_told_and_is_no_leftover(lab: Within) -> None:
    kept = lab.common["image"]
    lab.common["image"] = "127.0.0.1:1/nothing:1"
    try:
        target = lab.link(to=TO)
        with pytest.raises(Unavailable, match=r"127.0.0.1:1/nothing:1 can't be had .*VELOZ_CHAOS_HELPER_IMAGE"):
            target.arm(SIGN)
    finally:
        lab.common["image"] = kept
    assert lab.link(to=TO).leftovers() == []


# --- how one ends --------------------------------------------------------------------------------------------------

ELSEWHERE = """
import sys
from datetime import timedelta
from veloz_chaos.core.capability import Reference
from veloz_chaos.targets import kubernetes_link
target = kubernetes_link.reopen(Reference.model_validate_json(sys.argv[1]))
target.arm(sys.argv[2])
target.sever(sys.argv[2], "silent", "all", timedelta(seconds=float(sys.argv[3])))
print("in place", flush=True)
sys.stdin.read()
"""


def elsewhere(target: Any, sign: str, seconds: float) -> subprocess.Popen[str]:
    """Another process, which holds that link cut when this returns."""
    words = [sys.executable, "-c", ELSEWHERE, target.reference.model_dump_json(), sign, str(seconds)]
    pipe = subprocess.PIPE
    other = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "in place\n"
    return other


def passes(target: Any) -> bool:
    return bool(target.pass_through(1, timedelta(seconds=1)).outcome == "answered")


def ended(lab: Within, sign: str) -> list[int]:
    """The exit codes of that sign's helpers, once all have ended."""
    stem = sign.removeprefix("vc-")
    there: list[Any] = []

    def over() -> bool:
        there[:] = [one["state"] for name, one in lab.ephemeral() if stem in name]
        return all("terminated" in state for state in there)

    eventually(over)
    return sorted(state["terminated"]["exitCode"] for state in there)


def inbound(lab: Within) -> Any:
    lab.settle()
    return FOUND["inbound"](lab)


def test_a_helper_whose_runner_is_killed_undoes_what_it_holds_and_ends(lab: Within) -> None:
    target, sign = inbound(lab), f"{SIGN}-killed"
    other = elsewhere(target, sign, 600)
    assert not passes(target)
    assert lab.traces()
    other.send_signal(signal.SIGKILL)
    other.wait()
    eventually(lambda: passes(target))
    assert ended(lab, sign) == [0]
    assert lab.traces() == []
    assert target.leftovers() == []
    assert re.fullmatch(rf".* entr(y|ies) of ours remains? in pod {target.beside.pod}", target.remains())


def test_a_helper_ends_at_its_own_expiry_though_its_runner_lives(lab: Within) -> None:
    target, sign = inbound(lab), f"{SIGN}-expired"
    other = elsewhere(target, sign, 3)
    eventually(lambda: passes(target))
    assert ended(lab, sign) == [0]
    assert other.poll() is None
    assert lab.traces() == []
    other.kill()
    other.wait()


def test_somebody_else_s_helper_is_in_the_way_and_is_ended_by_revert(lab: Within) -> None:
    target, sign = inbound(lab), f"{SIGN}-other"
    other = elsewhere(target, sign, 600)
    (left,) = target.leftovers()
    assert sign in left
    before = len(lab.ephemeral())
    target.mend(sign)
    eventually(lambda: passes(target))
    assert lab.traces() == []
    assert other.poll() is None
    assert ended(lab, sign) == [0]
    assert len(lab.ephemeral()) == before
    assert target.leftovers() == []
    target.mend(sign)
    other.kill()
    other.wait()


def test_the_command_by_hand_ends_it(lab: Within) -> None:
    target, sign = inbound(lab), f"{SIGN}-hand"
    other = elsewhere(target, sign, 600)
    command = target.by_hand("Severable", sign).replace("kubectl", cluster.program())
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, timeout=60)
    assert ended(lab, sign) == [0]
    eventually(lambda: passes(target))
    other.kill()
    other.wait()


@pytest.mark.parametrize("looks", [False, True])
def test_rules_that_a_killed_helper_has_left_are_taken_out_by_another(looks: bool, lab: Within) -> None:
    """No questions are answered as long as they lead to a name server that is dead. A look starts that other one."""
    lab.settle()
    target, fault, sign = FOUND["names"](lab), known()["dns"](answer="nxdomain"), f"{SIGN}-shot{looks:d}"  # type: ignore[call-arg]
    receipt = prepared(fault, target, sign)
    fault.inject(target, receipt)
    (pid,) = proc.matching(rf"helper {sign} --network")
    os.kill(pid, signal.SIGKILL)
    assert ended(lab, sign) == [137]
    assert lab.traces()
    if looks:
        fault.in_place(target, receipt)
    (left,) = target.leftovers()
    assert f"rules of {sign} are left in its network namespace, and lead questions" in left
    fault.revert(target, receipt)
    assert lab.traces() == []
    target.disarm(sign)
    assert ended(lab, sign) == [0, 137]
    assert target.leftovers() == []


def test_a_container_that_is_started_again_keeps_no_fault_on_its_pod_s_link(lab: Within) -> None:
    target, sign = inbound(lab), f"{SIGN}-again"
    other = elsewhere(target, sign, 120)
    assert not passes(target)
    uid = lab.pod()["metadata"]["uid"]
    kill(lab)
    assert lab.traces()  # it is the pod's, and its helper lives on
    found: Any = kubernetes_link.reopen(target.reference)
    assert sign in found.leftovers()[0]
    found.mend(sign)
    assert lab.traces() == []
    assert ended(lab, sign) == [0]
    other.kill()
    other.wait()
    again = inbound(lab)
    assert lab.pod()["metadata"]["uid"] == uid
    eventually(lambda: passes(again))
    assert again.leftovers() == []


def test_a_helper_dies_with_the_first_process_of_its_target_and_so_does_what_it_holds(lab: Within) -> None:
    lab.settle()
    target = lab.selected(container="app")
    target.arm(SIGN)
    target.fill(SIGN, "logs", 0, SOON)
    eventually(lambda: target.room(SIGN, "logs").free == 0)
    kill(lab)
    eventually(lambda: gone(target))
    target.empty(SIGN, "logs")
    lab.settle()
    again = lab.selected(container="app")
    assert again.leftovers() == []
    room = again.room(SIGN, "logs")
    assert room.free == room.size
    again.disarm(SIGN)


def kill(lab: Within) -> None:
    """The first process of `app`, from outside; its kubelet starts it again."""
    before = lab.pod()["status"]["containerStatuses"][0]["restartCount"]
    os.kill(first_process(lab.pod()), signal.SIGKILL)
    eventually(lambda: lab.pod()["status"]["containerStatuses"][0]["restartCount"] > before)


# --- where it does not ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "fault"), list(every({"process": {"kill", "pause"}})))
def test_in_a_restricted_namespace_signals_remain(kind: str, fault: Fault[Any], strict: Within) -> None:
    live(kind, fault, strict)


def test_in_a_restricted_namespace_all_else_is_refused_with_what_would_help(strict: Within) -> None:
    strict.settle()
    process = FOUND["process"](strict)
    assert [offer.capability for offer in process.offered()] == ["Killable", "Pausable"]
    assert f"as the target's own user {cluster.SOMEBODY}" in process.offered()[0].mechanism
    container, link = strict.selected(container="app"), strict.link(to=TO)
    assert container.offered() == []
    assert link.offered() == []
    for reason in (container.lacks["Fillable"], link.lacks["Delayable"], link.lacks["Severable"]):
        assert 'violates PodSecurity "restricted:latest"' in reason
        assert "write helpers: NAMESPACE" in reason
    with pytest.raises(Unavailable, match=ON_NODE):
        link.arm(SIGN)
    assert [name for name, _ in strict.ephemeral() if "dry-run" in name] == []


def test_a_pod_that_says_no_user_is_told(namespace: cluster.Namespace) -> None:
    """It would be the image's, which nobody tells."""
    namespace.pod("app", image=image(), command=["sleep", "600"], pod={"securityContext": {}})
    namespace.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=restricted")
    common = {"namespace": namespace.name, "selector": {"app": "app"}, "kubeconfig": namespace.config}
    given: dict[str, Any] = {**common, "container": "app", "helpers": {"in": "pod"}, "image": image()}
    selector = kubernetes.Selector(**given)
    target = kubernetes.find("app", selector)[0]
    with pytest.raises(TargetError, match=r"admits no ephemeral container: .*violates PodSecurity.*NAMESPACE"):
        target.arm(SIGN)
