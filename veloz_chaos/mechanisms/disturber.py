"""The process that disturbs a link: it gives the verdict on every packet that the rules send to its queue.

    python -m veloz_chaos.mechanisms.disturber NUMBER MARK KIND ARGUMENTS

It says the number of its queue on stdout when it listens (the first free one from NUMBER on), and ends with its stdin,
when what it still holds passes at once. Should it be killed, the kernel drops what it held and lets the rest pass.
"""

from __future__ import annotations

import errno
import heapq
import json
import os
import select
import sys
import time

from veloz_chaos.mechanisms import packet as packets
from veloz_chaos.mechanisms.disturbance import KINDS, PASS, Decision, Policy
from veloz_chaos.mechanisms.nfqueue import DROP, REPEAT, Queue, Queued

#: The mark by which a rule knows what to answer with a reset.
REJECTED = 1 << 28
#: How many queues are tried.
TRIES = 64


class Disturber:
    def __init__(self, queue: Queue, policy: Policy, mark: int) -> None:
        self._queue, self._policy, self._mark = queue, policy, mark
        self._held: list[tuple[float, int, Queued, Decision]] = []

    def run(self) -> None:
        while True:
            now = time.monotonic()
            wait = max(0.0, self._held[0][0] - now) if self._held else None
            ready, _, _ = select.select([self._queue.fileno(), 0], [], [], wait)
            if self._queue.fileno() in ready:
                self._take()
            self._release(time.monotonic())
            if 0 in ready and not os.read(0, 4096):
                self._take()
                self._release(float("inf"))
                return

    def _take(self) -> None:
        for one in self._queue.packets():
            now = time.monotonic()
            packet = packets.read(one.data)
            decision = self._policy(packet, one.hook, now) if packet else PASS
            if decision.at > now:
                heapq.heappush(self._held, (decision.at, one.number, one, decision))
            else:
                self._answer(one, decision)

    def _release(self, now: float) -> None:
        while self._held and self._held[0][0] <= now:
            *_, one, decision = heapq.heappop(self._held)
            self._answer(one, decision if now != float("inf") else PASS)

    def _answer(self, one: Queued, decision: Decision) -> None:
        if decision.what == "drop":
            self._queue.answer(one.number, DROP)
            return
        mark, data = one.mark | self._mark, None
        if decision.what == "reject":
            mark |= REJECTED
        elif decision.what == "reset" and (packet := packets.read(one.data)):
            data = packets.reset(packet)
        self._queue.answer(one.number, REPEAT, mark, data)


def listening(number: int) -> Queue:
    """The first queue from that one on that nobody listens to."""
    for tried in range(number, number + TRIES):
        try:
            return Queue(tried)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EPERM) or tried == number + TRIES - 1:
                raise
    raise AssertionError("unreachable")


def main(arguments: list[str]) -> None:
    number, mark, kind, given = arguments[1:5]
    queue = listening(int(number))
    os.write(1, f"{queue.number}\n".encode())
    Disturber(queue, KINDS[kind](**json.loads(given)), int(mark)).run()


if __name__ == "__main__":
    main(sys.argv)
