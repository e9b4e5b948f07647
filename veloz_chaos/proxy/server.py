"""Proxies and their API, for as long as they are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

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
    malformed or in use.
    """
    raise NotImplementedError
