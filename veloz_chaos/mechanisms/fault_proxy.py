"""One proxy of a fault proxy server, as targets know it: this very one, what is on it, what of it is ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from veloz_chaos.core.capability import Reference, Target
from veloz_chaos.core.effect import DnsEffect, HttpEffect
from veloz_chaos.errors import Gone, Missing
from veloz_chaos.mechanisms.fault_proxy_api import Api, Fault, State, reachable

#: All of ours begin so; a run's sign goes on from there.
OURS = "vc-"


class FaultProxy(Target):
    """One proxy, as long as its server lives and it leads where it did when it was found."""

    #: what follows the sign in the name of a fault
    suffix = ""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        identity = reference.identity
        self.name, self.listen, self.upstream = identity["proxy"], identity["listen"], identity["upstream"]
        self.api = Api(identity["api"])

    def alive(self) -> bool:
        return self._is_this(self.api.proxy(self.name))

    def leftovers(self) -> list[str]:
        found = self.api.proxy(self.name)
        return [self._leftover(fault) for fault in found.faults] if found else []

    def by_hand(self, capability: str, sign: str) -> str:  # noqa: ARG002
        return f"curl -X DELETE {self._url(self._named(sign))}"

    def put_on(self, sign: str, effect: HttpEffect | DnsEffect, expires: timedelta) -> None:
        """Raises Gone."""
        if not self.alive():
            raise Gone(f"proxy {self.name} at {self.api} is gone, or another one has its name now")
        self.api.add(self.name, self._named(sign), effect, expires.total_seconds())

    def take_off(self, sign: str) -> None:
        """What carries the sign, wherever the proxy leads now; nothing to do if proxy or fault are gone."""
        self.api.remove(self.name, self._named(sign))

    def address(self) -> tuple[str, int]:
        return reachable(self.listen, self.api)

    def _is_this(self, found: State | None) -> bool:
        return found is not None and _place(found) == {key: self.reference.identity[key] for key in _place(found)}

    def _named(self, sign: str) -> str:
        return f"{sign}-{self.suffix}"

    def _leftover(self, fault: Fault) -> str:
        whose = "left by an earlier run" if fault.name.startswith(OURS) else "not ours"
        return (
            f"fault {fault.name} ({whose}, ends by itself in {fault.left:.0f} s) is on proxy {self.name}; "
            f"remove it by `curl -X DELETE {self._url(fault.name)}`"
        )

    def _url(self, fault: str) -> str:
        return f"http://{self.api}{self.api.path(self.name, fault)}"


def found_at(address: str, proxy: str, kind: str, name: str) -> Mapping[str, Any]:
    """The identity of the one proxy of that name. Raises Missing or Unavailable."""
    api = Api(address)
    found = api.proxy(proxy)
    if found is None:
        known = ", ".join(sorted(api.proxies())) or "none"
        raise Missing(f"{name}: the fault proxy at {api} has no proxy {proxy!r}, only: {known}")
    if found.kind != kind:
        raise Missing(f"{name}: proxy {proxy!r} at {api} is a {found.kind} proxy, not one for {kind}")
    return {"api": str(api), **_place(found)}


def still_there(target: FaultProxy) -> None:
    """Raises Gone."""
    if not target.alive():
        raise Gone(f"{target.reference.name}: proxy {target.name} at {target.api} is gone, or another one has its name")


def _place(found: State) -> dict[str, str]:
    return {"proxy": found.name, "listen": found.listen, "upstream": found.upstream, "instance": found.instance}
