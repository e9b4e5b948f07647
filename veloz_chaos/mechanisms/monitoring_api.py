"""What Prometheus and Alertmanager say of themselves, as JSON: one request, one answer, bounded in time and size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

from veloz_chaos.core.probe import Seen
from veloz_chaos.errors import Unavailable, UsageError
from veloz_chaos.mechanisms import http

#: Bytes of an answer: the samples of many metrics, or a long configuration.
LARGEST = 64 << 20
#: Seconds.
PATIENCE = 10.0
_FORM = {"content-type": "application/x-www-form-urlencoded"}


class Place(Protocol):
    """As it stands in an environment's alerts, or in the arguments of a probe."""

    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def ca(self) -> str | None: ...
    @property
    def verify(self) -> bool: ...


@dataclass(frozen=True)
class Server:
    """`written` is the URL as it stands in a file, secrets unfilled: what messages show."""

    what: str
    written: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    ca: str | None = None
    verify: bool = True
    timeout: float = PATIENCE

    @classmethod
    def of(cls, place: Place, fill: Callable[[str], str], what: str = "", timeout: float = PATIENCE) -> Server:
        headers = {name: fill(value) for name, value in place.headers.items()}
        return cls(what, place.url, fill(place.url), headers, place.ca and fill(place.ca), place.verify, timeout)

    def place(self, path: str) -> str:
        return self.written.rstrip("/") + path

    async def data(self, path: str, form: Mapping[str, str] | None = None) -> Any:
        """`data` of an answer of Prometheus's. Raises Unavailable, UsageError."""
        told = await self.json(path, form)
        if isinstance(told, dict) and told.get("status") == "error":
            raise self._unavailable(f"{path}: {told.get('error', '')}")
        if not isinstance(told, dict) or told.get("status") != "success":
            raise self._stranger(path)
        return told.get("data")

    async def json(self, path: str, form: Mapping[str, str] | None = None) -> Any:
        """A whole answer; of an error of Prometheus's too. Raises Unavailable, UsageError."""
        seen = await self._ask(path, form)
        told = isinstance(seen.json, dict) and seen.json.get("status") == "error"
        if seen.error or (seen.status != 200 and not told):
            raise self._unavailable(self._why(seen))
        if seen.json is None:
            raise self._stranger(path)
        return seen.json

    async def _ask(self, path: str, form: Mapping[str, str] | None) -> Seen:
        await self.open()
        try:
            async with asyncio.timeout(self.timeout):
                return await self.ask(path, form)
        except TimeoutError:
            raise self._unavailable(f"no answer in {self.timeout:g} s") from None

    async def open(self) -> None:
        """Read the certificates. Raises UsageError if they can't be read."""
        await http.Way(self.ca, self.verify).open(self.url)

    async def ask(self, path: str, form: Mapping[str, str] | None = None, most: int = LARGEST) -> Seen:
        """One request below a URL that may have a path, whatever comes of it; unbounded in time. Raises UsageError."""
        url = http.filled(self.written, self.url.rstrip("/") + path)
        return await http.ask(url, self._request(url, form), http.Way(self.ca, self.verify), most)

    def _request(self, url: Any, form: Mapping[str, str] | None) -> Any:
        if form is None:
            return http.get(self.written, url, self.headers)
        try:
            return http.request("POST", url, {**self.headers, **_FORM}, urlencode(form).encode())
        except ValueError as error:
            raise UsageError(f"{self.written}: {error}") from None

    def _why(self, seen: Seen) -> str:
        if seen.error.startswith("tls:"):
            return f"{seen.error}; name the certificates to trust: ca: FILE"
        if seen.error:
            return seen.error
        if seen.status in (401, 403):
            return f"HTTP {seen.status}; it wants to be shown who asks: headers: {{authorization: …}}"
        if seen.status is not None and 300 <= seen.status < 400:
            to = seen.headers.get("location", "")[:200]
            return f"HTTP {seen.status} to {to}; write the URL that it leads to, with its path"
        if seen.status == 404:
            return "HTTP 404; if it is behind a path, write that into the URL"
        return f"HTTP {seen.status}" + (f": {' '.join(seen.text.split())[:200]}" if seen.text.strip() else "")

    def _stranger(self, path: str) -> Unavailable:
        return self._unavailable(f"{path} is not its API; if it is behind a path, write that into the URL")

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(f"{self.what} {self.written}: {why}")
