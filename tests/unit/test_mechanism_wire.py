"""The pure parts of disturbing a wire: policies, packets, and the words for iptables and tc."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress

import pytest

from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms import netem, netfilter, packet
from veloz_chaos.mechanisms.disturbance import Delay, Rate, ResetAfter, Sever
from veloz_chaos.mechanisms.netfilter import Peer
from veloz_chaos.mechanisms.nfqueue import IN, OUT, attribute, attributes
from veloz_chaos.mechanisms.packet import ACK, RST, SYN, Packet
from veloz_chaos.mechanisms.wire import Wire

PEER = Peer(("10.0.0.7", "fd00::7"), 7000)
ASKED = Packet(b"near", b"far!", 40000, 7000, 10, 20, ACK, 5, 45)
TOLD = Packet(b"far!", b"near", 7000, 40000, 20, 15, ACK, 5, 45)
OPENS = Packet(b"near", b"far!", 40000, 7000, 9, 0, SYN, 0, 40)


def test_netem_hurts_the_peers_packets_alone() -> None:
    said = [" ".join(command) for command in netem.commands("eth0", PEER, "vc-1", netem.delaying(0.1, 0.02))]
    number = netem.number("vc-1")
    assert said == [
        "tc qdisc add dev eth0 root handle 7c0a: htb",
        f"tc class add dev eth0 parent 7c0a: classid 7c0a:{number} htb rate 10gbit",
        f"tc qdisc add dev eth0 parent 7c0a:{number} handle 7c0b: netem limit 100000 delay 100000us 20000us",
        "tc filter add dev eth0 parent 7c0a: protocol ip prio 1 u32 match ip dst 10.0.0.7/32 "
        f"match ip dport 7000 0xffff flowid 7c0a:{number}",
        "tc filter add dev eth0 parent 7c0a: protocol ipv6 prio 2 u32 match ip6 dst fd00::7/128 "
        f"match ip6 dport 7000 0xffff flowid 7c0a:{number}",
    ]
    assert netem.losing(0.125) == ["loss", "12.5000%"]
    assert number != netem.number("vc-2")


RULE = ["-m", "comment", "--comment", "vc-1", "-j", "ACCEPT"]


class System:
    """Its rules and its root, and who comes first with `removes` of them."""

    def __init__(self, removes: bool) -> None:
        self.rules, self.root, self._removes = ["-A INPUT " + " ".join(RULE)], "7c0b:", removes

    def run(self, command: list[str]) -> str:
        if "-D" in command or "del" in command:
            if self._removes:
                self.rules, self.root = [], ""
            raise TargetError("no such thing, or locked")
        if command == ["iptables-save"]:
            return "\n".join(["*filter", *self.rules])
        root = "qdisc htb 7c0a: dev eth0 root refcnt 2"
        effect = f"qdisc netem {self.root} dev eth0 parent 7c0a:{netem.number('vc-1')} limit 9"
        return f"{root}\n{effect}" if command[0] == "tc" and self.root else ""


@pytest.mark.parametrize("remove", [netfilter.remove, netem.remove])
def test_what_another_one_removes_meanwhile_is_removed(
    remove: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for removes in (True, False):
        system = System(removes)
        for module in (netfilter, netem):
            monkeypatch.setattr(module, "run", system.run)
        with nullcontext() if removes else pytest.raises(TargetError, match="locked"):
            remove("vc-1")


def test_of_two_at_once_one_has_the_root_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    put, both = list[str](), threading.Barrier(2)

    def free(_: str) -> bool:
        found = not put
        with suppress(threading.BrokenBarrierError):
            both.wait(0.3)
        return found

    def root(*_: object) -> None:
        if put:
            raise TargetError("File exists")
        put.append("netem")

    for name, does in {"there": lambda: True, "device": lambda _: "eth0", "free": free, "put": root}.items():
        monkeypatch.setattr(netem, name, does)
    monkeypatch.setattr(netfilter, "marks", lambda: 0)
    monkeypatch.setattr(Wire, "_queue", lambda *_: put.append("NFQUEUE"))
    monkeypatch.setattr(Wire, "undo", lambda _: None)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda sign: Wire(PEER, sign).put("loss", {"share": 0.5}), ["vc-1", "vc-2"]))
    assert put == ["netem", "NFQUEUE"]


def test_rules_send_each_packet_to_the_queue_once() -> None:
    rules = list(netfilter.queueing(PEER, (IN, OUT), "vc-1", 77, 1 << 16))
    assert [" ".join(rule.insert()) for rule in rules][:2] == [
        "iptables -w 5 -t filter -I INPUT 1 -p tcp -s 10.0.0.7 --sport 7000 -m mark ! --mark 0x10000/0x10000 "
        "-m comment --comment vc-1 -j NFQUEUE --queue-num 77 --queue-bypass",
        "iptables -w 5 -t filter -I OUTPUT 1 -p tcp -d 10.0.0.7 --dport 7000 -m mark ! --mark 0x10000/0x10000 "
        "-m comment --comment vc-1 -j NFQUEUE --queue-num 77 --queue-bypass",
    ]
    assert [rule.family for rule in rules] == [4, 4, 6, 6]


def test_from_outside_loopback_is_spared() -> None:
    rules = [" ".join(rule.words) for rule in netfilter.queueing(Peer((), 80, inbound=True), (IN, OUT), "vc-1", 1, 1)]
    assert rules[0].startswith("! -i lo -p tcp --dport 80 ")
    assert rules[1].startswith("! -o lo -p tcp --sport 80 ")


def test_a_delay_keeps_the_order_of_a_connection() -> None:
    policy = Delay(0.1, 0.1)
    at = [policy(TOLD, IN, now / 1000).at for now in range(50)]
    assert at == sorted(at)


def test_a_rate_makes_the_rest_wait() -> None:
    policy = Rate(450.0)
    last = [policy(TOLD, IN, 0.0).at for _ in range(10)][-1]
    assert last == pytest.approx(1.0, abs=0.05)
    assert policy(ASKED, OUT, 0.0).at < 0.2


def test_a_cut_of_new_connections_knows_them_by_their_beginning() -> None:
    policy = Sever("silent", "new", inbound=False)
    assert policy(ASKED, OUT, 0.0).what == "pass"
    assert policy(OPENS, OUT, 0.0).what == "drop"
    assert policy(TOLD, IN, 0.0).what == "drop"


def test_a_reset_waits_from_the_first_data_on() -> None:
    policy = ResetAfter(0.5, inbound=False)
    assert policy(OPENS, OUT, 0.0).what == "pass"
    assert policy(ASKED, OUT, 1.0).what == "pass"
    answer = policy(TOLD, IN, 1.2)
    assert (answer.what, answer.at) == ("reset", 1.5)
    assert policy(TOLD, IN, 1.3).what == "drop"


@pytest.mark.parametrize("size", [4, 16])
def test_a_reset_is_the_same_senders_and_sound(size: int) -> None:
    sent = Packet(bytes(range(size)), bytes(range(1, size + 1)), 7000, 40000, 123, 456, ACK, 9, 99)
    data = packet.reset(sent)
    found = packet.read(data)
    assert found is not None
    assert (found.source, found.target, found.source_port, found.target_port) == (
        sent.source, sent.target, 7000, 40000,
    )  # fmt: skip
    assert (found.sequence, found.flags, found.payload) == (123, RST | ACK, 0)
    if size == 4:
        assert packet.checksum(data[:20]) == 0


def test_what_is_no_packet_is_left_alone() -> None:
    assert packet.read(b"") is None
    assert packet.read(b"\x45") is None


def test_attributes_are_read_as_they_were_written() -> None:
    assert attributes(attribute(3, b"abc") + attribute(10, b"")) == {3: b"abc", 10: b""}
