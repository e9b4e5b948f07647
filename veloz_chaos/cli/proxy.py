"""`veloz-chaos proxy`: fault proxies in front of HTTP services and DNS servers, controlled over an API."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from typing import Annotated

import typer

from veloz_chaos.cli import screen
from veloz_chaos.errors import PASSED
from veloz_chaos.proxy import ProxySpec, serve
from veloz_chaos.proxy.spec import parse

Places = list[str] | None
_HTTP = "An HTTP proxy, such as 'exchange=127.0.0.1:8080->https://api.example'."
_DNS = "A DNS proxy, such as 'dns=127.0.0.1:5353->10.0.0.53:53'."


def command(
    api: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the API listens.")] = "127.0.0.1:8475",
    http: Annotated[Places, typer.Option(metavar="NAME=LISTEN->UPSTREAM", help=_HTTP)] = None,
    dns: Annotated[Places, typer.Option(metavar="NAME=LISTEN->UPSTREAM", help=_DNS)] = None,
    ca: Annotated[str, typer.Option(metavar="FILE", help="Certificates to trust upstream.")] = "",
) -> int:
    """Run fault proxies until interrupted; the faults http and dns control them."""
    proxies = [parse("http", one, ca) for one in http or ()] + [parse("dns", one) for one in dns or ()]
    asyncio.run(_until_interrupted(api, proxies))
    return PASSED


async def _until_interrupted(api: str, proxies: Sequence[ProxySpec]) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await serve(api, proxies, stop, lambda: screen.out(f"API: http://{api}"), _tell)


def _tell(event: str, **fields: object) -> None:
    """One line for each change; not for each request."""
    if event == "proxy-started":
        screen.out(f"{fields['kind']} proxy {fields['proxy']}: {fields['listen']} -> {fields['upstream']}")
    elif event.startswith("fault-"):
        why = f" ({fields['why']})" if "why" in fields else ""
        screen.out(f"{event.replace('-', ' ')}: {fields['fault']} on {fields['proxy']}{why}")
