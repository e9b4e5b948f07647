"""Links that run through an HTTP proxy of `veloz-chaos proxy`, whose requests are answered as signed faults say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Answer, Answerable, Offer, Reference
from veloz_chaos.core.effect import LOOK_HEADER, HttpEffect
from veloz_chaos.mechanisms.asking import ask
from veloz_chaos.mechanisms.fault_proxy import FaultProxy, found_at, still_there

#: So many looks at once; more would overflow the queue of a small server.
AT_ONCE = 4


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """`api` as host:port; `path`: what may be GET from the service at any time, and does nothing there."""

    proxy: str
    api: str = "127.0.0.1:8475"
    path: str = Field(default="/", pattern=r"^/[^\s#]*$")


class HttpProxy(FaultProxy, Answerable):
    offers = (
        Offer(
            capability="Answerable",
            mechanism="veloz-chaos proxy: a fault on an HTTP proxy",
            touches="requests that arrive from then on, of the path, the methods and the share asked for",
            undo="delete the fault; answers that it still holds back pass at once",
            expiry="the proxy ends it when its time is up, or ends itself",
            at_once=True,
        ),
    )
    suffix = "http"

    def request(self, effect: HttpEffect, times: int, timeout: timedelta) -> list[Answer]:
        """A GET of the selector's path each; where the effect hits other requests only, it says as which it counts."""
        path, seconds = self.reference.identity["path"], timeout.total_seconds()
        headers = {LOOK_HEADER: " ".join(effect.sample("GET", path))}

        def one(_: int) -> Answer:
            return ask(self.address(), "GET", path, headers, b"", seconds)

        if times == 1:
            return [one(0)]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(one, range(times)))

    def answer(self, sign: str, effect: HttpEffect, expires: timedelta) -> None:
        self.put_on(sign, effect, expires)

    def unanswer(self, sign: str) -> None:
        self.take_off(sign)


def find(name: str, selector: Selector) -> list[HttpProxy]:
    """The one proxy of that name. Raises Missing or Unavailable."""
    identity = {**found_at(selector.api, selector.proxy, "http", name), "path": selector.path}
    return [HttpProxy(Reference(backend="http-proxy", name=name, identity=identity))]


def reopen(reference: Reference) -> HttpProxy:
    """The same proxy again. Raises Gone if it or its server ended: faults end with them."""
    proxy = HttpProxy(reference)
    still_there(proxy)
    return proxy
