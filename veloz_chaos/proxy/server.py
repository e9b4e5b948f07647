"""Proxies and their API, for as long as they are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aiohttp import web

from veloz_chaos.core.address import split_address
from veloz_chaos.errors import UsageError
from veloz_chaos.proxy.api import Api, ApiError, application, reason
from veloz_chaos.proxy.spec import ProxySpec


def _unobserved(event: str, **fields: object) -> None:
    pass


async def serve(
    api: str,
    proxies: Sequence[ProxySpec],
    stop: asyncio.Event,
    ready: Callable[[], None],
    observe: Callable[..., None] = _unobserved,
) -> None:
    """Serve these proxies, and the API at host:port, until `stop` is set; `ready` is called once all of them listen.

    `observe(event, **fields)` is told of every change at the moment it happens. Raises UsageError if an address is
    malformed or in use, or a name comes twice.
    """
    served = Api(observe)
    runner = web.AppRunner(application(served), access_log=None, handle_signals=False, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await _start(served, runner, api, proxies)
        ready()
        await stop.wait()
    finally:
        for name in list(served.proxies):
            served.stop(name)
        await runner.cleanup()


async def _start(served: Api, runner: web.AppRunner, api: str, proxies: Sequence[ProxySpec]) -> None:
    host, port = split_address(api)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise UsageError(f"the API cannot listen on {api}: {reason(error)}; name another with --api") from None
    for spec in proxies:
        try:
            await served.start(spec)
        except ApiError as error:
            raise UsageError(str(error)) from None
