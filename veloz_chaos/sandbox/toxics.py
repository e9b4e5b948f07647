"""The toxics: each is a coroutine that moves chunks through one stage of a link, with the semantics of Toxiproxy 2.12.

A stage takes chunks with `receive` (None is the end of the stream), passes them on with `send`, and ends the link with
`close`. A toxic may be cancelled while it waits; what it had taken by then goes on undelayed, as in the original.
Source: toxics/*.go of github.com/Shopify/toxiproxy v2.12.0. Attributes are whole numbers; units as in each docstring.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

Attributes = Mapping[str, int]


class Chunk(NamedTuple):
    """Bytes, and the monotonic time at which they count as received."""

    data: bytes
    at: float


class Stage(Protocol):
    sent_bytes: int

    async def receive(self) -> Chunk | None: ...
    def send(self, chunk: Chunk) -> None: ...
    def keep(self, chunk: Chunk) -> None: ...
    def close(self, reset: bool = False) -> None: ...


async def noop(stage: Stage, _: Attributes) -> None:
    while chunk := await stage.receive():
        stage.send(chunk)
    stage.close()


async def latency(stage: Stage, attributes: Attributes) -> None:
    """Every chunk is passed on `latency` ± `jitter` milliseconds after it came."""
    while chunk := await stage.receive():
        jitter = attributes["jitter"]
        delay = attributes["latency"] + (random.randrange(-jitter, jitter) if jitter > 0 else 0)
        due = chunk.at + delay / 1000
        await asyncio.sleep(max(due - time.monotonic(), 0))
        stage.send(Chunk(chunk.data, due))
    stage.close()


async def bandwidth(stage: Stage, attributes: Attributes) -> None:
    """At most `rate` KB per second, in portions of a tenth of a second."""
    rate, debt = attributes["rate"], 0.0
    while chunk := await stage.receive():
        debt = debt + len(chunk.data) / rate / 1000 if rate > 0 else 0.0
        while rate > 0 and len(chunk.data) > rate * 100:
            await asyncio.sleep(0.1)
            stage.send(Chunk(chunk.data[: rate * 100], chunk.at))
            chunk = Chunk(chunk.data[rate * 100 :], chunk.at)
            stage.keep(chunk)
            debt -= 0.1
        begun = time.monotonic()
        await asyncio.sleep(max(debt, 0))
        debt -= time.monotonic() - begun
        stage.send(chunk)
    stage.close()


async def slow_close(stage: Stage, attributes: Attributes) -> None:
    """The end of the stream is passed on `delay` milliseconds late."""
    while chunk := await stage.receive():
        stage.send(chunk)
    await asyncio.sleep(attributes["delay"] / 1000)
    stage.close()


async def timeout(stage: Stage, attributes: Attributes) -> None:
    """Drops all data; closes after `timeout` milliseconds without data, or never if that is 0."""
    seconds = attributes["timeout"] / 1000 or None
    try:
        while await asyncio.wait_for(stage.receive(), seconds):
            pass
    except TimeoutError:
        pass
    stage.close()


async def reset_peer(stage: Stage, attributes: Attributes) -> None:
    """At the first data or end of stream, wait `timeout` milliseconds, then reset both ends.

    The original only closes, without RST, connections that are older than the toxic; here they are reset too.
    """
    await stage.receive()
    await asyncio.sleep(attributes["timeout"] / 1000)
    stage.close(reset=True)


async def slicer(stage: Stage, attributes: Attributes) -> None:
    """Chunks of `average_size` ± `size_variation` bytes, `delay` microseconds apart."""
    while chunk := await stage.receive():
        for start, end in slices(0, len(chunk.data), attributes["average_size"], attributes["size_variation"]):
            stage.send(Chunk(chunk.data[start:end], chunk.at))
            stage.keep(Chunk(chunk.data[end:], chunk.at))
            await asyncio.sleep(attributes["delay"] / 1_000_000)
        stage.keep(Chunk(b"", chunk.at))
    stage.close()


def slices(start: int, end: int, average: int, variation: int) -> list[tuple[int, int]]:
    """Split in about two until the pieces are about average."""
    if end - start - average <= variation or end - start < 2:
        return [(start, end)]
    offset = random.randrange(-variation, variation) if variation > 0 else 0
    middle = min(max(start + (end - start) // 2 + offset, start + 1), end - 1)
    return slices(start, middle, average, variation) + slices(middle, end, average, variation)


async def limit_data(stage: Stage, attributes: Attributes) -> None:
    """Closes after `bytes` bytes of this connection."""
    while chunk := await stage.receive():
        left = max(attributes["bytes"] - stage.sent_bytes, 0)
        if left:
            stage.send(Chunk(chunk.data[:left], chunk.at))
        if stage.sent_bytes >= attributes["bytes"]:
            break
    stage.close()


Pipe = Callable[[Stage, Attributes], Awaitable[None]]


class Kind(NamedTuple):
    """A type of toxic: its coroutine, the names of its attributes, and how many bytes may wait in it."""

    pipe: Pipe
    attributes: tuple[str, ...] = ()
    buffer: int = 0


KINDS: Mapping[str, Kind] = {
    "noop": Kind(noop),
    "latency": Kind(latency, ("latency", "jitter"), 32 << 20),
    "bandwidth": Kind(bandwidth, ("rate",)),
    "slow_close": Kind(slow_close, ("delay",)),
    "timeout": Kind(timeout, ("timeout",)),
    "reset_peer": Kind(reset_peer, ("timeout",)),
    "slicer": Kind(slicer, ("average_size", "size_variation", "delay")),
    "limit_data": Kind(limit_data, ("bytes",)),
}
