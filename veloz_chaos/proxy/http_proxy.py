"""A proxy in front of one HTTP service: each client's connection has one of its own to the upstream, opened when it is
first needed and ended when either side ends. An upstream that cannot be reached is not made into a 502: the client's
connection is reset, as it would have been refused."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from veloz_chaos.core.address import split_address
from veloz_chaos.core.effect import HttpEffect
from veloz_chaos.errors import UsageError
from veloz_chaos.proxy.conversation import Conversation
from veloz_chaos.proxy.faults import Faults, Installed
from veloz_chaos.proxy.message import Fields, Request
from veloz_chaos.proxy.reply import Limiter, refusal
from veloz_chaos.proxy.spec import ProxySpec, split_upstream
from veloz_chaos.proxy.traffic import Traffic
from veloz_chaos.proxy.wire import Wire

Observer = Callable[..., None]
DIAL = 10.0


@dataclass(frozen=True)
class Strike:
    """One request is hit. `effect` may be more than the fault says: a limiter's refusal."""

    fault: Installed[HttpEffect]
    effect: HttpEffect
    #: added to an answer that passes
    fields: Fields = ()


class HttpProxy:
    kind = "http"

    def __init__(self, spec: ProxySpec, observe: Observer) -> None:
        self.spec, self.listen, self.observe = spec, spec.listen, observe
        self.upstream = split_upstream(spec)
        self.authority = self.upstream.authority.encode()
        self.traffic = Traffic()
        self.faults: Faults[HttpEffect] = Faults(self._changed)
        self._limiters: dict[Installed[HttpEffect], Limiter] = {}
        self._conversations: set[Conversation] = set()
        self._trust = _trust(spec) if self.upstream.secure else None

    async def start(self) -> None:
        """Raises OSError."""
        loop, place = asyncio.get_running_loop(), split_address(self.spec.listen)
        self._server = await loop.create_server(lambda: Conversation(self).client, *place, backlog=1024)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def stop(self) -> None:
        """Nobody is heard any more, and who was is cut off."""
        self._server.close()
        self.faults.clear()
        for conversation in list(self._conversations):
            conversation.end()

    def began(self, conversation: Conversation) -> None:
        self._conversations.add(conversation)
        self.traffic.open += 1

    def ended(self, conversation: Conversation) -> None:
        self._conversations.discard(conversation)
        self.traffic.open -= 1

    async def dial(self, gone: Callable[[], None]) -> Wire:
        """A connection to the upstream. Raises OSError, TimeoutError."""
        loop, up = asyncio.get_running_loop(), self.upstream
        name = up.host if self._trust else None
        async with asyncio.timeout(DIAL):
            _, wire = await loop.create_connection(
                lambda: Wire(gone=gone), up.host, up.port, ssl=self._trust, server_hostname=name
            )
        return wire

    def strike(self, request: Request) -> Strike | None:
        """Count the request; the fault that hits it, if one does."""
        if request.look:
            self.traffic.looks += 1
        elif self.traffic.arrived():
            self.observe("called-too-early", proxy=self.spec.name, method=request.method, path=request.path)
        return next(self._strikes(request), None)

    def _strikes(self, request: Request) -> Iterator[Strike]:
        for fault in self.faults:
            effect = fault.effect
            if not effect.matches(*request.asked):
                continue
            if effect.rate:
                yield self._limited(fault, request.look)
            elif fault.struck(effect.share, request.look):
                yield Strike(fault, effect, [(n.encode(), v.encode()) for n, v in effect.headers.items()])

    def _limited(self, fault: Installed[HttpEffect], look: bool) -> Strike:
        limiter = self._limiters.setdefault(fault, Limiter(*fault.effect.limit))
        wait = limiter.take(look)
        fault.hits += wait > 0 and not look
        effect = refusal(fault.effect, wait) if wait else fault.effect
        return Strike(fault, effect, limiter.fields(fault.effect.binance))

    def _changed(self, event: str, fault: str, **fields: object) -> None:
        for one in [one for one in self._limiters if self.faults.get(one.name) is not one]:
            del self._limiters[one]
        self.observe(event, proxy=self.spec.name, fault=fault, **fields)


def _trust(spec: ProxySpec) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=spec.ca or None)
    except OSError as error:
        raise UsageError(f"{spec.ca}: {error.strerror or error}; name a file of certificates") from None
