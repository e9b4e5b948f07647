"""Toxiproxy 2.12's HTTP API, faithfully: paths, status codes, defaults and error bodies.

Source: api.go, toxic_collection.go and proxy_collection.go of github.com/Shopify/toxiproxy v2.12.0. Told apart from the
real server only by its `Server` header, by error texts about malformed JSON, and by binding loopback where no host is
given. What Toxiproxy prints of a proxy includes an empty "Logger"; so does this.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from veloz_chaos.sandbox import go_json
from veloz_chaos.sandbox.go_json import GoJsonError
from veloz_chaos.sandbox.link import Toxic
from veloz_chaos.sandbox.link_proxy import ListenError, Observer, Proxy, resolved
from veloz_chaos.sandbox.toxics import KINDS

VERSION = "2.12.0"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Api:
    """The handlers, over the proxies by name."""

    def __init__(self, observe: Observer) -> None:
        self.proxies: dict[str, Proxy] = {}
        self._observe = observe

    async def version(self, _: web.Request) -> web.Response:
        return _answer(200, f'{{"version": "{VERSION}"}}\n', "application/json;charset=utf-8")

    async def proxy_index(self, _: web.Request) -> web.Response:
        return _json(200, {name: proxy_body(proxy) for name, proxy in sorted(self.proxies.items())})

    async def proxy_create(self, request: web.Request) -> web.Response:
        members = go_json.members(go_json.first_value(await request.text()), "toxiproxy.Proxy")
        proxy = self._new(members, "")
        enabled = go_json.boolean(members, "enabled", True, "Proxy")
        if proxy.name in self.proxies:
            raise ApiError(409, "proxy already exists")
        if enabled:
            await proxy.start()
        self.proxies[proxy.name] = proxy
        return _json(201, proxy_body(proxy))

    def _new(self, members: Any, place: str) -> Proxy:
        name, listen, upstream = (go_json.text(members, key, "", "Proxy") for key in ("name", "listen", "upstream"))
        for field, value in (("name", name), ("upstream", upstream)):
            if not value:
                raise ApiError(400, f"missing required field: {field}{place}")
        return Proxy(name, listen, upstream, self._observe)

    async def populate(self, request: web.Request) -> web.Response:
        done: list[Proxy] = []
        try:
            for proxy, enabled in self._listed(go_json.first_value(await request.text())):
                done.append(await self._add_or_replace(proxy, enabled))
        except (ApiError, GoJsonError, ListenError) as problem:
            error = as_api_error(problem)
            bodies = [proxy_body(proxy) for proxy in done] or None
            return _json(error.status, {**error_body(error), "proxies": bodies})
        return _json(201, {"proxies": [proxy_body(proxy) for proxy in done] or None})

    def _listed(self, value: Any) -> list[tuple[Proxy, bool]]:
        if not isinstance(value, list):
            raise GoJsonError(f"json: cannot unmarshal {go_json.kind(value)} into Go value of type []toxiproxy.Proxy")
        objects = [go_json.members(item, "toxiproxy.Proxy") for item in value]
        return [
            (self._new(members, f" at proxy {place}"), go_json.boolean(members, "enabled", True, "Proxy"))
            for place, members in enumerate(objects, 1)
        ]

    async def _add_or_replace(self, proxy: Proxy, enabled: bool) -> Proxy:
        existing = self.proxies.get(proxy.name)
        if existing:
            if (resolved(proxy.listen), proxy.upstream) == (existing.listen, existing.upstream):
                return existing
            existing.stop()
        if enabled:
            await proxy.start()
        self.proxies[proxy.name] = proxy
        return proxy

    async def reset(self, _: web.Request) -> web.Response:
        for proxy in self.proxies.values():
            await proxy.start()
            proxy.remove_all()
        return _no_content()

    async def proxy_show(self, request: web.Request) -> web.Response:
        return _json(200, proxy_body(self._proxy(request)))

    async def proxy_update(self, request: web.Request) -> web.Response:
        proxy = self._proxy(request)
        members = go_json.members(go_json.first_value(await request.text()), "toxiproxy.Proxy")
        listen = go_json.text(members, "listen", proxy.listen, "Proxy")
        upstream = go_json.text(members, "upstream", proxy.upstream, "Proxy")
        await proxy.update(listen, upstream, go_json.boolean(members, "enabled", proxy.enabled, "Proxy"))
        return _json(200, proxy_body(proxy))

    async def proxy_delete(self, request: web.Request) -> web.Response:
        proxy = self._proxy(request)
        proxy.stop()
        del self.proxies[proxy.name]
        return _no_content()

    async def toxic_index(self, request: web.Request) -> web.Response:
        return _json(200, [toxic_body(toxic) for toxic in self._proxy(request).toxics()])

    async def toxic_create(self, request: web.Request) -> web.Response:
        proxy = self._proxy(request)
        members = go_json.members(go_json.first_value(await request.text()), "toxics.ToxicWrapper")
        toxic = new_toxic(members)
        if proxy.toxic(toxic.name):
            raise ApiError(409, "toxic already exists")
        toxic.attributes = decoded_attributes(members.get("attributes"), toxic)
        proxy.add(toxic)
        return _json(200, toxic_body(toxic))

    async def toxic_show(self, request: web.Request) -> web.Response:
        return _json(200, toxic_body(self._toxic(request)))

    async def toxic_update(self, request: web.Request) -> web.Response:
        toxic = self._toxic(request)
        members = go_json.members(go_json.first_value(await request.text()), "struct")
        attributes = decoded_attributes(members.get("attributes"), toxic)
        toxic.toxicity = go_json.number(members, "toxicity", toxic.toxicity, "")
        toxic.attributes = attributes
        self._proxy(request).changed(toxic)
        return _json(200, toxic_body(toxic))

    async def toxic_delete(self, request: web.Request) -> web.Response:
        self._proxy(request).remove(self._toxic(request))
        return _no_content()

    def _proxy(self, request: web.Request) -> Proxy:
        proxy = self.proxies.get(request.match_info["proxy"])
        if proxy is None:
            raise ApiError(404, "proxy not found")
        return proxy

    def _toxic(self, request: web.Request) -> Toxic:
        toxic = self._proxy(request).toxic(request.match_info["toxic"])
        if toxic is None:
            raise ApiError(404, "toxic not found")
        return toxic


def new_toxic(members: Any) -> Toxic:
    """A toxic without attributes yet, with Toxiproxy's defaults."""
    name, kind = (go_json.text(members, key, "", "ToxicWrapper") for key in ("name", "type"))
    stream = go_json.text(members, "stream", "downstream", "ToxicWrapper")
    toxicity = go_json.number(members, "toxicity", 1, "ToxicWrapper")
    directions = {"upstream": 0, "downstream": 1}
    if stream.lower() not in directions:
        raise ApiError(400, "stream was invalid, can be either upstream or downstream")
    if kind not in KINDS:
        raise ApiError(400, "invalid toxic type")
    return Toxic(name or f"{kind}_{stream}", kind, stream, directions[stream.lower()], toxicity)


def decoded_attributes(value: Any, toxic: Toxic) -> dict[str, int]:
    """The toxic's attributes with those given; what is not given stays, or is 0."""
    struct = f"{toxic.type.title().replace('_', '')}Toxic.attributes"
    members = go_json.members(value, struct)
    old = toxic.attributes
    return {name: go_json.whole(members, name, old.get(name, 0), struct) for name in toxic.kind.attributes}


def toxic_body(toxic: Toxic) -> dict[str, object]:
    toxicity = int(toxic.toxicity) if toxic.toxicity == int(toxic.toxicity) else toxic.toxicity
    fields = {"name": toxic.name, "type": toxic.type, "stream": toxic.stream, "toxicity": toxicity}
    return {"attributes": toxic.attributes, **fields}


def proxy_body(proxy: Proxy) -> dict[str, object]:
    fields = {"name": proxy.name, "listen": proxy.listen, "upstream": proxy.upstream, "enabled": proxy.enabled}
    return {**fields, "Logger": {}, "toxics": [toxic_body(toxic) for toxic in proxy.toxics()]}


def as_api_error(problem: Exception) -> ApiError:
    if isinstance(problem, ApiError):
        return problem
    if isinstance(problem, GoJsonError):
        return ApiError(400, f"bad request body: {problem}")
    return ApiError(500, str(problem))


def error_body(error: ApiError) -> dict[str, object]:
    return {"error": error.message, "status": error.status}


def _json(status: int, body: object) -> web.Response:
    return _answer(status, json.dumps(body, separators=(",", ":"), ensure_ascii=False), "application/json")


def _no_content() -> web.Response:
    return web.Response(status=204)


def _answer(status: int, text: str, content_type: str) -> web.Response:
    return web.Response(status=status, body=text.encode(), headers={"Content-Type": content_type})


def _plain(status: int, text: str) -> web.Response:
    """As Go's http.Error answers."""
    return _answer(status, text + "\n", "text/plain; charset=utf-8")


@web.middleware
async def errors_as_go(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.headers.get("User-Agent", "").startswith("Mozilla/"):
        return _plain(403, "User agent not allowed")
    try:
        return await handler(request)
    except (ApiError, GoJsonError, ListenError) as problem:
        error = as_api_error(problem)
        return _plain(error.status, json.dumps(error_body(error), separators=(",", ":"), ensure_ascii=False))
    except web.HTTPNotFound:
        return _plain(404, "404 page not found")
    except web.HTTPMethodNotAllowed:
        return web.Response(status=405)


async def _name_the_server(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "veloz-chaos-links"


def application(api: Api) -> web.Application:
    app = web.Application(middlewares=[errors_as_go])
    app.on_response_prepare.append(_name_the_server)
    add, proxy, toxics = app.router.add_route, "/proxies/{proxy}", "/proxies/{proxy}/toxics"
    add("GET", "/version", api.version)
    add("POST", "/reset", api.reset)
    add("POST", "/populate", api.populate)
    add("GET", "/proxies", api.proxy_index)
    add("POST", "/proxies", api.proxy_create)
    add("GET", proxy, api.proxy_show)
    add("POST", proxy, api.proxy_update)
    add("PATCH", proxy, api.proxy_update)
    add("DELETE", proxy, api.proxy_delete)
    add("GET", toxics, api.toxic_index)
    add("POST", toxics, api.toxic_create)
    add("GET", toxics + "/{toxic}", api.toxic_show)
    add("POST", toxics + "/{toxic}", api.toxic_update)
    add("PATCH", toxics + "/{toxic}", api.toxic_update)
    add("DELETE", toxics + "/{toxic}", api.toxic_delete)
    return app
