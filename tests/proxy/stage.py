"""The fault proxy in the test's own loop, an upstream behind it, and an API client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.infra.toxiproxy import free_port
from veloz_chaos.proxy import ProxySpec, serve

Handler = Callable[[Any], Awaitable[web.StreamResponse]]


@dataclass
class Stage:
    """`url` leads through the proxy `x`; `events` is all that was observed."""

    api: str
    url: str
    client: aiohttp.ClientSession
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.client.request(method, f"http://{self.api}{path}", json=body) as answer:
            return answer.status, (await answer.json() if answer.content_type == "application/json" else None)

    async def put(self, name: str = "f", **effect: Any) -> None:
        written = {key.replace("_", "-"): value for key, value in effect.items()}
        status, told = await self.call("POST", "/proxies/x/faults", {"name": name, **written})
        assert status == 201, told

    async def traffic(self, since: float = 0) -> dict[str, Any]:
        return dict((await self.call("GET", f"/proxies/x/traffic?since={since}"))[1])

    async def get(self, path: str = "/", **keys: Any) -> tuple[int, bytes]:
        async with self.client.get(self.url + path, **keys) as answer:
            return answer.status, await answer.read()

    def told(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.events if name == event]


async def hello(request: web.Request) -> web.Response:
    return web.json_response({"path": request.path_qs, "host": request.host, "length": len(await request.read())})


@asynccontextmanager
async def upstream(handler: Handler, **keys: Any) -> AsyncIterator[int]:
    """An aiohttp server; its port."""
    server = web.Server(handler, access_log=None)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, **keys)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await server.shutdown(0.1)


@asynccontextmanager
async def staged(*proxies: ProxySpec) -> AsyncIterator[Stage]:
    api, stop, ready = f"127.0.0.1:{free_port()}", asyncio.Event(), asyncio.Event()
    async with aiohttp.ClientSession() as client:
        stage = Stage(api, "", client)
        serving = asyncio.ensure_future(
            serve(api, proxies, stop, ready.set, lambda event, **fields: stage.events.append((event, fields)))
        )
        waiting = asyncio.ensure_future(ready.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not serving.done():
            started = stage.told("proxy-started")
            stage.url = f"http://{started[0]['listen']}" if started else ""
            try:
                yield stage
            finally:
                stop.set()
                await serving
        serving.result()


def through(handler: Handler, act: Callable[[Stage], Coroutine[Any, Any, None]], ca: str = "", **keys: Any) -> None:
    """Run `act` with a proxy x in front of an upstream of this handler."""

    async def run() -> None:
        async with upstream(handler, **keys) as port:
            scheme = "https" if "ssl" in keys else "http"
            spec = ProxySpec("x", "http", "127.0.0.1:0", f"{scheme}://localhost:{port}", ca)
            async with asyncio.timeout(150), staged(spec) as stage:
                await act(stage)

    asyncio.run(run())
