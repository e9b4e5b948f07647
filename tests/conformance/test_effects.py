"""What each fault does to real traffic, measured by sockets of the test's own."""

from __future__ import annotations

import socket
import subprocess
import time
from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.conformance.conftest import Start
from tests.conformance.pairs import prepared
from tests.conformance.rigs import LINKS, LinkRig, ProcessRig
from tests.infra.upstreams import BODY
from veloz_chaos.core.capability import Killable, Pausable
from veloz_chaos.faults.bandwidth import Bandwidth
from veloz_chaos.faults.kill import Kill
from veloz_chaos.faults.latency import Latency
from veloz_chaos.faults.partition import Partition
from veloz_chaos.faults.pause import Pause
from veloz_chaos.faults.reset import Reset

links = pytest.mark.parametrize("kind", LINKS)
SILENCE, PATIENCE = 0.4, 20.0


def ask(connection: socket.socket, rig: LinkRig, timeout: float = PATIENCE) -> float | None:
    """Seconds to the whole answer over a connection; None for silence. Raises ConnectionResetError, on EOF as well."""
    connection.settimeout(timeout)
    begun, answer = time.monotonic(), b""
    connection.sendall(rig.send)
    try:
        while BODY not in answer:
            if not (piece := connection.recv(65536)):
                raise ConnectionResetError("closed")
            answer += piece
    except TimeoutError:
        return None
    return time.monotonic() - begun


def linked(start: Start, kind: type[LinkRig]) -> tuple[LinkRig, Any, socket.socket]:
    """A rig, its target, and a connection that has been used before the fault."""
    rig = start(kind)
    assert isinstance(rig, LinkRig)
    target, connection = rig.target(), rig.dial()
    assert ask(connection, rig) is not None
    rig.stack.enter_context(connection)
    return rig, target, connection


@links
def test_latency_delays_existing_and_new_connections(kind: type[LinkRig], start: Start) -> None:
    rig, target, existing = linked(start, kind)
    fault = Latency(delay=timedelta(milliseconds=300))
    receipt = prepared(fault, target)
    fault.inject(target, receipt)
    for connection in (existing, rig.dial()):
        took = [seconds for _ in range(3) if (seconds := ask(connection, rig)) is not None]
        assert len(took) == 3
        assert 0.29 <= min(took) < 2.0  # a busy machine slows some, and hastens none
    fault.revert(target, receipt)
    assert ask(existing, rig) is not None


@links
def test_bandwidth_is_about_what_was_asked(kind: type[LinkRig], start: Start) -> None:
    _, target, _ = linked(start, kind)
    fault = TypeAdapter(Bandwidth).validate_python({"rate": "20KB/s"})
    receipt = prepared(fault, target)
    fault.inject(target, receipt)
    rates = []
    for _ in range(3):
        passage = target.pass_through(40, timedelta(seconds=PATIENCE))
        assert passage.outcome == "answered"
        rates.append(passage.received / passage.seconds)
    assert 8_000 <= max(rates) <= 25_000  # a busy machine slows some, and hastens none


@links
def test_a_silent_partition_silences_existing_and_new_connections(kind: type[LinkRig], start: Start) -> None:
    rig, target, existing = linked(start, kind)
    fault = Partition()
    receipt = prepared(fault, target)
    fault.inject(target, receipt)
    for connection in (existing, rig.dial()):
        assert ask(connection, rig, SILENCE) is None
    fault.revert(target, receipt)
    with rig.dial() as fresh:
        assert ask(fresh, rig) is not None


@links
@pytest.mark.parametrize("fault", [Partition(how="reset"), Reset()])
def test_resets_end_existing_connections_and_reset_new_ones(
    kind: type[LinkRig], fault: Partition | Reset, start: Start
) -> None:
    rig, target, existing = linked(start, kind)
    receipt = prepared(fault, target)
    fault.inject(target, receipt)
    for connection in (existing, rig.dial()):
        with pytest.raises(ConnectionResetError):
            ask(connection, rig)
    fault.revert(target, receipt)
    with rig.dial() as fresh:
        assert ask(fresh, rig) is not None


@links
def test_a_late_reset_comes_late_and_can_be_taken_out_while_it_waits(kind: type[LinkRig], start: Start) -> None:
    rig, target, existing = linked(start, kind)
    fault = Reset(after=timedelta(seconds=15))
    receipt = prepared(fault, target)
    fault.inject(target, receipt)
    assert ask(existing, rig, SILENCE) is None
    fault.revert(target, receipt)
    assert rig.traces() == []


def test_a_kill_is_a_kill(start: Start) -> None:
    rig = start(ProcessRig)
    assert isinstance(rig, ProcessRig)
    target = rig.target()
    assert isinstance(target, Killable)
    Kill().inject(target, {})
    assert rig.child.wait(PATIENCE) == -9


def test_a_paused_process_is_silent_until_it_is_resumed(start: Start) -> None:
    rig = start(ProcessRig)
    assert isinstance(rig, ProcessRig)
    target, fault = rig.target(), Pause()
    assert isinstance(target, Pausable)
    receipt = prepared(fault, target)
    fault.inject(target, receipt)
    with socket.create_connection(("127.0.0.1", rig.port), PATIENCE) as connection:
        connection.sendall(b"PING\n")
        connection.settimeout(SILENCE)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        subprocess.run(fault.by_hand(str(target.reference), receipt).split(), check=True)
        connection.settimeout(PATIENCE)
        assert connection.recv(100) == b"PONG\n"
