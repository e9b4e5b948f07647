"""What a fault answers in the upstream's place."""

from __future__ import annotations

import json
import math
import time
from datetime import timedelta
from http import HTTPStatus

from veloz_chaos.core.effect import HttpEffect
from veloz_chaos.proxy.message import Fields, Head

#: Binance's limit, in request weight a minute: what its message names and its header has passed.
WEIGHT = 6000
BANNED = timedelta(minutes=2)


class Limiter:
    """So many requests in each period; periods begin with the first request after the last one's end."""

    def __init__(self, count: int, period: float) -> None:
        self.count, self.period, self.used, self._ends = count, period, 0, 0.0

    def take(self, look: bool = False, now: float | None = None) -> float:
        """0 if the request may pass, else the seconds until one may. Looks take nobody's place."""
        now = time.monotonic() if now is None else now
        if now >= self._ends:
            self.used, self._ends = 0, now + self.period
        if self.used >= self.count:
            return self._ends - now
        self.used += not look
        return 0.0

    def fields(self, binance: bool) -> Fields:
        """What it tells with every answer that passes."""
        left = [(b"RateLimit-Limit", b"%d" % self.count), (b"RateLimit-Remaining", b"%d" % (self.count - self.used))]
        return [*left, (b"X-MBX-USED-WEIGHT-1M", b"%d" % self.used)] if binance else left


def refusal(effect: HttpEffect, wait: float) -> HttpEffect:
    """The 429 of a rate limiter that wants nothing for `wait` seconds."""
    return HttpEffect(status=429, retry_after=timedelta(seconds=max(1, math.ceil(wait))), binance=effect.binance)


def reply(effect: HttpEffect, used: int = 0, now: float | None = None) -> tuple[Head, bytes]:
    """Head and whole body; `used` is the weight beyond Binance's limit."""
    status = effect.status or 500
    body = _body(effect, status, time.time() if now is None else now).encode()
    head = Head(b"HTTP/1.1 %d %s" % (status, _reason(status).encode()), _fields(effect, body, used))
    return head.changed(fields_of(effect)), b"" if status in (204, 304) else body


def fields_of(effect: HttpEffect) -> Fields:
    """The headers that somebody wrote down."""
    return [(name.encode(), value.encode()) for name, value in effect.headers.items()]


def _fields(effect: HttpEffect, body: bytes, used: int) -> Fields:
    is_json = body[:1] in (b"{", b"[")
    fields = [(b"Content-Type", b"application/json" if is_json else b"text/plain; charset=utf-8")]
    if effect.status not in (204, 304):
        fields.append((b"Content-Length", b"%d" % len(body)))
    if effect.retry_after:
        fields.append((b"Retry-After", b"%d" % effect.retry_after.total_seconds()))
    weight = b"%d" % (WEIGHT + 1 + used)
    return [*fields, (b"X-MBX-USED-WEIGHT", weight), (b"X-MBX-USED-WEIGHT-1M", weight)] if effect.binance else fields


def _body(effect: HttpEffect, status: int, now: float) -> str:
    if effect.body is not None:
        return effect.body
    return json.dumps({"code": -1003, "msg": _complaint(effect, now)}) if effect.binance else _reason(status) + "\n"


def _complaint(effect: HttpEffect, now: float) -> str:
    """In Binance's words."""
    if effect.status == 429:
        return (
            f"Too many requests; current limit is {WEIGHT} request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API."
        )
    until = round((now + (effect.retry_after or BANNED).total_seconds()) * 1000)
    return (
        f"Way too many requests; IP banned until {until}. Please use WebSocket Streams for live updates to avoid bans."
    )


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unnamed"
