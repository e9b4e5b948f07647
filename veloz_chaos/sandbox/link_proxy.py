"""A proxy as Toxiproxy has it: listens, connects each client to the upstream, holds the toxics of both directions."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterable

from veloz_chaos.sandbox.link import Link, Side, Toxic

Observer = Callable[..., None]


class ListenError(Exception):
    """The proxy cannot listen; the message is worded as Go words it."""


class Connection:
    """A client, its upstream, and the links between them: [upstream, downstream]."""

    def __init__(self, client: Side, server: Side, toxics: list[list[Toxic]]) -> None:
        self.sides = (client, server)
        up = Link(client.transport, server.transport, toxics[0])
        down = Link(server.transport, client.transport, toxics[1])
        self.links = (up, down)
        client.begin(feeds=up, fed_by=down)
        server.begin(feeds=down, fed_by=up)
        for link in self.links:
            link.adjust_reading()


class ClientSide(Side):
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._proxy.accept(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._proxy.forget(self)


class Proxy:
    """`observe` is told, by name and fields, of every change of the proxy's state and toxics."""

    def __init__(self, name: str, listen: str, upstream: str, observe: Observer) -> None:
        self.name, self.listen, self.upstream, self.enabled = name, listen, upstream, False
        self._observe = observe
        self._toxics: list[list[Toxic]] = [[], []]
        self._server: asyncio.Server | None = None
        self._clients: dict[ClientSide, Connection | None] = {}
        self._dialling: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; nothing if it listens already. Raises ListenError."""
        if self.enabled:
            return
        try:
            host, port = address(self.listen)
            server = await asyncio.get_running_loop().create_server(lambda: ClientSide(self), host or "127.0.0.1", port)
        except ListenError as problem:
            raise ListenError(f"listen tcp: {problem}") from None
        except OSError as problem:
            raise ListenError(f"listen tcp {self.listen}: {in_words(problem)}") from None
        bound = server.sockets[0].getsockname()
        self._server, self.listen, self.enabled = server, f"{bound[0]}:{bound[1]}", True
        self._observe("proxy-enabled", proxy=self.name)

    def stop(self) -> None:
        """Refuse new connections and close those there are."""
        if self._server is None or not self.enabled:
            return
        self.enabled = False
        self._server.close()
        for client, connection in list(self._clients.items()):
            for side in connection.sides if connection else (client,):
                side.transport.abort()
        self._observe("proxy-disabled", proxy=self.name)

    async def update(self, listen: str, upstream: str, enabled: bool) -> None:
        """Raises ListenError."""
        if resolved(listen) != self.listen or upstream != self.upstream:
            self.stop()
            self.listen, self.upstream = listen, upstream
        if enabled:
            await self.start()
        else:
            self.stop()

    def accept(self, client: ClientSide) -> None:
        self._clients[client] = None
        task = asyncio.ensure_future(self._connect(client))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    def forget(self, client: ClientSide) -> None:
        self._clients.pop(client, None)

    async def _connect(self, client: ClientSide) -> None:
        host, port = address(self.upstream)
        try:
            _, server = await asyncio.get_running_loop().create_connection(Side, host, port)
        except OSError:
            client.transport.close()
            return
        if client.lost or client not in self._clients:
            server.transport.abort()
            return
        self._clients[client] = Connection(client, server, self._toxics)

    def toxics(self) -> list[Toxic]:
        return self._toxics[0] + self._toxics[1]

    def toxic(self, name: str) -> Toxic | None:
        return next((toxic for toxic in self.toxics() if toxic.name == name), None)

    def add(self, toxic: Toxic) -> None:
        self._toxics[toxic.direction].append(toxic)
        for link in self._links(toxic):
            link.add(toxic)
        self._observe("toxic-added", proxy=self.name, toxic=toxic.name, type=toxic.type, stream=toxic.stream)

    def changed(self, toxic: Toxic) -> None:
        for link in self._links(toxic):
            link.update(toxic)
        self._observe("toxic-changed", proxy=self.name, toxic=toxic.name, type=toxic.type, stream=toxic.stream)

    def remove(self, toxic: Toxic) -> None:
        self._toxics[toxic.direction].remove(toxic)
        for link in self._links(toxic):
            link.remove(toxic)
        self._observe("toxic-removed", proxy=self.name, toxic=toxic.name, type=toxic.type, stream=toxic.stream)

    def remove_all(self) -> None:
        for toxic in self.toxics():
            self.remove(toxic)

    def _links(self, toxic: Toxic) -> Iterable[Link]:
        return [connection.links[toxic.direction] for connection in self._clients.values() if connection]


def address(text: str) -> tuple[str, int]:
    """Host and port of "host:port". Raises ListenError, in Go's words."""
    if not text:
        return "", 0
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ListenError(f"address {text}: missing port in address")
    if not port.isdigit():
        raise ListenError(f"lookup tcp/{port}: unknown port")
    return host.strip("[]"), int(port)


def resolved(listen: str) -> str:
    host, port = address(listen)
    return f"{'127.0.0.1' if host in ('localhost', '') else host}:{port}"


def in_words(problem: OSError) -> str:
    code = problem.errno or 0
    call = "bind: " if code in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL) else ""
    known = {errno.EADDRNOTAVAIL: "cannot assign requested address"}
    return call + known.get(code, os.strerror(code).lower())
