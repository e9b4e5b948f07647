"""Links to a name server that run through a DNS proxy of `veloz-chaos proxy`, misled by signed faults."""

from __future__ import annotations

from datetime import timedelta

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Lookup, Offer, Reference, Resolvable
from veloz_chaos.core.effect import DnsEffect
from veloz_chaos.mechanisms.fault_proxy import FaultProxy, found_at, still_there


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """`api` as host:port; `name`: what is looked up to see how the link fares, and has an address."""

    proxy: str
    name: str
    api: str = "127.0.0.1:8475"


class DnsProxy(FaultProxy, Resolvable):
    offers = (
        Offer(
            capability="Resolvable",
            mechanism="veloz-chaos proxy: a fault on a DNS proxy",
            touches="questions that arrive from then on, by UDP and TCP; what is cached is not touched",
            undo="delete the fault",
            expiry="the proxy ends it when its time is up, or ends itself",
            at_once=True,
        ),
    )
    suffix = "dns"

    def look_up(self, effect: DnsEffect, timeout: timedelta) -> Lookup:
        """Of the selector's name, or else of the first that the effect names."""
        from veloz_chaos.mechanisms.lookup import look_up

        usual: str = self.reference.identity["name"]
        name = usual if effect.covers(usual) else effect.names[0]
        return look_up(self.address(), name, timeout.total_seconds())

    def mislead(self, sign: str, effect: DnsEffect, expires: timedelta) -> None:
        self.put_on(sign, effect, expires)

    def unmislead(self, sign: str) -> None:
        self.take_off(sign)


def find(name: str, selector: Selector) -> list[DnsProxy]:
    """The one proxy of that name. Raises Missing or Unavailable."""
    identity = {**found_at(selector.api, selector.proxy, "dns", name), "name": selector.name}
    return [DnsProxy(Reference(backend="dns-proxy", name=name, identity=identity))]


def reopen(reference: Reference) -> DnsProxy:
    """The same proxy again. Raises Gone if it or its server ended: faults end with them."""
    proxy = DnsProxy(reference)
    still_there(proxy)
    return proxy
