"""Ask once over HTTP.

Each look has a connection of its own, ended with the look, and one answer: what the server says first. A redirect is
that answer, and so is a 503; nothing is retried, and no proxy is taken from the environment. An answer that breaks off
half-way has no status: a condition such as `status == 200` must not hold for it.
"""

from __future__ import annotations

import asyncio
import json as json_
from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import SplitResult

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.errors import UsageError
from veloz_chaos.mechanisms import http

if TYPE_CHECKING:
    import h11

METHODS = ("get", "post", "put", "delete", "head", "patch")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Http(Probe):
    """`error`: refused, reset, unreachable, dns, `tls: …`, closed (before a whole answer), `protocol: …`, too large."""

    default_ok: ClassVar[str] = "error == '' && status >= 200 && status < 300"

    get: str | None = None
    post: str | None = None
    put: str | None = None
    delete: str | None = None
    head: str | None = None
    patch: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    json: Any = None
    body: str | None = None
    #: certificates to trust instead of the system's
    ca: str | None = None
    verify: bool = True
    #: the path of a socket to connect to; the URL then only says what is asked
    unix: str | None = None

    def __post_init__(self) -> None:
        if sum(getattr(self, name) is not None for name in METHODS) != 1:
            raise ValueError(f"give exactly one of {', '.join(METHODS)}")
        if self.json is not None and self.body is not None:
            raise ValueError("give json or body, not both")
        http.check(self.address())
        _dumped(self.json)

    def method(self) -> str:
        return next(name for name in METHODS if getattr(self, name) is not None)

    def address(self) -> str:
        """The URL as it is written, templates unfilled."""
        return str(getattr(self, self.method()))

    async def open(self, eye: Eye) -> None:
        """Raises UsageError if the certificates can't be read."""
        await self._way(eye).open(self.address())

    async def look(self, eye: Eye) -> Seen:
        url = http.filled(self.address(), eye.fill(self.address()))
        request = self._request(url, eye)
        async with asyncio.timeout(eye.timeout.total_seconds()):
            return await http.ask(url, request, self._way(eye))

    def _request(self, url: SplitResult, eye: Eye) -> tuple[h11.Request, bytes]:
        body = _dumped(_filled(self.json, eye.fill)) if self.body is None else eye.fill(self.body).encode()
        headers = {name: eye.fill(value) for name, value in self.headers.items()}
        try:
            return http.request(self.method().upper(), url, headers, body, is_json=self.json is not None)
        except ValueError as error:
            raise UsageError(f"{self.address()}: {error}") from None

    def _way(self, eye: Eye) -> http.Way:
        return http.Way(self.ca and eye.fill(self.ca), self.verify, self.unix and eye.fill(self.unix))


def _filled(value: Any, fill: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return fill(value)
    if isinstance(value, list):
        return [_filled(each, fill) for each in value]
    if isinstance(value, dict):
        return {key: _filled(each, fill) for key, each in value.items()}
    return value


def _dumped(value: Any) -> bytes:
    """Nothing for None. Raises ValueError for what JSON can't say (YAML's dates)."""
    try:
        return b"" if value is None else json_.dumps(value, allow_nan=False).encode()
    except TypeError as error:
        raise ValueError(f"json: {error}; quote it") from None


PROBE = Http
