"""Subscribe to server-sent events for as long as the run lasts; a look tells how the subscription is doing.

It is opened before the first look, comes back by itself after every loss with the last id it saw, and is closed when
the run ends. Looks only read its state: what connecting costs is not theirs.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import field
from datetime import timedelta
from typing import Literal
from urllib.parse import SplitResult, quote

import h11
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.duration import Duration, show
from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.mechanisms import http
from veloz_chaos.mechanisms.event_stream import Message, Parser
from veloz_chaos.mechanisms.numbering import Numbering

#: A peer that does not even answer TCP's keep-alive is gone: after so many seconds, asked so often.
KEEP_ALIVE = {socket.TCP_KEEPIDLE: 2, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 3}


@dataclass(config=ConfigDict(extra="forbid"))
class Sse(Probe):
    """`json`: {connected, events, age_ms, last_id, gaps, missed, resumes, consecutive}; `status` 1 while connected.

    `events` and `age_ms` (of the last one, null before it) count those named `event`, or all. `resumes`: how often it
    came back. `gaps`: how often the events it missed meanwhile were not sent again, `missed`: how many; told by numeric
    ids, over all events, while they are `consecutive` (null: not known yet; false: no gap can be told).
    `error`: connecting; why there is no connection (as of the probe http, `HTTP 503`, not an event stream, ended);
    `gap: N events missed`, from then on; `no event within 2s`, with `within`, also if none ever came.
    """

    url: str
    event: str | None = None
    within: Duration | None = None
    headers: dict[str, str] = field(default_factory=dict)
    #: how the last id is told on coming back: by Last-Event-ID, or by ?last_id=
    resume: Literal["header", "query"] = "header"
    #: so long it stays away after a loss (browsers: some 3 s); what happens meanwhile shows whether it is sent again
    reconnect: Duration = timedelta(milliseconds=100)
    #: certificates to trust instead of the system's
    ca: str | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        http.check(self.url)
        if self.within is not None and self.within <= timedelta(0):
            raise ValueError("within must be longer than 0s")
        if self.reconnect < timedelta(milliseconds=10):
            raise ValueError("reconnect must be at least 10ms, lest it be an attack")
        self._subscription: _Subscription | None = None

    def address(self) -> str:
        """The URL as it is written, templates unfilled."""
        return self.url

    async def open(self, eye: Eye) -> None:
        """Until it is connected, or can't be within one time-out. Raises UsageError."""
        await http.Way(self.ca and eye.fill(self.ca), self.verify).open(self.url)
        self._subscription = _Subscription(self, eye)
        await self._subscription.settle(eye.timeout.total_seconds())

    async def look(self, eye: Eye) -> Seen:
        if self._subscription is None:
            await self.open(eye)
        assert self._subscription is not None
        return self._subscription.told()

    async def close(self) -> None:
        if self._subscription is not None:
            await self._subscription.close()


class _Subscription:
    """One client, over all its connections."""

    def __init__(self, probe: Sse, eye: Eye) -> None:
        self._probe, self._eye = probe, eye
        self._way = http.Way(probe.ca and eye.fill(probe.ca), probe.verify)
        self._clock = asyncio.get_running_loop().time
        self._numbering = Numbering()
        self._events, self._resumes, self._last_id, self._listening = 0, 0, "", False
        self._began = self._clock()
        self._last_at: float | None = None
        self._why = "connecting"
        self._settled = asyncio.Event()
        self._task = asyncio.create_task(self._keep())

    async def settle(self, seconds: float) -> None:
        waiting = asyncio.create_task(self._settled.wait())
        await asyncio.wait([waiting, self._task], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    def told(self) -> Seen:
        """Raises what ended the subscription: UsageError, OSError of our own machine."""
        if self._task.done():
            self._task.result()
        now, connected = self._clock(), not self._why
        age = None if self._last_at is None else (now - self._last_at) * 1000
        state = {"connected": connected, "events": self._events, "age_ms": age, "last_id": self._last_id,
                 "gaps": self._numbering.gaps, "missed": self._numbering.missed, "resumes": self._resumes,
                 "consecutive": self._numbering.consecutive}  # fmt: skip
        return Seen(status=int(connected), json=state, value=self._events, error=self._why or self._wrong(now))

    def _wrong(self, now: float) -> str:
        within, last = self._probe.within, self._began if self._last_at is None else self._last_at
        if self._numbering.missed:
            return f"gap: {self._numbering.missed} events missed"
        late = within is not None and now - last > within.total_seconds()
        return f"no event within {show(within)}" if within is not None and late else ""

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        """Raises UsageError, OSError of our own machine."""
        while True:
            try:
                self._why = await self._connection()
            except TimeoutError:
                self._why = "timeout"
            except OSError as error:
                self._why = http.why(error)
            self._settled.set()
            await asyncio.sleep(self._probe.reconnect.total_seconds())

    async def _connection(self) -> str:
        """One connection, to its end; why it ended. Raises OSError, TimeoutError."""
        url, asked = self._request()
        seconds = self._eye.timeout.total_seconds()
        async with asyncio.timeout(seconds):
            reader, writer = await self._way.connect(url)
        try:
            _watch(writer)
            connection = h11.Connection(our_role=h11.CLIENT)
            writer.write(http.wire(connection, *asked))
            async with asyncio.timeout(seconds):
                refused = await _refusal(reader, connection)
            return refused or await self._listened(reader, connection)
        except EOFError:
            return "closed"
        except h11.RemoteProtocolError as error:
            return "closed" if connection.trailing_data[1] else f"protocol: {error}"
        finally:
            writer.transport.abort()

    def _request(self) -> tuple[SplitResult, tuple[h11.Request, bytes]]:
        probe, last = self._probe, self._last_id
        text = self._eye.fill(probe.url)
        if last and probe.resume == "query":
            text += f"{'&' if '?' in text else '?'}last_id={quote(last, safe='')}"
        url = http.filled(probe.url, text)
        headers = {"accept": "text/event-stream", "cache-control": "no-cache"}
        if last and probe.resume == "header":
            headers["last-event-id"] = last
        return url, http.get(probe.url, url, headers | {n.lower(): self._eye.fill(v) for n, v in probe.headers.items()})

    async def _listened(self, reader: asyncio.StreamReader, connection: h11.Connection) -> str:
        if self._listening:
            self._resumes += 1
            self._numbering.came_back()
        self._why, self._listening = "", True
        self._settled.set()
        parser = Parser()
        while not isinstance(event := await http.next_event(reader, connection), h11.EndOfMessage):
            for message in parser.feed(bytes(event.data)) if isinstance(event, h11.Data) else ():
                self._take(message)
        return "ended"

    def _take(self, message: Message) -> None:
        if message.id is not None:
            self._last_id = message.id
            self._numbering.saw(message.id)
        if message.data is not None and self._probe.event in (None, message.event):
            self._events, self._last_at = self._events + 1, self._clock()


async def _refusal(reader: asyncio.StreamReader, connection: h11.Connection) -> str:
    """Why what is answered is no stream; empty if it is one. Raises EOFError, RemoteProtocolError."""
    while not isinstance(head := await http.next_event(reader, connection), h11.Response):
        pass
    if head.status_code != 200:
        return f"HTTP {head.status_code}"
    kind = http.joined(head).get("content-type", "").partition(";")[0].strip().lower()
    return "" if kind == "text/event-stream" else "not an event stream"


def _watch(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEP_ALIVE.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


PROBE = Sse
