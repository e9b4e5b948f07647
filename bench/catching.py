"""Does `veloz-chaos catch` lose a notification: so many a second, of all three kinds, each with a name of its own.

    python -m bench.catching [--rate 1000] [--seconds 20] [--rounds 3]

Open loop over kept connections: a notification is due at a fixed instant and timed from then. Afterwards all that was
kept is read over the API, and every name must be there once. One more round goes as fast as 32 connections can.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import urlsplit

from bench import stand
from tests.catch.catching import Running, catching
from tests.unit.test_notification import default, event, group, listed
from veloz_chaos.mechanisms import proc

CONNECTIONS = 32
KINDS = ("slack", "pagerduty", "webhook")


def request(number: int) -> bytes:
    """As Alertmanager writes them; the alert's name is the number."""
    kind, name = KINDS[number % 3], f"Alert{number}"
    body = {
        "slack": lambda: default(f"[FIRING:1] {name} (engine-crash critical)"),
        "pagerduty": lambda: event("trigger", firing=listed(f"{name}/engine-crash")),
        "webhook": lambda: group(("firing", name, "engine-crash")),
    }[kind]()
    text = json.dumps(body).encode()
    head = (
        f"POST /{kind}/bench HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(text)}"
    )
    return f"{head}\r\n\r\n".encode() + text


class Client(asyncio.Protocol):
    """One request at a time; what was not answered with a success is `refused`."""

    def __init__(self, free: list[Client], seconds: list[float]) -> None:
        self.free, self.seconds, self.due, self.refused, self.came = free, seconds, 0.0, 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.free.append(self)

    def ask(self, wire: bytes, due: float) -> None:
        self.due, self.came = due, b""
        self.transport.write(wire)

    def data_received(self, data: bytes) -> None:
        self.came += data
        head, ended, body = self.came.partition(b"\r\n\r\n")
        if ended and len(body) >= int(head.lower().split(b"content-length:")[1].split()[0]):
            self.seconds.append(time.monotonic() - self.due)
            self.refused += not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202"))
            self.free.append(self)


async def drive(port: int, wires: list[bytes], rate: float) -> tuple[float, list[float], int]:
    """Seconds in all, seconds from due to answered of each, and how many were refused. Rate 0: as fast as can be."""
    free: list[Client] = []
    measured: list[float] = []
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(CONNECTIONS):
        _, client = await loop.create_connection(lambda: Client(free, measured), "127.0.0.1", port)
        client.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        clients.append(client)
    begun = time.monotonic()
    for number, wire in enumerate(wires):
        due = begun + number / rate if rate else time.monotonic()
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        while not free:
            await asyncio.sleep(0.0005)
        free.pop().ask(wire, due if rate else time.monotonic())
    while len(measured) < len(wires):
        await asyncio.sleep(0.005)
    took = time.monotonic() - begun
    for client in clients:
        client.transport.close()
    return took, measured, sum(client.refused for client in clients)


def names(running: Running) -> Iterator[str]:
    after = 0
    while found := running.caught(after):
        yield from (one["alerts"][0] for one in found)
        after = found[-1]["n"]


def read_away(screen: IO[str] | None) -> None:
    """What it prints, as a terminal would."""
    for _ in screen or ():
        pass


def once(rate: int, seconds: float, round_: int) -> dict[str, Any]:
    total = round(rate * seconds) if rate else 20_000
    wires = [request(number) for number in range(total)]
    with catching("--keep", str(total)) as running:
        threading.Thread(target=read_away, args=(running.process.stdout,), daemon=True).start()
        before = proc.on_cpu([running.process.pid])
        took, measured, refused = asyncio.run(drive(urlsplit(running.url).port or 0, wires, rate))
        used = proc.on_cpu([running.process.pid]) - before
        counts = Counter(names(running))
        status, memory = running.get("/api/status"), stand.resident(running.process.pid)
    cuts = statistics.quantiles(measured, n=100)
    return {
        "rate": rate or "as fast as it can", "round": round_, "notifications": total, "refused": refused,
        "lost": sum(f"Alert{number}" not in counts for number in range(total)),
        "twice": sum(count > 1 for count in counts.values()), "counted": status["last"],
        "cpu_us": round(used / total * 1e6), "per_second": round(total / took),
        "p50_ms": round(cuts[49] * 1000, 3), "p99_ms": round(cuts[98] * 1000, 3),
        "resident_mb": round(memory / 1024, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for number in range(options.rounds):
        rows.append(once(options.rate, options.seconds, number))
        print(json.dumps(rows[-1]), flush=True)
    rows.append(once(0, 0, options.rounds))
    print(json.dumps(rows[-1]), flush=True)
    print("lost", sum(row["lost"] + row["refused"] for row in rows), "of", sum(row["notifications"] for row in rows))
    print(stand.keep("catching", rows))


if __name__ == "__main__":
    main()
