"""Helpers in the pod itself: what an environment writes, what is asked of the server, what its answers mean."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import pytest

from veloz_chaos.core import checking
from veloz_chaos.core.capability import Offer
from veloz_chaos.core.document import parse
from veloz_chaos.engine.hand import Hand
from veloz_chaos.errors import Gone, TargetError, Unavailable
from veloz_chaos.faults.kill import Kill
from veloz_chaos.mechanisms import kube_api, kube_pods, pod_helpers
from veloz_chaos.mechanisms.contained import Inside
from veloz_chaos.mechanisms.contained_link import ContainedLink, ContainedNames
from veloz_chaos.mechanisms.helper_ephemeral import InPod
from veloz_chaos.mechanisms.helper_pod import OnNode
from veloz_chaos.mechanisms.kube_api import Forbidden, Place
from veloz_chaos.mechanisms.wire import Wire
from veloz_chaos.targets import fake, kubernetes, kubernetes_link

RUNNING = {"running": {"startedAt": "now"}}
REFUSED = 'pods "p" is forbidden: violates PodSecurity "restricted:latest": unrestricted capabilities'
NOBODY: dict[str, Any] = {"securityContext": {}}
OWN: dict[str, Any] = {"securityContext": {"runAsUser": 7, "runAsGroup": 8}}


class Server:
    """One pod; what it admits is decided by `admits`."""

    def __init__(
        self, spec: Mapping[str, Any] = OWN, admits: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> None:
        self.asked: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self._admits = admits
        self.pod: dict[str, Any] = {
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"containers": [{"name": "app"}], "ephemeralContainers": [], **spec},
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": "app", "containerID": "containerd://c1", "state": RUNNING}],
                "ephemeralContainerStatuses": [],
            },
        }

    def get(self, where: str) -> dict[str, Any]:
        assert where == "/api/v1/namespaces/n/pods/p"
        return self.pod

    def patch(self, where: str, body: dict[str, Any], kind: str, **query: str) -> dict[str, Any]:
        assert where == "/api/v1/namespaces/n/pods/p/ephemeralcontainers"
        assert body["metadata"] == {"uid": "u"}
        (container,) = body["spec"]["ephemeralContainers"]
        self.asked.append((kind, container, query))
        if not self._admits(container["securityContext"]):
            raise TargetError(REFUSED)
        return self.pod

    def has(self, name: str, args: list[str], state: Mapping[str, Any] | None = None) -> None:
        self.pod["spec"]["ephemeralContainers"].append({"name": name, "args": args})
        if state is not None:
            self.pod["status"]["ephemeralContainerStatuses"].append({"name": name, "image": "i", "state": state})


def ended(code: int) -> dict[str, Any]:
    return {"terminated": {"exitCode": code}}


def placed(monkeypatch: pytest.MonkeyPatch, server: Server, *, network: bool = False) -> InPod:
    monkeypatch.setattr(kube_api, "client", lambda _: server)
    return InPod(Place(), "n", "p", "u", "app", "c1", "node", "image:1", network)


def rootless(context: Mapping[str, Any]) -> bool:
    return "add" not in context["capabilities"]


# --- what is written -----------------------------------------------------------------------------------------------


def problems(kind: type[Any], helpers: str) -> list[str]:
    text = f"namespace: veloz\npod: p\nto: 'a:1'\nhelpers: {helpers}\n"
    if kind is kubernetes.Selector:
        text = text.replace("to: 'a:1'\n", "container: app\n")
    document = parse(text, "environment.yaml")
    return [str(one) for one in checking.arguments(kind, document.data, document, ())]


@pytest.mark.parametrize("kind", [kubernetes.Selector, kubernetes_link.Selector])
def test_helpers_are_a_namespace_or_in_the_pod(kind: type[Any]) -> None:
    for good in ("veloz-chaos", "pod", "{in: pod}", "null"):
        assert problems(kind, good) == []
    (told,) = problems(kind, "{in: node}")
    assert told.startswith("environment.yaml:4:15: `in` must be `pod`, not `node`")
    (told,) = problems(kind, "In/Pod")
    assert told.startswith(
        "environment.yaml:4:10: `In/Pod` is no namespace; write the one for helper pods, or {in: pod}"
    )
    assert any("unknown key `at`" in one for one in problems(kind, "{at: pod}"))
    assert all(one.startswith("environment.yaml:4:") for one in problems(kind, "5"))


def test_an_identity_means_the_same_place_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"kube-system-uid": "one"}
    monkeypatch.setattr(kube_api, "_known", lambda _: answers)
    given: dict[str, Any] = {"namespace": "n", "pod": "p", "container": "app", "helpers": {"in": "pod"}}
    selector = kubernetes.Selector(**given)
    assert selector.helpers is not None
    identity = pod_helpers.identity(Server().pod, "app", Place("there"), selector.helpers, "")
    assert identity["helpers"] == {"in": "pod"}
    read = json.loads(json.dumps(identity))
    place = pod_helpers.beside(read)
    assert place == pod_helpers.beside(identity)
    assert place == InPod(Place("there"), "n", "p", "u", "app", "c1")
    assert pod_helpers.beside(read, links=True) == InPod(Place("there"), "n", "p", "u", "app", "c1", network=True)
    node = pod_helpers.beside(identity | {"helpers": "h"})
    assert isinstance(node, OnNode)
    assert node.helpers == "h"
    nowhere = pod_helpers.beside({key: value for key, value in identity.items() if key != "helpers"})
    assert "helpers: {in: pod}" in nowhere.cannot("Severable")
    answers = {}  # this account may not know
    assert pod_helpers.beside(read) == place
    answers = {"kube-system-uid": "two"}
    with pytest.raises(Unavailable, match=r"another cluster answers to kubectl --context there .*two.*one"):
        pod_helpers.beside(read)
    older = {key: value for key, value in read.items() if key != "system"}
    assert pod_helpers.beside(older) == place


def test_its_rights_are_those_of_its_class_in_the_pod_s_own_namespace() -> None:
    given: dict[str, Any] = {"namespace": "n", "pod": "p", "to": "a:1", "helpers": {"in": "pod"}}
    selector = kubernetes_link.Selector(**given)
    asked = {(one.verb, one.path) for one in kubernetes_link.rights(selector, "Severable")}
    pod = "/api/v1/namespaces/n/pods/any"
    assert asked == {("patch", f"{pod}/ephemeralcontainers"), ("get", f"{pod}/attach"), ("create", f"{pod}/attach")}


# --- what it may ---------------------------------------------------------------------------------------------------


def test_root_with_few_capabilities_where_the_server_admits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for network, able in (
        (True, ["NET_ADMIN", "NET_RAW"]),
        (False, ["KILL", "SYS_PTRACE", "DAC_OVERRIDE", "DAC_READ_SEARCH"]),
    ):
        server = Server()
        place = placed(monkeypatch, server, network=network)
        assert [place.cannot(one, 7) for one in ("Severable", "Killable", "Fillable")] == ["", "", ""]
        ((kind, container, query),) = server.asked
        assert (kind, query) == ("strategic", {"dryRun": "All"})
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": able}
        assert container["securityContext"]["runAsUser"] == 0
        assert container.get("targetContainerName") == (None if network else "app")
        assert container["args"][1:] == (["--network"] if network else ["--within", "c1"])


def test_the_target_s_own_user_where_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(admits=rootless)
    place = placed(monkeypatch, server)
    assert place.cannot("Killable", 7) == ""
    assert REFUSED in place.cannot("Fillable", 7)
    assert "write helpers: NAMESPACE" in place.cannot("Fillable", 7)
    own = server.asked[-1][1]["securityContext"]
    assert own == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": 7, "runAsGroup": 8, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    (kill, *_) = Inside.offers
    assert "as the target's own user 7" in place.worded(kill).mechanism


def test_links_need_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    place = placed(monkeypatch, Server(admits=rootless), network=True)
    assert REFUSED in place.cannot("Severable")
    with pytest.raises(Unavailable, match="write helpers: NAMESPACE"):
        place.start("vc-a")


def test_nobody_s_user_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    place = placed(monkeypatch, Server(NOBODY, admits=rootless))
    assert REFUSED in place.cannot("Killable", 7)


def test_who_may_not_even_ask_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()

    def refuses(*_: object, **__: object) -> NoReturn:
        raise Forbidden("no", {"verbs": ["patch"]})

    monkeypatch.setattr(server, "patch", refuses)
    place = placed(monkeypatch, server)
    assert 'a Role must grant: {verbs: ["patch"]}' in place.cannot("Fillable")
    with pytest.raises(Unavailable, match="a Role must grant"):
        place.start("vc-a")


@pytest.mark.parametrize("capability", ["Saturable", "Pressable", "Exhaustible"])
def test_control_groups_are_the_node_s(monkeypatch: pytest.MonkeyPatch, capability: str) -> None:
    assert "control groups" in placed(monkeypatch, Server()).cannot(capability, 7)


@pytest.mark.parametrize("process", [None, 1])
def test_the_first_process_is_out_of_reach(monkeypatch: pytest.MonkeyPatch, process: int | None) -> None:
    place = placed(monkeypatch, Server())
    for capability in ("Killable", "Pausable"):
        assert "first process of a container" in place.cannot(capability, process)


@pytest.mark.parametrize(
    "offer", [*Inside.offers, *ContainedLink.offers, *ContainedNames.offers], ids=lambda one: one.capability
)
def test_every_offer_says_what_does_it_and_what_remains(monkeypatch: pytest.MonkeyPatch, offer: Offer) -> None:
    place = placed(monkeypatch, Server(), network=offer in (*ContainedLink.offers, *ContainedNames.offers))
    told = place.worded(offer)
    for text in (told.mechanism, told.undo, told.expiry or ""):
        assert "helper container" not in text
        assert "netem" not in text
    assert "ephemeral container" in told.mechanism
    assert told.mechanism.count("ephemeral container") == 1
    assert "as root with" in told.mechanism
    assert "remains in the pod" in told.undo
    assert (told.expiry is None) == (offer.expiry is None)


def test_a_pod_s_deletion_is_nobody_s_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    (kill, *_) = kubernetes.Pod.offers
    assert placed(monkeypatch, Server()).worded(kill) == kill


# --- those that are there ------------------------------------------------------------------------------------------


def test_what_has_ended_or_is_another_place_s_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    pull = {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}
    for name, args, state in (
        ("veloz-chaos-a-1", ["vc-a", "--within", "c1"], RUNNING),
        ("veloz-chaos-a-2", ["vc-a", "--within", "c1"], ended(0)),
        ("veloz-chaos-a-3", ["vc-a", "--network"], RUNNING),
        ("veloz-chaos-a-4", ["vc-a", "--within", "c0"], RUNNING),
        ("veloz-chaos-a-5", ["vc-a", "--within", "c1"], pull),
        ("veloz-chaos-b-6", ["vc-b", "--within", "c1"], None),
        ("debugger-x", ["vc-a", "--within", "c1"], RUNNING),
    ):
        server.has(name, args, state)
    place = placed(monkeypatch, server)
    assert [(one.name, one.runs) for one in place.found()] == [("veloz-chaos-a-1", True), ("veloz-chaos-b-6", False)]
    assert [one.name for one in place.found("vc-b")] == ["veloz-chaos-b-6"]
    assert [one.name for one in placed(monkeypatch, server, network=True).found()] == ["veloz-chaos-a-3"]
    server.pod["metadata"]["uid"] = "another"
    assert place.found() == []


@pytest.mark.parametrize(("codes", "clean"), [([], True), ([0], True), ([0, 0], True), ([0, 137], False)])
def test_whether_somebody_must_look_after_those_that_ended(
    monkeypatch: pytest.MonkeyPatch, codes: list[int], clean: bool
) -> None:
    server = Server()
    for number, code in enumerate(codes):
        server.has(f"veloz-chaos-a-{number}", ["vc-a", "--network"], ended(code))
    place = placed(monkeypatch, server, network=True)
    assert place.relieve("vc-a", "undo") is clean
    left = {0: "", 1: "one ended entry of ours remains in pod p", 2: "2 ended entries of ours remain in pod p"}
    assert place.remains() == left[len(codes)]


def test_a_name_that_is_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    server.has("veloz-chaos-a-aaaaaa", ["somebody's"], RUNNING)
    monkeypatch.setattr(secrets, "token_hex", lambda _: "aaaaaa")
    with pytest.raises(TargetError, match="has an ephemeral container named veloz-chaos-a-aaaaaa already"):
        placed(monkeypatch, server).start("vc-a")


def test_one_that_ends_at_once_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    server.has("veloz-chaos-a-1", ["vc-a", "--network"], ended(2))
    with pytest.raises(Unavailable, match="can't start: it has ended at once, exit 2"):
        placed(monkeypatch, server, network=True)._runs("veloz-chaos-a-1")


@pytest.mark.parametrize(
    ("container", "pod", "told", "user"),
    [
        ({"runAsUser": 1}, {"runAsUser": 2, "runAsGroup": 3}, {}, {"runAsUser": 1, "runAsGroup": 3}),
        ({}, {"runAsUser": 0}, {}, {"runAsUser": 0}),
        ({}, {"runAsGroup": 3}, {}, {}),
        ({}, {}, {"user": {"linux": {"uid": 5, "gid": 6}}}, {"runAsUser": 5, "runAsGroup": 6}),
    ],
)
def test_as_whom_a_container_runs(
    container: dict[str, int], pod: dict[str, int], told: dict[str, Any], user: dict[str, int]
) -> None:
    made = Server({"containers": [{"name": "app", "securityContext": container}], "securityContext": pod}).pod
    made["status"]["containerStatuses"][0] |= told
    assert kube_pods.user_of(made, "app") == user


# --- inside, and at the end ----------------------------------------------------------------------------------------


def test_where_only_a_queue_will_do_netem_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from veloz_chaos.mechanisms import netem, netfilter, wire

    used: list[str] = []
    monkeypatch.setattr(wire, "mechanism", lambda *_: "netem")
    monkeypatch.setattr(netem, "device", lambda _: "eth0")
    monkeypatch.setattr(netem, "put", lambda *_: used.append("netem"))
    monkeypatch.setattr(netem, "remove", lambda _: None)
    monkeypatch.setattr(netfilter, "remove", lambda _: None)
    monkeypatch.setattr(Wire, "_queue", lambda *_: used.append("queue"))
    peer = netfilter.Peer(("127.0.0.1",), 9)
    for queue in (False, True):
        made = Wire(peer, "vc-unit", queue=queue)
        made.put("delay", {"delay": 0.1, "jitter": 0.0})
        made.undo()
    assert used == ["netem", "queue"]


def test_what_remains_is_said_when_a_fault_is_closed_and_costs_nothing_if_unknown() -> None:
    class Remaining(fake.Fake):
        known = True

        def remains(self) -> str:
            if not self.known:
                raise Gone("it is gone")
            return "one entry"

    hand = Hand("f", Kill(), target := Remaining.__new__(Remaining))
    assert hand.remains() == "one entry"
    target.known = False
    assert hand.remains() == ""
