"""The proxies' own HTTP API, in Toxiproxy's manner: proxies, the faults on each, and what has gone through it.

Every mistake is told: an unknown attribute is a 400 that names it, a name in use a 409, an unknown one a 404.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from veloz_chaos import __version__
from veloz_chaos.core.effect import DnsEffect, HttpEffect
from veloz_chaos.errors import UsageError
from veloz_chaos.proxy.dns_proxy import DnsProxy
from veloz_chaos.proxy.faults import Faults, Installed, Taken
from veloz_chaos.proxy.http_proxy import HttpProxy
from veloz_chaos.proxy.spec import NAME, ProxySpec

PROGRAM = "veloz-chaos proxy"
#: Seconds: how long a fault lasts that says nothing, and at most.
EXPIRES, LONGEST = 300.0, 86_400.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Proxy = HttpProxy | DnsProxy
KINDS: Mapping[str, type[HttpProxy] | type[DnsProxy]] = {"http": HttpProxy, "dns": DnsProxy}
_EFFECTS: Mapping[str, TypeAdapter[Any]] = {"http": TypeAdapter(HttpEffect), "dns": TypeAdapter(DnsEffect)}


class ApiError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """The proxies by name. `instance` tells this process from one that came before it; each proxy has a number."""

    def __init__(self, observe: Callable[..., None]) -> None:
        self.instance = secrets.token_hex(8)
        self.proxies: dict[str, Proxy] = {}
        self._observe = observe
        self._numbers = count(1)
        self._incarnations: dict[str, str] = {}

    async def start(self, spec: ProxySpec) -> Proxy:
        """Raises ApiError where the name is taken, UsageError where the address is."""
        if spec.name in self.proxies:
            raise ApiError(409, f"there is a proxy {spec.name} already")
        self.proxies[spec.name] = proxy = KINDS[spec.kind](spec, self._observe)
        try:
            await proxy.start()
        except OSError as error:
            del self.proxies[spec.name]
            raise UsageError(f"proxy {spec.name} cannot listen on {spec.listen}: {reason(error)}") from None
        except BaseException:
            del self.proxies[spec.name]
            raise
        self._incarnations[spec.name] = f"{self.instance}-{next(self._numbers)}"
        self._observe("proxy-started", proxy=spec.name, kind=spec.kind, listen=proxy.listen, upstream=spec.upstream)
        return proxy

    def stop(self, name: str) -> None:
        self.proxies.pop(name).stop()
        self._observe("proxy-ended", proxy=name)

    async def version(self, _: web.Request) -> web.Response:
        return _json(200, {"program": PROGRAM, "version": __version__, "instance": self.instance})

    async def index(self, _: web.Request) -> web.Response:
        return _json(200, {name: self._shown(proxy) for name, proxy in sorted(self.proxies.items())})

    async def create(self, request: web.Request) -> web.Response:
        asked = await _object(request, {"name", "kind", "listen", "upstream", "ca"})
        if missing := [key for key in ("name", "listen", "upstream") if not asked.get(key)]:
            raise ApiError(400, f"{missing[0]} is missing")
        if wrong := [key for key, value in asked.items() if not isinstance(value, str)]:
            raise ApiError(400, f"{wrong[0]} must be a text")
        try:
            spec = ProxySpec(**{"kind": "http", **asked})
        except UsageError as error:
            raise ApiError(400, str(error)) from None
        try:
            return _json(201, self._shown(await self.start(spec)))
        except UsageError as error:
            raise ApiError(409, str(error)) from None

    async def show(self, request: web.Request) -> web.Response:
        return _json(200, self._shown(self._proxy(request)))

    async def delete(self, request: web.Request) -> web.Response:
        self.stop(self._proxy(request).spec.name)
        return web.Response(status=204)

    async def traffic(self, request: web.Request) -> web.Response:
        proxy = self._proxy(request)
        try:
            since = float(request.query.get("since", "0"))
        except ValueError:
            raise ApiError(400, "since is a number of milliseconds") from None
        hits = {fault.name: fault.hits for fault in proxy.faults}
        return _json(
            200, {"instance": self._incarnations[proxy.spec.name], **proxy.traffic.figures(since), "faults": hits}
        )

    async def faults(self, request: web.Request) -> web.Response:
        return _json(200, _faults(self._proxy(request)))

    async def add(self, request: web.Request) -> web.Response:
        proxy = self._proxy(request)
        asked = await _object(request)
        name, expires = _name(asked.pop("name", None)), _expires(asked.pop("expires", EXPIRES))
        effect = _effect(proxy.kind, asked)
        faults: Faults[Any] = proxy.faults
        try:
            return _json(201, _fault(proxy, faults.add(name, effect, expires)))
        except Taken:
            raise ApiError(409, f"there is a fault {name} on {proxy.spec.name} already") from None

    async def remove(self, request: web.Request) -> web.Response:
        if not self._proxy(request).faults.remove(request.match_info["fault"]):
            raise ApiError(404, f"there is no fault {request.match_info['fault']}")
        return web.Response(status=204)

    def _proxy(self, request: web.Request) -> Proxy:
        name = request.match_info["proxy"]
        if name not in self._incarnations or name not in self.proxies:
            raise ApiError(404, f"there is no proxy {name}")
        return self.proxies[name]

    def _shown(self, proxy: Proxy) -> dict[str, Any]:
        spec = proxy.spec
        place = {"name": spec.name, "kind": spec.kind, "listen": proxy.listen, "upstream": spec.upstream}
        return {**place, "instance": self._incarnations.get(spec.name, ""), "faults": _faults(proxy)}


def _faults(proxy: Proxy) -> list[dict[str, Any]]:
    return [_fault(proxy, fault) for fault in proxy.faults]


def _fault(proxy: Proxy, fault: Installed[Any]) -> dict[str, Any]:
    effect = _EFFECTS[proxy.kind].dump_python(fault.effect, mode="json", by_alias=True)
    left = round(fault.left(), 3)
    return {"name": fault.name, "expires": fault.expires, "left": left, "hits": fault.hits, "effect": effect}


def _name(name: Any) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ApiError(400, "name is missing, or holds more than letters, digits and - . _ >")
    return name


def _expires(expires: Any) -> float:
    if isinstance(expires, bool) or not isinstance(expires, int | float) or not 0 < expires <= LONGEST:
        raise ApiError(400, f"expires is a number of seconds up to {LONGEST:.0f}")
    return float(expires)


def _effect(kind: str, asked: dict[str, Any]) -> Any:
    try:
        return _EFFECTS[kind].validate_python(asked)
    except ValidationError as error:
        told = [f"{'.'.join(map(str, one['loc'])) or kind}: {one['msg']}" for one in error.errors()]
        raise ApiError(400, "; ".join(told)) from None


async def _object(request: web.Request, allowed: set[str] | None = None) -> dict[str, Any]:
    try:
        asked = json.loads(await request.text())
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from None
    if not isinstance(asked, dict):
        raise ApiError(400, "the body is not a JSON object")
    if unknown := sorted(set(asked) - (allowed or set(asked))):
        raise ApiError(400, f"unknown attribute {unknown[0]}; there are {', '.join(sorted(allowed or ()))}")
    return asked


def _json(status: int, body: object) -> web.Response:
    return web.json_response(body, status=status)


def reason(error: OSError) -> str:
    """asyncio hides errno's text in one of its own."""
    return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)


@web.middleware
async def told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error as JSON. What a browser sends on a page's behalf is refused."""
    if request.headers.get("Origin") or request.headers.get("User-Agent", "").startswith("Mozilla/"):
        return _json(403, {"error": "browsers are not served"})
    try:
        return await handler(request)
    except ApiError as error:
        return _json(error.status, {"error": str(error)})
    except web.HTTPException as error:
        return _json(error.status, {"error": error.reason})


def application(api: Api) -> web.Application:
    app = web.Application(middlewares=[told], client_max_size=1 << 20)
    add, proxy = app.router.add_route, "/proxies/{proxy}"
    add("GET", "/version", api.version)
    add("GET", "/proxies", api.index)
    add("POST", "/proxies", api.create)
    add("GET", proxy, api.show)
    add("DELETE", proxy, api.delete)
    add("GET", proxy + "/traffic", api.traffic)
    add("GET", proxy + "/faults", api.faults)
    add("POST", proxy + "/faults", api.add)
    add("DELETE", proxy + "/faults/{fault}", api.remove)
    return app
