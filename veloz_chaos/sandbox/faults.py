"""The product's own fault proxy as a service of the sandbox: `exchange` (HTTP) stands between the exchange's link and
the exchange, `dns` between the gateway's resolver and the DNS server."""

from __future__ import annotations

import asyncio
import os

from veloz_chaos.proxy import ProxySpec
from veloz_chaos.proxy import serve as serve_proxies
from veloz_chaos.sandbox import process
from veloz_chaos.sandbox.settings import Settings
from veloz_chaos.sandbox.truth import TruthLog


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    here = {name: f"127.0.0.1:{port}" for name, port in settings.ports.items()}
    proxies = [
        ProxySpec("exchange", "http", here["exchange-api"], f"http://{here['exchange']}"),
        ProxySpec("dns", "dns", here["dns-link"], here["dns"]),
    ]
    truth = TruthLog(settings.directory, "faults")

    def ready() -> None:
        truth.write("serving", pid=os.getpid())
        process.ready()

    await serve_proxies(here["faults"], proxies, stop, ready, truth.write)


if __name__ == "__main__":
    process.run(serve)
