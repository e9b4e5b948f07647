"""The fault proxy's HTTP API: every call bounded in time, every answer's shape checked, every write read back."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, TypeAdapter

from veloz_chaos.core.capability import Answer
from veloz_chaos.core.effect import DnsEffect, HttpEffect
from veloz_chaos.errors import TargetError, Unavailable
from veloz_chaos.mechanisms.asking import ask
from veloz_chaos.mechanisms.proxy_api import Conflict, NotFound, ProxyApi, split

#: Seconds for one call.
PATIENCE = 2.0
Effect = HttpEffect | DnsEffect
_HTTP, _DNS = TypeAdapter(HttpEffect), TypeAdapter(DnsEffect)


class Fault(BaseModel):
    """`effect` as the server writes it; seconds."""

    name: str
    expires: float
    left: float
    effect: dict[str, Any]


class State(BaseModel):
    """One proxy as the server shows it. `instance` names this very one: server process and number."""

    name: str
    kind: str
    listen: str
    upstream: str
    instance: str
    faults: list[Fault]


class Api(ProxyApi):
    """One server. Every method raises Unavailable if it does not answer in time or is not a fault proxy."""

    program, usual, below = "the fault proxy", 8475, "faults"

    def proxies(self) -> dict[str, State]:
        return self.shaped(dict[str, State], self._call("GET", "/proxies"))

    def proxy(self, name: str) -> State | None:
        """None if there is no such proxy."""
        try:
            return self.shaped(State, self._call("GET", self.path(name)))
        except NotFound:
            return None

    def add(self, proxy: str, name: str, effect: Effect, expires: float) -> None:
        """Raises TargetError if the server does not have exactly this fault afterwards."""
        asked = written(effect)
        with suppress(Conflict):  # whose it is shows when it is read back
            self._call("POST", self.path(proxy, ""), {"name": name, "expires": expires, **asked})
        found = next(((one.effect, one.expires) for one in self._faults(proxy) if one.name == name), None)
        if found != (asked, expires):
            raise TargetError(f"the fault proxy at {self} was asked for {asked} and has {found}")

    def remove(self, proxy: str, fault: str) -> None:
        """Nothing to do if it is gone. Raises Unavailable if it is still there afterwards."""
        with suppress(NotFound):
            self._call("DELETE", self.path(proxy, fault))
        if any(one.name == fault for one in self._faults(proxy)):
            raise Unavailable(f"the fault proxy at {self} said it deleted {fault}, but it is still there")

    def _faults(self, proxy: str) -> list[Fault]:
        """None where the proxy is gone."""
        found = self.proxy(proxy)
        return found.faults if found else []

    def _call(self, method: str, where: str, body: Any = None) -> Any:
        """The answer's JSON; None if it is empty."""
        sent = b"" if body is None else json.dumps(body).encode()
        answer = ask((self.host, self.port), method, where, {"content-type": "application/json"}, sent, PATIENCE)
        if answer.outcome != "answered" or not answer.complete:
            why = {"silent": f"in {PATIENCE} s", "answered": "completely"}.get(answer.outcome, f"({answer.outcome})")
            raise Unavailable(f"the fault proxy at {self} does not answer {why}; is `veloz-chaos proxy` running there?")
        if 200 <= answer.status < 300:
            return self.parsed(answer.body) if answer.body else None
        raise self._refusal(answer, where)

    def _refusal(self, answer: Answer, where: str) -> TargetError:
        """400, 404 and 409 in the fault proxy's own words; anybody else's mean that it is none."""
        kind = {400: TargetError, 404: NotFound, 409: Conflict}.get(answer.status)
        if kind is None:
            told = answer.body[:200].decode(errors="replace")
            return Unavailable(f"the fault proxy at {self} answers {answer.status} to {where}: {told}")
        return self.refusal(kind, answer.body)


def written(effect: Effect) -> dict[str, Any]:
    """As JSON says it. A fault is an effect and more; only what is the effect's is written."""
    adapter: TypeAdapter[Any] = _HTTP if isinstance(effect, HttpEffect) else _DNS
    return dict(adapter.dump_python(effect, mode="json", by_alias=True))


def reachable(listen: str, api: Api) -> tuple[str, int]:
    """A proxy that listens everywhere is reached where its API is."""
    host, port = split(listen, Api.usual)
    return (api.host if host in ("", "0.0.0.0", "::") else host), port
