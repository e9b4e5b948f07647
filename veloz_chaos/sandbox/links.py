"""The links: the wires that can be hurt, each named after its far end, as proxies behind Toxiproxy's HTTP API."""

from __future__ import annotations

import asyncio
import os

from veloz_chaos.sandbox import process
from veloz_chaos.sandbox.http_server import served
from veloz_chaos.sandbox.link_proxy import Proxy
from veloz_chaos.sandbox.settings import Settings
from veloz_chaos.sandbox.toxiproxy_api import Api, application
from veloz_chaos.sandbox.truth import TruthLog

#: Where a link leads, if not to what it is named after: the exchange stands behind the HTTP fault proxy.
UPSTREAMS = {"exchange": "exchange-api"}


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    truth = TruthLog(settings.directory, "links")
    api = Api(truth.write)
    for name in ("exchange", "engine", "database", "vault"):
        ends = (f"{name}-link", UPSTREAMS.get(name, name))
        listen, upstream = (f"127.0.0.1:{settings.ports[port]}" for port in ends)
        api.proxies[name] = Proxy(name, listen, upstream, truth.write)
        await api.proxies[name].start()
    async with served(application(api), settings.ports["links"]):
        truth.write("serving", pid=os.getpid())
        process.ready()
        await stop.wait()


if __name__ == "__main__":
    process.run(serve)
