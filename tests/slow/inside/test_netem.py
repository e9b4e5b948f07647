"""Delay and loss of a link by netem, in a kernel that has it, the way the helper container puts them in."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import pytest

from tests.wire import namespaces
from tests.wire.namespaces import Far
from veloz_chaos.mechanisms import netem, traffic, wire
from veloz_chaos.mechanisms.netfilter import Peer
from veloz_chaos.mechanisms.wire import Wire

SIGN = "vc-test-netem"
PATIENCE = 20.0


@pytest.fixture
def far() -> Iterator[Far]:
    with namespaces.near() as found:
        yield found


def seconds(far: Far) -> float:
    line = traffic.Line("PING\n", "PONG")
    return statistics.median(traffic.pass_through((far.four, far.port), line, 1, PATIENCE).seconds for _ in range(5))


def test_a_delay_is_what_was_asked_and_goes(far: Far) -> None:
    peer, usual = Peer((far.four,), far.port), seconds(far)
    assert wire.mechanism("delay", peer) == "netem"
    made = Wire(peer, SIGN)
    made.put("delay", {"delay": 0.5, "jitter": 0.0})
    assert netem.ours() == {netem.device(far.four): netem.number(SIGN)}
    assert seconds(far) >= usual / 2 + 0.5
    made.undo()
    assert netem.ours() == {}
    assert wire.left() == []
    assert seconds(far) < usual + 0.4


def test_what_a_killed_helper_left_is_taken_out_by_its_sign(far: Far) -> None:
    peer, device = Peer((far.four,), far.port), netem.device(far.four)
    netem.put(device, peer, SIGN, netem.delaying(0.5, 0.0))
    assert wire.left() == [f"netem is left in its network namespace, at work on {device}"]
    wire.remove(f"{SIGN}-other")
    assert netem.ours() == {device: netem.number(SIGN)}
    wire.remove(SIGN)
    assert wire.left() == []
    assert seconds(far) < 0.4


def test_the_link_alone_is_delayed(far: Far) -> None:
    made = Wire(Peer((far.four,), far.port + 1), SIGN)
    made.put("delay", {"delay": 1.0, "jitter": 0.0})
    assert seconds(far) < 1.0
    made.undo()


def test_what_is_lost_is_that_share(far: Far) -> None:
    made = Wire(Peer((far.four,), far.port), SIGN)
    assert wire.mechanism("loss", made.peer) == "netem"
    made.put("loss", {"share": 0.5})
    told = [traffic.handshake((far.four, far.port), 0.9) for _ in range(40)]
    made.undo()
    assert 5 < sum(one.outcome != "answered" for one in told) < 35
    assert all(traffic.handshake((far.four, far.port), 5).outcome == "answered" for _ in range(5))
