"""One client's connection to a proxy: requests one after the other, each answered by the upstream or by a fault."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from veloz_chaos.proxy.message import ALL, BadMessage, Framing, Head, Request, Response
from veloz_chaos.proxy.reply import reply
from veloz_chaos.proxy.wire import Wire

if TYPE_CHECKING:
    from veloz_chaos.proxy.http_proxy import HttpProxy, Strike

#: A request's body is read to its end, so that its connection can go on, where it is no longer than this.
DRAINED = 1 << 20
REFUSED = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s\n"


class Conversation:
    def __init__(self, proxy: HttpProxy) -> None:
        self._proxy = proxy
        self.client = Wire(self._begin, self._client_gone)
        self._upstream: Wire | None = None
        #: a request has been passed on whose answer is not complete
        self._owed = False
        self._task: asyncio.Task[None] | None = None

    def end(self) -> None:
        self.client.reset()
        if self._task:
            self._task.cancel()

    def _begin(self) -> None:
        self._proxy.began(self)
        self._task = asyncio.ensure_future(self._run())

    def _client_gone(self) -> None:
        """Whoever does not wait for the answer any more makes us stop waiting, too."""
        if self._owed and self._task:
            self._task.cancel()

    def _upstream_gone(self) -> None:
        """It ended a connection that nobody was using: its client is told."""
        if not self._owed and not self.client.came:
            self.client.close()

    async def _run(self) -> None:
        try:
            while await self._exchange():
                self._owed = False
        except (OSError, TimeoutError, BadMessage) as error:
            self._proxy.traffic.failed += 1
            self._proxy.observe(
                "connection-broken", proxy=self._proxy.spec.name, why=str(error) or type(error).__name__
            )
            self.client.reset()
        finally:
            self._owed = True  # nobody is told any more
            self.client.close()
            if self._upstream:
                self._upstream.close()
            self._proxy.ended(self)

    async def _exchange(self) -> bool:
        """One request and its answer; says whether another may follow. Raises OSError, BadMessage for the upstream."""
        try:
            head = await self.client.head()
            request = Request(Head.of(head)) if head is not None else None
        except BadMessage as error:
            await self.client.write(REFUSED % (len(str(error)) + 1, str(error).encode()))
            return False
        if request is None:
            return False
        strike = self._proxy.strike(request)
        self._owed = True
        if strike and strike.effect.status and not await strike.fault.over_within(strike.effect.delay):
            return await self._answer(request, strike)
        return await self._pass(request, strike)

    async def _answer(self, request: Request, strike: Strike) -> bool:
        """In the upstream's place."""
        head, body = reply(strike.effect, strike.fault.hits)
        goes_on = await self._drained(request) and request.goes_on and strike.effect.truncate is None
        if not goes_on and strike.effect.truncate is None:
            head = head.changed([(b"Connection", b"close")])
        if not request.look:
            self._proxy.traffic.answered += 1
            self._told(head)
        await self.client.write(head.wire() + (b"" if request.method == "HEAD" else body[: strike.effect.truncate]))
        return goes_on

    async def _drained(self, request: Request) -> bool:
        """Was the request's body read to its end?"""
        if request.head.get(b"expect"):
            return False
        framing = request.framing
        while not framing.done and framing.payload < DRAINED:
            if not (piece := await self.client.piece()):
                return False
            self._put_back(piece, framing.feed(piece))
        return framing.done

    async def _pass(self, request: Request, strike: Strike | None) -> bool:
        """To the upstream, and its answer back."""
        upstream = await self._connected()
        piece = self.client.take(len(self.client.came)) if not request.framing.done else b""
        used = request.framing.feed(piece)
        self._put_back(piece, used)
        await upstream.write(request.passed_on(self._proxy.authority) + piece[:used])
        if self.client.ended and request.framing.done:
            return False
        if request.framing.done:
            return await self._pass_back(request, upstream, strike)
        sending = asyncio.ensure_future(self._send_body(request.framing, upstream))
        try:
            return await self._pass_back(request, upstream, strike) and sending.done()
        finally:
            sending.cancel()

    async def _connected(self) -> Wire:
        if self._upstream is None or self._upstream.ended:
            if self._upstream:
                self._upstream.close()
            self._upstream = await self._proxy.dial(self._upstream_gone)
        return self._upstream

    async def _send_body(self, framing: Framing, upstream: Wire) -> None:
        try:
            while not framing.done and (piece := await self.client.piece()):
                used = framing.feed(piece)
                self._put_back(piece, used)
                await upstream.write(piece[:used])
        except BadMessage:
            self.client.reset()

    async def _pass_back(self, request: Request, upstream: Wire, strike: Strike | None) -> bool:
        response = await self._response(request, upstream)
        if response is None:
            return False
        if not request.look:
            self._proxy.traffic.passed += 1
            self._told(response.head)
        if response.status == 101:
            await self._tunnel(response, upstream)
            return False
        if strike and not await strike.fault.over_within(strike.effect.delay):
            response.head = response.head.changed(strike.fields)
            return await self._body(request, response, upstream, strike.effect.truncate)
        return await self._body(request, response, upstream, None)

    async def _response(self, request: Request, upstream: Wire) -> Response | None:
        """The final one; interim ones are passed on. None if the upstream ends without one."""
        while (wire := await upstream.head()) is not None:
            response = Response(Head.of(wire), request.method)
            if not response.interim:
                return response
            await self.client.write(response.head.wire())
        return None

    async def _body(self, request: Request, response: Response, upstream: Wire, truncate: int | None) -> bool:
        """Head and body, up to `truncate` bytes of it; the first piece goes with the head."""
        framing, most = response.framing, ALL if truncate is None else truncate
        out = response.head.wire()
        while not framing.done and framing.payload < most:
            piece = b"" if out and not upstream.came else await upstream.piece()
            if not piece and not out:
                break
            used = framing.feed(piece, most)
            await self.client.write(out + piece[:used])
            out = b""
        await self.client.write(out)
        if truncate is not None and framing.size == ALL and framing.payload >= most:
            self.client.reset()  # nothing but that tells a body that was broken off from one that ended
        return framing.done and request.goes_on and response.goes_on

    async def _tunnel(self, response: Response, upstream: Wire) -> None:
        """Another protocol from here on: bytes, both ways, until either side ends."""
        await self.client.write(response.head.wire())
        pumps = [asyncio.ensure_future(_pump(*way)) for way in ((self.client, upstream), (upstream, self.client))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()

    def _told(self, head: Head) -> None:
        self._proxy.traffic.said(int(head.parts[1]), head.get(b"retry-after").decode("latin-1"))

    def _put_back(self, piece: bytes, used: int) -> None:
        """The beginning of the next request."""
        if used < len(piece):
            self.client.came[:0] = piece[used:]


async def _pump(source: Wire, sink: Wire) -> None:
    while piece := await source.piece():
        await sink.write(piece)
