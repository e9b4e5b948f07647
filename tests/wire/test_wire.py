"""Disturbances on a real wire between two network namespaces."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from tests.infra.containers import until
from tests.infra.require import absent
from tests.wire import namespaces
from tests.wire.namespaces import Far
from veloz_chaos.core.capability import Passage
from veloz_chaos.mechanisms import netfilter, traffic, wire
from veloz_chaos.mechanisms.netfilter import Peer
from veloz_chaos.mechanisms.wire import Names, Wire

SIGN = "vc-test-wire-1"
LINE = traffic.Line("PING\n", "PONG")
#: Seconds until an answer that comes is there, however busy the machine is; and far less, for what comes at once.
PATIENCE, SOON = 20.0, 5.0
pytestmark = pytest.mark.root


@pytest.fixture
def far() -> Iterator[Far]:
    if os.geteuid() != 0:
        absent("root", "network namespaces need it")
    with namespaces.near() as found:
        yield found


@pytest.fixture
def disturb(far: Far) -> Iterator[Callable[..., Wire]]:
    made: list[Wire] = []

    def put(kind: wire.Kind, sign: str = SIGN, address: str = far.four, **given: object) -> Wire:
        made.append(Wire(Peer((address,), far.port), sign))
        made[-1].put(kind, given)
        return made[-1]

    yield put
    for one in made:
        one.undo()
    assert wire.left() == []


def ping(far: Far, timeout: float = PATIENCE, address: str = "", pings: int = 1) -> Passage:
    return traffic.pass_through((address or far.four, far.port), LINE, pings, timeout)


def quickest(far: Far, address: str = "") -> float:
    """Seconds of one of several that nothing but the wire held up: a busy machine slows some, and hastens none."""
    return min(ping(far, address=address).seconds for _ in range(9))


def test_a_delay_is_what_was_asked(far: Far, disturb: Callable[..., Wire]) -> None:
    assert quickest(far) < 0.1
    disturb("delay", delay=0.1)
    assert 0.1 <= quickest(far) < 0.5


def test_an_undone_delay_is_gone(far: Far, disturb: Callable[..., Wire]) -> None:
    disturb("delay", delay=0.5).undo()
    assert quickest(far) < 0.5


def test_existing_connections_are_delayed_too(far: Far, disturb: Callable[..., Wire]) -> None:
    with socket.create_connection((far.four, far.port), PATIENCE) as old:
        disturb("delay", delay=0.3)
        begun = time.monotonic()
        old.sendall(b"PING\n")
        assert old.recv(10) == b"PONG\n"
        assert time.monotonic() - begun >= 0.3


def test_the_order_of_a_connection_survives_jitter(far: Far, disturb: Callable[..., Wire]) -> None:
    disturb("delay", delay=0.05, jitter=0.05)
    with socket.create_connection((far.four, far.port), PATIENCE) as connection:
        for size in (3, 5, 7):
            connection.sendall(b"GET %d\n" % size)
        data = b""
        while len(data) < 18:
            data += connection.recv(100)
    assert [len(piece) for piece in data.split(b"\n")] == [3, 5, 7, 0]


def test_loss_hits_about_its_share(far: Far, disturb: Callable[..., Wire]) -> None:
    disturb("loss", share=0.5)
    outcomes = [traffic.handshake((far.four, far.port), 0.2).outcome for _ in range(40)]
    assert set(outcomes) == {"answered", "silent"}
    assert 5 < outcomes.count("silent") < 35


def test_a_rate_bounds_what_comes(far: Far, disturb: Callable[..., Wire]) -> None:
    disturb("rate", rate=100_000)
    assert _download(far, 50_000) >= 0.45


def test_a_rate_bounds_what_is_sent(far: Far, disturb: Callable[..., Wire]) -> None:
    disturb("rate", rate=100_000)
    with socket.create_connection((far.four, far.port), PATIENCE) as connection:
        begun = time.monotonic()
        connection.sendall(b"x" * 50_000 + b"\nPING\n")
        assert connection.recv(10) == b"PONG\n"
        assert time.monotonic() - begun >= 0.45


def _download(far: Far, size: int) -> float:
    with socket.create_connection((far.four, far.port), PATIENCE) as connection:
        begun = time.monotonic()
        connection.sendall(b"GET %d\n" % size)
        while size >= 0:
            size -= len(connection.recv(65536))
        return time.monotonic() - begun


def test_a_silent_cut_swallows_all(far: Far, disturb: Callable[..., Wire]) -> None:
    with socket.create_connection((far.four, far.port), PATIENCE) as old:
        disturb("sever", how="silent", connections="all")
        assert ping(far, 0.3).outcome == "silent"
        old.settimeout(0.3)
        old.sendall(b"PING\n")
        with pytest.raises(TimeoutError):
            old.recv(10)


def test_a_cut_of_new_connections_spares_the_old(far: Far, disturb: Callable[..., Wire]) -> None:
    with socket.create_connection((far.four, far.port), PATIENCE) as old:
        disturb("sever", how="silent", connections="new")
        assert ping(far, 0.3).outcome == "silent"
        old.sendall(b"PING\n")
        assert old.recv(10) == b"PONG\n"


@pytest.mark.parametrize("connections", ["all", "new"])
def test_a_cut_by_resets_answers_at_once(far: Far, disturb: Callable[..., Wire], connections: str) -> None:
    disturb("sever", how="reset", connections=connections)
    passage = ping(far)
    assert passage.outcome in ("refused", "reset")
    assert passage.seconds < SOON


def test_a_cut_by_resets_ends_existing_connections(far: Far, disturb: Callable[..., Wire]) -> None:
    with socket.create_connection((far.four, far.port), PATIENCE) as old:
        disturb("sever", how="reset", connections="all")
        old.sendall(b"PING\n")
        with pytest.raises(ConnectionError):
            old.recv(10)


@pytest.mark.parametrize("after", [0.0, 0.3])
def test_a_reset_comes_in_the_answers_place(far: Far, disturb: Callable[..., Wire], after: float) -> None:
    disturb("reset", after=after)
    passage = ping(far)
    assert passage.outcome == "reset"
    assert after <= passage.seconds < after + SOON


def test_ipv6_fares_alike(far: Far, disturb: Callable[..., Wire]) -> None:
    disturb("delay", address=far.six, delay=0.3)
    assert quickest(far, far.six) >= 0.3
    assert quickest(far) < 0.3
    disturb("sever", SIGN + "-cut", far.six, how="reset", connections="all")
    assert ping(far, address=far.six).outcome in ("refused", "reset")


def test_two_signs_add_up_and_are_taken_out_by_themselves(far: Far, disturb: Callable[..., Wire]) -> None:
    first = disturb("delay", delay=0.2)
    disturb("delay", SIGN + "-other", delay=0.3)
    assert quickest(far) >= 0.5
    first.undo()
    assert 0.3 <= quickest(far) < 0.5


def test_two_that_are_put_in_at_once_add_up_too(far: Far, disturb: Callable[..., Wire]) -> None:
    here, both = os.open("/proc/thread-self/ns/net", os.O_RDONLY), threading.Barrier(2)

    def put(sign: str) -> None:
        namespaces.enter(here)
        both.wait()
        disturb("delay", sign, delay=0.3)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(put, [SIGN, SIGN + "-other"]))
    os.close(here)
    assert quickest(far) >= 0.6


def test_when_the_process_is_killed_everything_passes(far: Far, disturb: Callable[..., Wire]) -> None:
    cut = disturb("sever", how="silent", connections="all")
    assert cut._process is not None
    cut._process.send_signal(signal.SIGKILL)
    cut._process.wait()
    assert ping(far).outcome == "answered"
    assert wire.left() == [f"rules of {SIGN} are left in its network namespace, without effect"]
    assert wire.left([SIGN]) == []
    wire.remove(SIGN)
    assert wire.left() == []


def test_another_ports_traffic_is_left_alone(far: Far) -> None:
    other = Wire(Peer((far.four,), far.port + 1), SIGN)
    other.put("sever", {"how": "silent", "connections": "all"})
    assert ping(far).outcome == "answered"
    other.undo()


def test_rules_of_others_stay(disturb: Callable[..., Wire]) -> None:
    theirs = ["-p", "tcp", "--dport", "9", "-m", "comment", "--comment", "vc-somebody-else", "-j", "ACCEPT"]
    subprocess.run(["iptables", "-A", "INPUT", *theirs], check=True)
    disturb("delay", delay=0.1).undo()
    assert netfilter.signs() == ["vc-somebody-else"]
    netfilter.remove("vc-somebody-else")


@pytest.mark.usefixtures("far")
def test_from_the_outside_loopback_is_spared() -> None:
    with socket.create_server(("0.0.0.0", 7100)):
        cut = Wire(Peer((), 7100, inbound=True), SIGN)
        cut.put("sever", {"how": "silent", "connections": "all"})
        assert traffic.handshake(("127.0.0.1", 7100), PATIENCE).outcome == "answered"
        cut.undo()


NAME_SERVER = """
import socket, dns.message
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
print("ready", flush=True)
while True:
    data, sender = server.recvfrom(4096)
    server.sendto(dns.message.make_response(dns.message.from_wire(data)).to_wire(), sender)
"""


def test_who_asks_from_one_port_all_the_time_is_misled_too_and_not_for_ever(far: Far) -> None:
    """As some resolvers do, where others redirect as well: an engine does it for its own name server."""
    theirs = ["-d", "127.0.0.11", "-p", "tcp", "--dport", "53", "-j", "DNAT", "--to-destination", "127.0.0.11:3333"]
    subprocess.run(["iptables", "-t", "nat", "-A", "OUTPUT", *theirs], check=True)
    command = ["ip", "netns", "exec", namespaces.name("far"), sys.executable, "-c", NAME_SERVER]
    names, asked = Names(far.four, SIGN), dns.message.make_query("a", "A").to_wire()

    def rcode(asker: socket.socket) -> str:
        asker.send(asked)
        return dns.rcode.to_text(dns.message.from_wire(asker.recv(4096)).rcode())

    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as server,
        ExitStack() as stack,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as old,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as new,
    ):
        stack.callback(server.kill)
        assert server.stdout
        server.stdout.readline()
        for asker in (old, new):
            asker.settimeout(PATIENCE)
            asker.connect((far.four, 53))
        assert rcode(old) == "NOERROR"
        names.put({"answer": "nxdomain", "names": ["a"]})
        assert [rcode(old), rcode(new)] == ["NXDOMAIN", "NXDOMAIN"]
        names.undo()
        assert [rcode(old), rcode(new)] == ["NOERROR", "NOERROR"]


#: One that takes its time, and tells that it has begun.
SLOW = """#!/bin/sh
case "$*" in *" -I "*) touch {begun}; sleep 1;; esac
exec {iptables} "$@"
"""


@pytest.mark.usefixtures("far")
def test_a_helper_that_ends_in_the_midst_of_it_leaves_nothing(tmp_path: Path) -> None:
    """Rules that lead questions to a name server of ours would work on."""
    begun, slow = tmp_path / "begun", tmp_path / "iptables"
    slow.write_text(SLOW.format(begun=begun, iptables=shutil.which("iptables")))
    slow.chmod(0o755)
    given = {"effect": {"answer": "nxdomain", "names": ["a"]}, "expires": 60}
    line = json.dumps({"id": 1, "call": "mislead", "arguments": given}).encode() + b"\n"
    command = [sys.executable, "-m", "veloz_chaos.mechanisms.helper", SIGN, str(os.getpid())]
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=path) as helper:
        assert helper.stdin
        helper.stdin.write(line)
        helper.stdin.flush()
        until(begun.exists)
        helper.stdin.close()
        helper.wait()
    time.sleep(2)  # whatever it has begun is over
    assert netfilter.signs() == []
