"""What helpers leave on the links of a pod or a container when they are killed, and who takes it out."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from veloz_chaos.core.capability import Reference, Report
from veloz_chaos.core.effect import DnsEffect
from veloz_chaos.errors import Gone, TargetError, Unavailable
from veloz_chaos.mechanisms import beside, beside_pod, helper, kube_api, netem, netfilter, pod_helpers, wire
from veloz_chaos.mechanisms.beside import Found, Helper
from veloz_chaos.mechanisms.contained_link import ContainedNames
from veloz_chaos.mechanisms.helper import Here
from veloz_chaos.mechanisms.helper_ephemeral import InPod
from veloz_chaos.mechanisms.helper_pod import OnNode
from veloz_chaos.mechanisms.kube_api import Place
from veloz_chaos.targets import kubernetes_link

SIGN, EFFECT, LONG = "vc-run-1", DnsEffect("nxdomain", ("a",)), timedelta(seconds=60)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees another one's helpers."""
    another_process(monkeypatch)


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on: helpers that were started before are somebody else's."""
    monkeypatch.setattr(beside, "_HELPERS", {})


class Program:
    """A helper's program at the other end of a stream; `rules` are those of its network."""

    def __init__(self, sign: str, rules: set[str]) -> None:
        self.here, self._rules = Here(sign, 1, 1), rules
        self._ours, self._theirs = socket.socketpair()
        self.code: int | None = None
        self._lines = self._theirs.makefile("rb")
        threading.Thread(target=self._serve, daemon=True).start()

    def fileno(self) -> int:
        return self._ours.fileno()

    def pending(self) -> bool:
        return False

    def send(self, data: bytes) -> None:
        self._ours.sendall(data)

    def receive(self) -> tuple[bytes, bytes] | None:
        said = self._ours.recv(65536)
        return (said, b"") if said else None

    def close(self) -> None:
        """One of those who are attached goes."""

    def die(self, code: int) -> None:
        if code == 0:
            self.here.undo()
            self._rules.discard(self.here.sign)
        self.code = code
        with suppress(OSError):
            self._theirs.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        known: dict[str, helper.Operation] = {
            **helper.OPERATIONS,
            "mislead": self._mislead,
            "clear": self._clear,
            "disturbed": self._disturbed,
        }
        with suppress(OSError, ValueError):
            for line in self._lines:
                said = helper.answer(self.here, known, line)
                self._theirs.sendall(json.dumps(said).encode() + b"\n")
                if self.here.over:
                    self.die(0)

    def _mislead(self, here: Here, effect: Mapping[str, Any], expires: float) -> None:  # noqa: ARG002
        self._rules.add(here.sign)
        here.hold("names", "names are answered", lambda: self._rules.discard(here.sign), expires)

    def _clear(self, here: Here, left: str) -> None:  # noqa: ARG002
        self._rules.discard(left)

    def _disturbed(self, here: Here, spared: Sequence[str] = ()) -> list[str]:  # noqa: ARG002
        return [f"rules of {sign} are left" for sign in sorted(self._rules - set(spared))]


# --- in a pod ------------------------------------------------------------------------------------------------------


class Server:
    """One pod, and the programs in its ephemeral containers."""

    def __init__(self) -> None:
        self.rules, self.programs = set[str](), dict[str, Program]()
        self.attached, self._clock, self.refuses = 0, itertools.count(), 0
        self.pod: dict[str, Any] = {
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"containers": [{"name": "app"}], "ephemeralContainers": []},
            "status": {"phase": "Running"},
        }
        self.container("c1")

    def container(self, identity: str, *, runs: bool = True) -> None:
        """That one is in the place of the one before."""
        state = {"running": {}} if runs else {"waiting": {"reason": "CrashLoopBackOff"}}
        status = {"name": "app", "containerID": f"containerd://{identity}", "state": state}
        self.pod["status"]["containerStatuses"] = [status]

    def get(self, where: str) -> dict[str, Any]:
        assert where == "/api/v1/namespaces/n/pods/p"
        for status in self.pod["status"].get("ephemeralContainerStatuses", []):
            code = self.programs[status["name"]].code
            if code is not None and "running" in status["state"]:
                times = {"startedAt": status["state"]["running"]["startedAt"], "finishedAt": self._now()}
                status["state"] = {"terminated": {"exitCode": code, **times}}
        return self.pod

    def patch(self, where: str, body: dict[str, Any], kind: str, **query: str) -> dict[str, Any]:
        assert (where, kind) == ("/api/v1/namespaces/n/pods/p/ephemeralcontainers", "strategic")
        if not query:
            (container,) = body["spec"]["ephemeralContainers"]
            self.pod["spec"]["ephemeralContainers"].append(container)
            status = {"name": container["name"], "state": {"running": {"startedAt": self._now()}}}
            self.pod["status"].setdefault("ephemeralContainerStatuses", []).append(status)
            self.programs[container["name"]] = Program(container["args"][0], self.rules)
        return self.pod

    def attach(self, name: str) -> Program:
        self.attached += 1
        program = self.programs[name]
        if self.refuses:
            self.refuses -= 1
            return _Broken(program.here.sign, set())
        return program

    def kill(self) -> None:
        """The eldest that lives, by the kernel."""
        next(one for one in self.programs.values() if one.code is None).die(137)

    def codes(self) -> list[int | None]:
        return [one.code for one in self.programs.values()]

    def _now(self) -> str:
        return f"2026-01-01T00:00:{next(self._clock):02}Z"


class _Broken(Program):
    closed: ClassVar[int] = 0

    def send(self, data: bytes) -> None:  # noqa: ARG002
        raise OSError("broken pipe")

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(kube_api, "client", lambda _: made)
    monkeypatch.setattr(kube_api, "_known", lambda _: {})
    monkeypatch.setattr(InPod, "_attach", lambda _, name: made.attach(name))
    return made


def names(server: Server) -> kubernetes_link.PodNames:
    """As the pod was when it was found."""
    within = pod_helpers.Within(**{"in": "pod"})  # type: ignore[arg-type]
    identity = pod_helpers.identity(server.pod, "app", Place(), within, "i") | {"id": "c1", "lookup": "a"}
    made = kubernetes_link.reopen(Reference(backend="kubernetes-link", name="l", identity=identity))
    assert isinstance(made, kubernetes_link.PodNames)
    return made


def misled(server: Server) -> kubernetes_link.PodNames:
    """A target whose helper has been killed while it held names."""
    target = names(server)
    target.arm(SIGN)
    target.mislead(SIGN, EFFECT, LONG)
    server.kill()
    ended(target)
    assert server.rules == {SIGN}
    return target


def ended(target: ContainedNames) -> None:
    (one,) = target.beside.own(SIGN)
    with suppress(beside.Ended):
        one.call("ping")
    assert one.ended


def test_a_look_after_the_kill_does_not_keep_the_revert_from_taking_it_out(server: Server) -> None:
    """The look starts a second helper of the same sign, which holds nothing."""
    target = misled(server)
    target.beside.call(SIGN, "ping")
    target.unmislead(SIGN)
    assert server.rules == set()
    assert server.codes() == [137, None]
    assert target.leftovers() == []


def test_what_is_left_is_a_leftover_as_long_as_it_is(server: Server) -> None:
    target = misled(server)
    target.beside.call(SIGN, "ping")
    (told,) = target.leftovers()
    assert told.startswith(f"rules of {SIGN} are left; `veloz-chaos revert`")
    target.unmislead(SIGN)
    assert target.leftovers() == []


def test_one_that_undid_what_it_held_is_looked_after_by_nobody(server: Server) -> None:
    target = names(server)
    target.arm(SIGN)
    target.mislead(SIGN, EFFECT, LONG)
    (told,) = target.leftovers()
    assert told.startswith("names are answered; end it by: ")
    target.unmislead(SIGN)
    assert (server.rules, server.codes()) == (set(), [None])
    target.disarm(SIGN)
    assert target.leftovers() == []
    target.unmislead(SIGN)
    assert server.codes() == [0]


def test_from_elsewhere_one_more_entry_says_that_it_is_taken_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    misled(server)
    another_process(monkeypatch)
    target = names(server)
    target.unmislead(SIGN)
    assert (server.rules, server.codes()) == (set(), [137, None])
    target.disarm(SIGN)
    another_process(monkeypatch)
    assert names(server).leftovers() == []
    names(server).unmislead(SIGN)
    assert server.codes() == [137, 0]


def test_before_a_run_a_helper_looks_only_where_one_was_killed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(server).leftovers() == []
    assert server.codes() == []
    misled(server)
    for looks in (1, 2):  # a look takes nothing out: that it ended well says nothing
        another_process(monkeypatch)
        (told,) = names(server).leftovers()
        assert told.startswith(f"rules of {SIGN} are left")
        assert len(server.codes()) == 1 + looks
        list(server.programs.values())[-1].die(0)


def test_one_that_only_looked_leaves_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    names(server).beside.call(f"{beside.LOOKS}7", "ping")
    server.kill()
    another_process(monkeypatch)
    assert names(server).leftovers() == []
    assert server.codes() == [137]


def test_a_container_that_was_started_again_ends_nothing_on_its_pod_s_links(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = names(server)
    target.mislead(SIGN, EFFECT, LONG)
    server.container("c2")
    assert target.alive()
    another_process(monkeypatch)
    found = names(server)
    assert len(found.leftovers()) == 1
    found.unmislead(SIGN)
    assert (server.rules, server.codes()) == (set(), [0])


def test_what_a_killed_helper_left_is_taken_out_after_a_restart(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    misled(server)
    server.container("c2", runs=False)
    another_process(monkeypatch)
    names(server).unmislead(SIGN)
    assert server.rules == set()


def test_with_its_pod_a_link_is_gone_unless_a_helper_is_left(server: Server) -> None:
    names(server).mislead(SIGN, EFFECT, LONG)
    server.pod["metadata"]["deletionTimestamp"] = "soon"
    target = names(server)
    with pytest.raises(Gone, match="is being deleted"):
        target.beside.state()
    target.unmislead(SIGN)
    target.disarm(SIGN)
    assert (server.rules, server.codes()) == (set(), [0])
    with pytest.raises(Gone, match="is being deleted"):
        names(server)
    del server.pod["metadata"]["deletionTimestamp"]
    server.pod["metadata"] |= {"uid": "another", "creationTimestamp": "now"}
    with pytest.raises(Gone, match="one of the same name was made"):
        pod_helpers.beside(target.reference.identity, links=True).state()


def test_for_a_container_its_restart_is_the_end(server: Server) -> None:
    place = pod_helpers.beside(names(server).reference.identity)
    assert place.state()
    server.container("c2")
    with pytest.raises(Gone, match="it has been started again"):
        place.state()


# --- told to end, and about to start -------------------------------------------------------------------------------


def test_one_that_could_not_be_told_to_end_is_told_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    names(server).mislead(SIGN, EFFECT, LONG)
    another_process(monkeypatch)
    server.attached, server.refuses, _Broken.closed = 0, 1, 0
    names(server).unmislead(SIGN)
    assert (server.codes(), server.rules) == ([0], set())
    assert (server.attached, _Broken.closed) == (2, 1)


RETRIED = ["ErrImagePull", "CreateContainerError", "CreateContainerConfigError", "RunContainerError"]


def waiting(server: Server, reason: str) -> InPod:
    place = names(server).beside
    assert isinstance(place, InPod)
    place.api.patch(
        "/api/v1/namespaces/n/pods/p/ephemeralcontainers",
        {"spec": {"ephemeralContainers": [{"name": "veloz-chaos-run-1-a", "args": [SIGN, "--network"]}]}},
        "strategic",
    )
    state = {"waiting": {"reason": reason, "message": "not yet"}}
    server.pod["status"]["ephemeralContainerStatuses"][0]["state"] = state
    return place


@pytest.mark.parametrize("reason", RETRIED)
def test_what_the_kubelet_tries_again_may_yet_start(server: Server, reason: str) -> None:
    place = waiting(server, reason)
    assert place._runs("veloz-chaos-run-1-a") is False
    assert [one.runs for one in place.found(SIGN)] == [False]
    assert place.found() == []
    assert "not yet" in place._late("veloz-chaos-run-1-a")
    server.pod["status"]["ephemeralContainerStatuses"][0]["state"] = {"running": {"startedAt": "now"}}
    assert place._runs("veloz-chaos-run-1-a")


def test_what_it_has_given_up_is_told_at_once(server: Server) -> None:
    place = waiting(server, "ImagePullBackOff")
    assert place.found(SIGN) == []
    with pytest.raises(Unavailable, match="can't be had"):
        place._runs("veloz-chaos-run-1-a")


def test_one_that_starts_after_all_is_told_to_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    place = waiting(server, "CreateContainerError")
    (status,) = server.pod["status"]["ephemeralContainerStatuses"]

    def starts(_: float) -> None:
        if "waiting" in status["state"]:
            status["state"] = {"running": {"startedAt": "now"}}

    monkeypatch.setattr("veloz_chaos.mechanisms.helper_ephemeral.time.sleep", starts)
    place.end(SIGN)
    assert server.codes() == [0]


def test_one_that_still_can_t_start_is_in_nobody_s_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    place = waiting(server, "CreateContainerError")
    monkeypatch.setattr("veloz_chaos.mechanisms.helper_ephemeral.PATIENCE", 0.1)
    place.stop("veloz-chaos-run-1-a")
    assert server.attached == 0
    with pytest.raises(Unavailable, match=r"has not started .*CreateContainerError: not yet"):
        monkeypatch.setattr(beside_pod, "READY", 0.1)
        monkeypatch.setattr(InPod, "_make", lambda *_: None)
        monkeypatch.setattr("secrets.token_hex", lambda _: "a")
        place.start(SIGN)


# --- on a node -----------------------------------------------------------------------------------------------------


def on_node(*, network: bool) -> OnNode:
    return OnNode(Place(), "n", "p", "u", "app", "c1", "node", "i", network, "helpers")


def test_for_links_any_container_of_the_pod_will_do_and_the_pod_itself(server: Server) -> None:
    link, container = on_node(network=True), on_node(network=False)
    assert (link._joined(), container._joined()) == (["--container", "c1", "u"], ["--container", "c1"])
    server.container("c2")
    assert (link._joined(), container._joined()) == (["--container", "c2", "u"], ["--container", "c1"])
    server.container("c2", runs=False)
    assert (link._joined(), container._joined()) == (["--container", "c1", "u"], ["--container", "c1"])


def test_a_container_that_ends_under_a_new_helper_is_not_the_pod_s_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> bool:
        raise Gone("no process of it runs")

    stopped: list[str] = []
    for name, does in {"_make": lambda *_: None, "_runs": absent, "stop": lambda _, one: stopped.append(one)}.items():
        monkeypatch.setattr(OnNode, name, does)
    with pytest.raises(Unavailable, match="no process of it runs; pod p is there all the same"):
        on_node(network=True).start(SIGN)
    with pytest.raises(Gone, match="no process of it runs"):
        on_node(network=False).start(SIGN)
    assert len(stopped) == 2
    server.pod["metadata"]["deletionTimestamp"] = "soon"
    with pytest.raises(Gone, match="is being deleted"):
        on_node(network=True).start(SIGN)


def test_the_end_of_a_container_is_no_link_s(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "ENDING", 0.0)
    assert on_node(network=True).over() is None
    server.container("c2")
    assert on_node(network=True).over() is None
    server.pod["metadata"]["deletionTimestamp"] = "soon"
    assert "is being deleted" in str(on_node(network=True).over())


# --- where the platform tells nobody how a helper ended -------------------------------------------------------------


class Engine(beside.Beside):
    """A container whose helpers are gone when they have ended, as Docker's are."""

    def __init__(self) -> None:
        self.rules, self.programs = set[str](), list[Program]()

    def state(self) -> dict[str, Any]:
        return {}

    def start(self, sign: str) -> Helper:
        self.programs.append(program := Program(sign, self.rules))
        made = Helper(str(len(self.programs)), "h", sign, program)
        program.send(b'{"id": 0, "call": "ping"}\n')
        made.begin()
        return made

    def found(self, sign: str | None = None) -> list[Found]:
        living = [(number, one) for number, one in enumerate(self.programs, start=1) if one.code is None]
        return [Found(str(n), "h", one.here.sign) for n, one in living if sign in (None, one.here.sign)]

    def stop(self, identity: str) -> None:
        self.programs[int(identity) - 1].die(0)

    def ready(self) -> bool:
        return True

    def watch(self, tell: Callable[[Report], None]) -> Callable[[], None]:
        raise NotImplementedError

    def by_hand(self, sign: str) -> str:
        return f"end {sign}"

    def told(self, one: Found) -> str:
        return f"a helper of {one.sign}"


def contained(engine: Engine) -> ContainedNames:
    class Names(ContainedNames):
        @staticmethod
        def place(reference: Reference) -> Engine:  # noqa: ARG004
            return engine

    return Names(Reference(backend="b", name="l", identity={}))


@pytest.mark.parametrize("looks", [False, True])
def test_what_a_killed_helper_left_is_taken_out_whoever_looked_meanwhile(looks: bool) -> None:
    engine = Engine()
    target = contained(engine)
    target.arm(SIGN)
    target.mislead(SIGN, EFFECT, LONG)
    assert target.leftovers() == [f"names are answered; end it by: end {SIGN}"]
    engine.programs[0].die(137)
    ended(target)
    if looks:
        target.beside.call(SIGN, "ping")
    (told,) = target.leftovers()
    assert told.startswith(f"rules of {SIGN} are left; ")
    target.unmislead(SIGN)
    assert engine.rules == set()
    assert target.leftovers() == []
    assert len(engine.programs) == 2


def test_what_others_hold_is_undone_by_them_and_looked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    contained(engine).mislead(SIGN, EFFECT, LONG)
    another_process(monkeypatch)
    monkeypatch.setattr(beside, "GOING", 0.0)
    target = contained(engine)
    assert target.leftovers() == [f"a helper of {SIGN}"]
    target.unmislead(SIGN)
    assert engine.rules == set()
    assert [(one.here.sign, one.code) for one in engine.programs] == [(SIGN, 0), (beside.LOOK, None)]


def test_one_of_ours_that_undid_it_needs_nobody_after_it() -> None:
    engine = Engine()
    target = contained(engine)
    target.mislead(SIGN, EFFECT, LONG)
    assert target.beside.relieve(SIGN, "undo") is True
    engine.programs[0].die(137)
    ended(target)
    assert target.beside.relieve(SIGN, "undo") is False


# --- the kernel's side ---------------------------------------------------------------------------------------------


class Kernel:
    """What tc and iptables are told, and say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, shown: str = "", saved: str = "") -> None:
        self.told: list[str] = []
        self.shown, self.saved = shown, saved
        monkeypatch.setattr(netem, "run", self._run)
        monkeypatch.setattr(netfilter, "run", self._run)

    def _run(self, command: list[str]) -> str:
        self.told.append(" ".join(command))
        if command[:3] == ["tc", "qdisc", "show"]:
            return self.shown
        return self.saved if command[0] == "iptables-save" else ""

    def changes(self) -> list[str]:
        return [one for one in self.told if "show" not in one and "save" not in one]


def shown(device: str, sign: str) -> str:
    return (
        f"qdisc htb 7c0a: dev {device} root refcnt 2 r2q 10 default 0 direct_packets_stat 0\n"
        f"qdisc netem 7c0b: dev {device} parent 7c0a:{netem.number(sign)} limit 100000 delay 500ms\n"
    )


FOREIGN = "qdisc noqueue 0: dev lo root refcnt 2\nqdisc htb 7c0a: dev eth9 root refcnt 2 r2q 10 default 0\n"
SAVED = f"""*nat
-A OUTPUT -p udp -m udp --dport 53 -m comment --comment {SIGN} -j REDIRECT --to-ports 9
COMMIT
*filter
-A INPUT -p tcp -m comment --comment vc-run-2 -j NFQUEUE --queue-num 7 --queue-bypass
COMMIT
"""


def test_netem_of_a_killed_helper_is_taken_out_and_nobody_else_s(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, shown("eth0", SIGN) + FOREIGN + shown("eth1", "vc-run-2"))
    wire.remove(SIGN)
    assert kernel.changes() == ["tc qdisc del dev eth0 root"]


def test_what_is_left_is_told_with_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch, shown("eth0", SIGN) + shown("eth1", "vc-run-3"), SAVED)
    place = "left in its network namespace"
    names = f"rules of {SIGN} are {place}, and lead questions to name servers to nobody"
    queued = f"rules of vc-run-2 are {place}, without effect"
    emulated = [f"netem is {place}, at work on eth{number}" for number in (0, 1)]
    assert wire.left() == [names, queued, *emulated]
    assert wire.left([SIGN]) == [queued, emulated[1]]
    assert wire.left([SIGN, "vc-run-2", "vc-run-3"]) == []


def test_netem_that_could_not_be_put_takes_out_its_own_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for failing, undone in (("root handle", False), ("netem", True)):
        told: list[str] = []

        def run(command: list[str], failing: str = failing, told: list[str] = told) -> str:
            told.append(" ".join(command))
            if failing in told[-1]:
                raise TargetError("no")
            return ""

        monkeypatch.setattr(netem, "run", run)
        with pytest.raises(TargetError):
            netem.put("eth0", netfilter.Peer(("10.0.0.7",), 7), SIGN, netem.losing(0.5))
        assert ("tc qdisc del dev eth0 root" in told) is undone


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Path]:
    """Programs that write down what they are told; the rule they show is there until it is deleted."""
    said = tmp_path / "said"
    said.touch()
    rule = f"-A OUTPUT -p udp --dport 53 -m comment --comment {SIGN} -j REDIRECT --to-ports 9"
    shows = f'grep -q -- " -D " {said} || printf "*nat\\n{rule}\\n"'
    for name, does in {"iptables-save": shows, "iptables": f'echo "$0 $*" >> {said}'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
    for name in ("ip6tables-save", "tc"):
        (tmp_path / name).write_text("#!/bin/sh\n")
    for name in ("iptables-save", "iptables", "ip6tables-save", "tc"):
        (tmp_path / name).chmod(0o755)
    yield tmp_path


@pytest.mark.parametrize(("sign", "takes"), [(SIGN, True), ("vc-run-2", False)])
def test_the_program_for_a_network_ends_when_told_and_leaves_nothing_of_its_sign(
    tools: Path, monkeypatch: pytest.MonkeyPatch, sign: str, takes: bool
) -> None:
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    command = [sys.executable, "-m", "veloz_chaos.mechanisms.helper", sign, "--network"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin
        assert program.stdout
        assert json.loads(program.stdout.readline())["value"]["pid"] == program.pid  # it has no target
        program.stdin.write('{"id": 1, "call": "end"}\n')
        program.stdin.flush()
        assert json.loads(program.stdout.readline()) == {"id": 1, "value": None}
        assert program.wait(10) == 0
    assert (f"-t nat -D OUTPUT -p udp --dport 53 -m comment --comment {SIGN} " in (tools / "said").read_text()) is takes
