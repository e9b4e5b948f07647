"""The listener: each service's own way to be spoken to and to answer, and the API that tells what came.

POST /slack/NAME, /pagerduty/NAME (also with /v2/enqueue, /v2/change/enqueue), /webhook/NAME; NAME is what the site
calls the channel. GET /api/notifications?after=N, /api/status. What is sent is read as JSON; nothing else is done with
it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger

from veloz_chaos import __version__
from veloz_chaos.catch.kept import Caught, Kept
from veloz_chaos.core import notification
from veloz_chaos.core.notification import Malformed, Notification

#: Bytes of a body, seconds that it may take to come, notifications in one answer.
LONGEST, PATIENCE, PAGE = 1 << 20, 10.0, 1000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Read = Callable[[Any], list[Notification]]


class Catcher:
    """`told` hears of each notification, `refused` of each request that was none."""

    def __init__(self, keep: int, told: Callable[[Caught], None], refused: Callable[[str], None]) -> None:
        self.instance = secrets.token_hex(8)
        self.kept = Kept(keep)
        self._told, self._refused = told, refused
        self._received = self._malformed = self._oversized = 0

    async def slack(self, request: web.Request) -> web.Response:
        try:
            await self._take(request, notification.slack)
        except Malformed as error:
            return web.Response(status=400, text=error.code)
        return web.Response(text="ok")

    async def pagerduty(self, request: web.Request) -> web.Response:
        try:
            body = await self._take(request, notification.pagerduty)
        except Malformed as error:
            return _invalid(error)
        key = body.get("dedup_key") or secrets.token_hex(16)
        return _json(202, {"status": "success", "message": "Event processed", "dedup_key": key})

    async def change(self, request: web.Request) -> web.Response:
        try:
            await self._take(request, notification.change)
        except Malformed as error:
            return _invalid(error)
        return _json(202, {"status": "success", "message": "Change event processed"})

    async def webhook(self, request: web.Request) -> web.Response:
        try:
            await self._take(request, notification.webhook)
        except Malformed as error:
            return web.Response(status=400, text=str(error))
        return web.Response(text="ok")

    async def _take(self, request: web.Request, read: Read) -> dict[str, Any]:
        """Keep what it tells. Raises Malformed, and web.HTTPException where the service would not even look."""
        name = request.match_info["name"]
        if not NAME.fullmatch(name):
            raise web.HTTPNotFound(reason="a channel's name is of letters, digits and - . _")
        try:
            body: dict[str, Any] = _parsed(await _whole(request))
            at = time.clock_gettime_ns(_CLOCK)
            found = read(body)
        except Malformed as error:
            self.malformed(f"{request.path}: {error}")
            raise
        except web.HTTPRequestEntityTooLarge:
            self._oversized += 1
            self._refused(f"too large: {request.path}: more than {LONGEST} bytes")
            raise
        self._received += 1
        for one in found:
            self._told(self.kept.add(one, name, at))
        return body

    def malformed(self, why: str) -> None:
        self._malformed += 1
        self._refused(f"malformed: {why}")

    async def notifications(self, request: web.Request) -> web.Response:
        """`last` is the last of this answer: ask with `after` so again, until nothing comes."""
        after = request.query.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) < 19):
            return _json(400, {"error": "after is the number of a notification"})
        found = self.kept.after(int(after), PAGE)
        last = found[-1].n if found else self.kept.last
        return _json(200, {"last": last, "notifications": [caught.as_json() for caught in found]})

    async def status(self, _: web.Request) -> web.Response:
        return _json(
            200,
            {
                "program": "veloz-chaos catch",
                "version": __version__,
                "instance": self.instance,
                "received": self._received,
                "malformed": self._malformed,
                "oversized": self._oversized,
                "last": self.kept.last,
                "kept": len(self.kept),
                "dropped": self.kept.dropped,
            },
        )


async def _whole(request: web.Request) -> bytes:
    """Raises HTTPRequestEntityTooLarge, HTTPRequestTimeout for a body that does not come, Malformed for a half."""
    if (request.content_length or 0) > LONGEST:
        raise web.HTTPRequestEntityTooLarge(LONGEST, request.content_length or 0)
    try:
        async with asyncio.timeout(PATIENCE):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError):
        raise Malformed("the body breaks off") from None


def _parsed(body: bytes) -> Any:
    """JSON; of a form the field `payload`, as Slack takes it too. Raises Malformed."""
    try:
        if body.startswith(b"payload="):
            body = parse_qs(body.decode(), max_num_fields=10)["payload"][0].encode()
        return json.loads(body)
    except (ValueError, LookupError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None


def _invalid(error: Malformed) -> web.Response:
    return _json(400, {"status": "invalid event", "message": "Event object is invalid", "errors": [str(error)]})


def _json(status: int, body: object) -> web.Response:
    return web.json_response(body, status=status)


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What a browser sends on a page's behalf is refused: a page must not pass for an Alertmanager."""
    if request.headers.get("Origin") or request.headers.get("User-Agent", "").startswith("Mozilla/"):
        return _json(403, {"error": "browsers are not served"})
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _json(error.status, {"error": error.reason})


class _NoHttp(logging.Handler):
    """Hears of each request that aiohttp can't read, which no handler ever sees; all else is logged as ever."""

    def __init__(self, catcher: Catcher) -> None:
        super().__init__()
        self._catcher = catcher

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            self._catcher.malformed(f"no HTTP: {_in_one_line(error.message)}")
        elif server_logger.isEnabledFor(record.levelno):
            server_logger.handle(record)


def _in_one_line(message: str) -> str:
    """The parser's words without the mark that it puts below what it quotes."""
    line = " ".join(message.split()).removesuffix(" ^")
    return line if len(line) <= 200 else line[:199] + "…"


def _logger(catcher: Catcher) -> logging.Logger:
    """Of this listener alone: what is no HTTP at all, aiohttp tells on the level of debugging."""
    logger = logging.Logger("veloz_chaos.catch", logging.DEBUG)
    logger.addHandler(_NoHttp(catcher))
    return logger


def application(catcher: Catcher) -> web.Application:
    app = web.Application(middlewares=[_guarded], client_max_size=LONGEST)
    post, get = app.router.add_post, app.router.add_get
    post("/slack/{name}", catcher.slack)
    post("/webhook/{name}", catcher.webhook)
    post("/pagerduty/{name}", catcher.pagerduty)
    post("/pagerduty/{name}/v2/enqueue", catcher.pagerduty)
    post("/pagerduty/{name}/v2/change/enqueue", catcher.change)
    get("/api/notifications", catcher.notifications)
    get("/api/status", catcher.status)
    return app


async def serve(catcher: Catcher, host: str, port: int, stop: asyncio.Event, ready: Callable[[int], None]) -> None:
    """Listen until `stop` is set; `ready` is called with the port. Raises OSError if it can't be listened on."""
    app = application(catcher)
    runner = web.AppRunner(
        app, access_log=None, logger=_logger(catcher), handle_signals=False, shutdown_timeout=0.2,
        auto_decompress=False, keepalive_timeout=60,
    )  # fmt: skip
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        ready(runner.addresses[0][1])
        await stop.wait()
    finally:
        await runner.cleanup()
