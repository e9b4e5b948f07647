"""One proxied connection: two links, one per direction, each a chain of stages through which the bytes flow.

With no toxic a link has no stage and what is received is written straight on. Toxics are added to, updated in and
removed from living connections: what a removed stage still held goes on at once, in order. The end of a stream closes
the other side whole, as Toxiproxy does; half-open connections do not exist here.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from veloz_chaos.sandbox.toxics import KINDS, Attributes, Chunk, Kind, noop

#: How many bytes may wait in a link before it stops reading, without what its toxics buffer themselves.
BACKLOG = 64 << 10
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Toxic:
    """`stream` is kept as it was given; `direction` is what it means: upstream (0) or downstream (1)."""

    name: str
    type: str
    stream: str
    direction: int
    toxicity: float
    attributes: dict[str, int] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return KINDS[self.type]


class LinkStage:
    """One toxic at work on one direction of one connection."""

    def __init__(self, link: Link, toxic: Toxic) -> None:
        self.link, self.toxic = link, toxic
        self.sent_bytes = self.waiting = 0
        self._queue: deque[Chunk] = deque()
        self._held: Chunk | None = None
        self._came = asyncio.Event()
        self._ended = self.closed = False
        self.start()

    def start(self) -> None:
        pipe = self.toxic.kind.pipe if random.random() < self.toxic.toxicity else noop
        attributes: Attributes = self.toxic.attributes
        self._task = asyncio.ensure_future(pipe(self, attributes))

    def put(self, chunk: Chunk) -> None:
        if not self.closed:
            self._queue.append(chunk)
            self.waiting += len(chunk.data)
            self._came.set()

    def end(self) -> None:
        self._ended = True
        self._came.set()

    async def receive(self) -> Chunk | None:
        while not self._queue and not self._ended:
            self._came.clear()
            await self._came.wait()
        if not self._queue:
            return None
        self._held = chunk = self._queue.popleft()
        self.waiting -= len(chunk.data)
        self.link.adjust_reading()
        return chunk

    def keep(self, chunk: Chunk) -> None:
        self._held = chunk

    def send(self, chunk: Chunk) -> None:
        self._held = None
        self.sent_bytes += len(chunk.data)
        self.link.pass_on(self, chunk)

    def close(self, reset: bool = False) -> None:
        self.closed = True
        self.link.pass_end_on(self, reset)

    def restart(self) -> None:
        """Run again with new attributes; what was being delayed goes on at once."""
        if not self.closed:
            self._task.cancel()
            self._flush_held()
            self.start()

    def remove(self) -> None:
        """Stop; pass on what was left. A removed timeout closes the connection, whose data it has swallowed."""
        self._task.cancel()
        if self.closed:
            return
        if self.toxic.type == "timeout" or (self.toxic.type == "reset_peer" and self._held):
            self.close(reset=self.toxic.type == "reset_peer")
            return
        self._flush_held()
        while self._queue:
            self.link.pass_on(self, self._queue.popleft())
        if self._ended:
            self.close()

    def stop(self) -> None:
        self._task.cancel()

    def _flush_held(self) -> None:
        if self._held and self._held.data:
            self.link.pass_on(self, self._held)
        self._held = None


class Link:
    """One direction of a connection: from the side that reads to the side that is written."""

    def __init__(self, source: asyncio.Transport, output: asyncio.Transport, toxics: Iterable[Toxic]) -> None:
        self.source, self.output = source, output
        self.output_full = self._reset = False
        self._stages: list[LinkStage] = []
        for toxic in toxics:
            self.add(toxic)

    def feed(self, data: bytes) -> None:
        if not self._stages:
            self.output.write(data)
            return
        self._stages[0].put(Chunk(data, time.monotonic()))
        self.adjust_reading()

    def end(self) -> None:
        """The source has no more."""
        if self._stages:
            self._stages[0].end()
        else:
            self._close_output()

    def pass_on(self, stage: LinkStage, chunk: Chunk) -> None:
        behind = self._behind(stage)
        if behind is None:
            self.output.write(chunk.data)
        else:
            behind.put(chunk)

    def pass_end_on(self, stage: LinkStage, reset: bool) -> None:
        self._reset = self._reset or reset
        behind = self._behind(stage)
        if behind is None:
            self._close_output()
        else:
            behind.end()

    def add(self, toxic: Toxic) -> None:
        self._stages.append(LinkStage(self, toxic))

    def update(self, toxic: Toxic) -> None:
        for stage in self._of(toxic):
            stage.restart()

    def remove(self, toxic: Toxic) -> None:
        for stage in self._of(toxic):
            stage.remove()
            if not stage.closed:
                self._stages.remove(stage)
        self.adjust_reading()

    def stop(self) -> None:
        for stage in self._stages:
            stage.stop()

    def adjust_reading(self) -> None:
        """Stop reading while the output or the stages are full."""
        limit = BACKLOG + sum(stage.toxic.kind.buffer for stage in self._stages)
        if self.output_full or sum(stage.waiting for stage in self._stages) > limit:
            self.source.pause_reading()
        else:
            self.source.resume_reading()

    def _of(self, toxic: Toxic) -> list[LinkStage]:
        return [stage for stage in self._stages if stage.toxic is toxic]

    def _behind(self, stage: LinkStage) -> LinkStage | None:
        place = self._stages.index(stage) + 1
        return self._stages[place] if place < len(self._stages) else None

    def _close_output(self) -> None:
        if not self._reset:
            self.output.close()
            return
        for transport in (self.source, self.output):
            reset_on_close(transport)
        self.output.abort()
        self.source.abort()


def reset_on_close(transport: asyncio.Transport) -> None:
    """Make the kernel answer the close with RST instead of FIN: linger of zero seconds."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


class Side(asyncio.Protocol):
    """One of the two TCP connections of a proxied connection; knows the links that it feeds and that feed it."""

    transport: asyncio.Transport
    feeds: Link | None = None
    fed_by: Link | None = None
    lost = False
    #: What came before there was a link to feed: until 3.11.3, Python reads on though it was told to pause at once.
    early = b""
    early_end = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self.feeds:
            self.feeds.feed(data)
        else:
            self.early += data

    def eof_received(self) -> bool:
        if self.feeds:
            self.feeds.end()
        else:
            self.early_end = True
        return True

    def begin(self, feeds: Link, fed_by: Link) -> None:
        """Between these links from now on; what came early comes first."""
        self.feeds, self.fed_by = feeds, fed_by
        if self.early:
            feeds.feed(self.early)
        if self.early_end:
            feeds.end()

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True
        if self.feeds:
            self.feeds.end()
        if self.fed_by:
            self.fed_by.stop()

    def pause_writing(self) -> None:
        if self.fed_by:
            self.fed_by.output_full = True
            self.fed_by.adjust_reading()

    def resume_writing(self) -> None:
        if self.fed_by:
            self.fed_by.output_full = False
            self.fed_by.adjust_reading()
