"""One disturbance of a link, in the network namespace of its target: put in, and taken out again.

Delay and loss are netem's where the kernel has it and the device's root is free; everything else, and everywhere else
these too, is decided packet by packet by a process of ours (disturber.py) that the kernel asks through a queue. When
that process is gone, packets pass: no effect outlives it, even if its rules do. Netem, and rules that lead questions to
a name server of ours, work on when whoever put them in is killed.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from veloz_chaos.errors import TargetError, Unavailable
from veloz_chaos.mechanisms import conntrack, netem, netfilter
from veloz_chaos.mechanisms.disturbance import HOOKS
from veloz_chaos.mechanisms.netfilter import Peer

Kind = Literal["delay", "loss", "rate", "sever", "reset"]
_CODE = Path(__file__).parents[2]
#: Seconds until the process must listen, and until it must have ended.
READY = 5.0
#: The bits of a packet's mark that are ours to take.
BITS = range(16, 28)


def mechanism(kind: Kind, peer: Peer) -> Literal["netem", "NFQUEUE"]:
    """How this kind would be done here. Raises TargetError."""
    if kind not in ("delay", "loss") or peer.inbound or not netem.there():
        return "NFQUEUE"
    devices = {netem.device(address) for address in peer.addresses}
    return "netem" if len(devices) == 1 and netem.free(devices.pop()) else "NFQUEUE"


class Wire:
    """`queue`: never netem, which would outlive us if we are killed."""

    def __init__(self, peer: Peer, sign: str, *, queue: bool = False) -> None:
        self.peer, self.sign, self._only_queue = peer, sign, queue
        self._process: subprocess.Popen[bytes] | None = None
        self._netem = False

    def put(self, kind: Kind, given: dict[str, Any]) -> None:
        """`given`: the fields of the kind in disturbance.py. Raises TargetError; then nothing is left."""
        try:
            with _mark() as mark:
                if not self._only_queue and mechanism(kind, self.peer) == "netem":
                    self._netem = True
                    effect = netem.delaying(**given) if kind == "delay" else netem.losing(**given)
                    netem.put(netem.device(self.peer.addresses[0]), self.peer, self.sign, effect)
                else:
                    self._queue(kind, given, mark)
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """The rules first, so that nothing new comes; then the process, which lets go of what it holds. Safe twice."""
        if self._netem:
            netem.remove(self.sign)
        netfilter.remove(self.sign)
        if self._process is not None:
            process, self._process = self._process, None
            _end(process)

    def _queue(self, kind: Kind, given: dict[str, Any], mark: int) -> None:
        number = 1024 + zlib.crc32(self.sign.encode()) % 60_000
        if kind in ("sever", "reset"):
            given = {**given, "inbound": self.peer.inbound}
        self._process = _started("disturber", str(number), str(mark), kind, json.dumps(given))
        rejects = kind == "sever" and given["how"] == "reset"
        queue = _listens(self._process)
        rules = list(netfilter.queueing(self.peer, HOOKS[kind], self.sign, queue, mark, resets=not rejects))
        netfilter.install([*(netfilter.rejecting(self.peer, self.sign) if rejects else ()), *rules])


class Names:
    """The target's questions to its name servers, answered by a process of ours (misleading.py)."""

    def __init__(self, server: str, sign: str) -> None:
        self.server, self.sign = server, sign
        self._process: subprocess.Popen[bytes] | None = None

    def put(self, effect: dict[str, Any]) -> None:
        """`effect`: the fields of a DnsEffect. Raises TargetError; then nothing is left."""
        try:
            with _mark() as mark:
                self._process = _started("misleading", self.server, str(mark), json.dumps(effect))
                netfilter.install(list(netfilter.redirecting(self.sign, _listens(self._process), mark)))
                conntrack.forget(netfilter.QUESTIONS)
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Safe twice."""
        netfilter.remove(self.sign)
        if self._process is not None:
            process, self._process = self._process, None
            _end(process)


def remove(sign: str) -> None:
    """What a helper that was killed has left. Safe twice."""
    netfilter.remove(sign)
    netem.remove(sign)


def left(spared: Collection[str] = ()) -> list[str]:
    """What is there of ours, but for those signs: a clause for each sign of rules, and for each device of netem's."""
    misled, place = netfilter.signs("nat"), "left in its network namespace"
    found = [
        f"rules of {sign} are {place}, "
        + ("and lead questions to name servers to nobody" if sign in misled else "without effect")
        for sign in netfilter.signs()
        if sign not in spared
    ]
    numbers = {netem.number(sign) for sign in spared}
    with suppress(TargetError):
        found += [f"netem is {place}, at work on {on}" for on, whose in netem.ours().items() if whose not in numbers]
    return found


@contextmanager
def _mark() -> Iterator[int]:
    """One that no rule of ours uses. Nobody else chooses one, nor the root of a device, before it is made use of."""
    with _alone():
        used = netfilter.marks()
        mark = next((1 << bit for bit in BITS if not used & 1 << bit), 0)
        if not mark:
            raise TargetError(f"{len(BITS)} disturbances are at work in this network namespace; take one out first")
        yield mark


@contextmanager
def _alone() -> Iterator[None]:
    """In this network namespace: a name without a file is given once in each, and is free again when we are dead."""
    deadline = time.monotonic() + netfilter.PATIENCE
    with socket.socket(socket.AF_UNIX) as held:
        while True:
            try:
                held.bind("\0veloz-chaos-mark")
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise Unavailable(f"another disturbance is being put in there: {error.strerror}") from None
            time.sleep(0.01)
        yield


def _started(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", f"veloz_chaos.mechanisms.{module}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_CODE), *filter(None, [os.environ.get("PYTHONPATH")])])},
        start_new_session=True,
    )


def _listens(process: subprocess.Popen[bytes]) -> int:
    """The number of its queue, or of its port. Raises Unavailable with its last words."""
    assert process.stdout is not None
    assert process.stderr is not None
    if select.select([process.stdout], [], [], READY)[0] and (line := process.stdout.readline()):
        return int(line)
    process.kill()
    said = process.stderr.read().decode(errors="replace").strip().splitlines()
    raise Unavailable(f"the process that disturbs can't start: {said[-1] if said else 'no word of why'}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    try:
        process.wait(READY)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
