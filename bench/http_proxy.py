"""What the HTTP fault proxy adds to a request's latency while no fault is on it: pairs, direct and through it.

    python -m bench.http_proxy [--rate 1000] [--seconds 10] [--rounds 5]

Open loop: requests are due at fixed instants and counted from then, over kept connections, so that a stall counts.
The upstream is a raw asyncio server in a process of its own, the proxy is the product's command in another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench import stand
from tests.infra.toxiproxy import free_port

BODY = b'{"symbol":"BTCUSDT","price":"67000.01000000"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
REQUEST = b"GET /api/v3/ticker/price HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n"
CONNECTIONS = 32


class Upstream(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


class Client(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, free: list[Client], seconds: list[float]) -> None:
        self.free, self.seconds, self.due, self.came = free, seconds, 0.0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, due: float) -> None:
        self.due, self.came = due, 0
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self.came += len(data)
        if self.came >= len(ANSWER):
            self.seconds.append(time.monotonic() - self.due)
            self.free.append(self)


async def serve_upstream(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


async def drive(port: int, rate: int, seconds: float, host: str = "127.0.0.1") -> list[float]:
    """Seconds from due to answered, of every request."""
    free: list[Client] = []
    measured: list[float] = []
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        _, client = await loop.create_connection(lambda: Client(free, measured), host, port)
        client.ask(time.monotonic())
    await asyncio.sleep(0.3)
    measured.clear()
    begun, total = time.monotonic(), round(rate * seconds)
    for number in range(total):
        due = begun + number / rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        while not free:
            await asyncio.sleep(0)
        free.pop().ask(due)
    while len(measured) < total:
        await asyncio.sleep(0.01)
    for client in free:
        client.transport.close()
    return measured


@contextmanager
def running(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=stand.ROOT)
    assert process.stdout
    try:
        process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.wait()


def row(way: str, round_: int, rate: int, seconds: list[float]) -> dict[str, Any]:
    cuts = statistics.quantiles(seconds, n=1000)
    told = {name: round(cuts[at] * 1000, 4) for name, at in (("p50_ms", 499), ("p90_ms", 899), ("p99_ms", 989))}
    return {"way": way, "round": round_, "rate": rate, "requests": len(seconds), **told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--upstream", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.upstream:
        asyncio.run(serve_upstream(options.upstream))
        return
    upstream, listen, api = free_port(), free_port(), free_port()
    place = f"x=127.0.0.1:{listen}->http://127.0.0.1:{upstream}"
    proxy = [*stand.PRODUCT, "proxy", "--api", f"127.0.0.1:{api}", "--http", place]
    rows = []
    with running(sys.executable, "-m", "bench.http_proxy", "--upstream", str(upstream)), running(*proxy):
        for number in range(options.rounds):
            for way, port in (("direct", upstream), ("proxy", listen)):
                seconds = asyncio.run(drive(port, options.rate, options.seconds))
                rows.append(row(way, number, options.rate, seconds))
                print(json.dumps(rows[-1]), flush=True)
    for figure in ("p50_ms", "p99_ms"):
        pairs = zip(rows[::2], rows[1::2], strict=True)
        print("added", figure, stand.spread(through[figure] - direct[figure] for direct, through in pairs))
    print(stand.keep("http_proxy", rows))


if __name__ == "__main__":
    main()
