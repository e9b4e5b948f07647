"""An aiohttp application on a port, of loopback unless told otherwise, without access log and with a short goodbye."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from veloz_chaos.sandbox.settings import LOOPBACK


@asynccontextmanager
async def served(app: web.Application, port: int, host: str = LOOPBACK) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
