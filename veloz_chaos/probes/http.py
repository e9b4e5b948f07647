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
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import SplitResult, quote, urlsplit

import h11
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.errors import UsageError
from veloz_chaos.probes import dial, parsed, why

if TYPE_CHECKING:
    import ssl

METHODS = ("get", "post", "put", "delete", "head", "patch")
LIMIT = 1 << 20  # bytes of a body


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
        if "${" not in self.address():
            _split(self.address())
        _dumped(self.json)

    def method(self) -> str:
        return next(name for name in METHODS if getattr(self, name) is not None)

    def address(self) -> str:
        """The URL as it is written, templates unfilled."""
        return str(getattr(self, self.method()))

    async def open(self, eye: Eye) -> None:
        """Read the certificates now, beside the loop. Raises UsageError if they can't be read."""
        if not self.address().startswith("http://"):
            await asyncio.to_thread(_trust, self.ca and eye.fill(self.ca), self.verify)

    async def look(self, eye: Eye) -> Seen:
        url = self._url(eye)
        request = self._request(url, eye)
        async with asyncio.timeout(eye.timeout.total_seconds()):
            try:
                return await self._ask(url, request, eye)
            except OSError as error:
                return Seen(error=_why(error))

    def _url(self, eye: Eye) -> SplitResult:
        try:
            return _split(eye.fill(self.address()))
        except ValueError as error:
            raise UsageError(f"{self.address()}: {error}") from None

    def _request(self, url: SplitResult, eye: Eye) -> tuple[h11.Request, bytes]:
        body = _dumped(_filled(self.json, eye.fill)) if self.body is None else eye.fill(self.body).encode()
        headers = _headers(url, body, is_json=self.json is not None, expected=self.method() in ("post", "put", "patch"))
        headers |= {name.lower(): eye.fill(value) for name, value in self.headers.items()} | {"connection": "close"}
        target = quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe="%/:=&?~#+!$,;'@()*[]")
        try:
            return h11.Request(method=self.method().upper(), headers=[*headers.items()], target=target), body
        except (h11.LocalProtocolError, UnicodeError):
            raise UsageError(f"{self.address()}: a header holds what HTTP does not allow") from None

    async def _ask(self, url: SplitResult, request: tuple[h11.Request, bytes], eye: Eye) -> Seen:
        reader, writer = await self._connected(url, eye)
        try:
            connection = h11.Connection(our_role=h11.CLIENT)
            writer.write(_wire(connection, *request))
            return await _answer(reader, connection)
        finally:
            writer.transport.abort()

    async def _connected(self, url: SplitResult, eye: Eye) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, secure = url.hostname or "", url.scheme == "https"
        trust = _trust(self.ca and eye.fill(self.ca), self.verify) if secure else None
        name = host if secure else None
        if self.unix is not None:
            return await asyncio.open_unix_connection(eye.fill(self.unix), ssl=trust, server_hostname=name)
        sock = await dial(host, url.port or (443 if secure else 80))
        return await asyncio.open_connection(sock=sock, ssl=trust, server_hostname=name)


def _split(url: str) -> SplitResult:
    """Raises ValueError, without the URL: it may hold a secret by now."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.netloc.isascii():
        raise ValueError("a URL is written http://host:port/path or https://…")
    if "@" in parts.netloc:
        raise ValueError("a URL holds no user or password; write headers: {authorization: …}")
    try:
        parts.port  # noqa: B018
    except ValueError:
        raise ValueError("the port of a URL is a number up to 65535") from None
    return parts


def _headers(url: SplitResult, body: bytes, *, is_json: bool, expected: bool) -> dict[str, str]:
    headers = {"host": url.netloc, "user-agent": "veloz-chaos", "accept": "*/*", "accept-encoding": "identity"}
    if body or expected:
        headers["content-length"] = str(len(body))
    if is_json:
        headers["content-type"] = "application/json"
    return headers


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


def _wire(connection: h11.Connection, request: h11.Request, body: bytes) -> bytes:
    parts = (connection.send(event) for event in (request, h11.Data(data=body), h11.EndOfMessage()))
    return b"".join(part for part in parts if part)


async def _answer(reader: asyncio.StreamReader, connection: h11.Connection) -> Seen:
    try:
        return await _whole(reader, connection)
    except EOFError:
        return Seen(error="closed")
    except h11.RemoteProtocolError as error:
        ended = connection.trailing_data[1]
        return Seen(error="closed" if ended else f"protocol: {error}")


async def _whole(reader: asyncio.StreamReader, connection: h11.Connection) -> Seen:
    head: dict[str, Any] = {}
    body = bytearray()
    while not isinstance(event := await _event(reader, connection), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            head = {"status": event.status_code, "headers": _joined(event)}
        elif isinstance(event, h11.Data):
            body += event.data
        if len(body) > LIMIT:
            return Seen(**head, error="too large")
    text = body.decode("utf-8", "replace")
    return Seen(**head, text=text, json=parsed(text))


async def _event(reader: asyncio.StreamReader, connection: h11.Connection) -> object:
    """Raises EOFError, RemoteProtocolError."""
    while (event := connection.next_event()) is h11.NEED_DATA:
        if connection.trailing_data[1]:
            raise EOFError
        connection.receive_data(await reader.read(1 << 16))
    return event


def _joined(response: h11.Response) -> dict[str, str]:
    """A header that comes twice is one with a comma (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for name, value in response.headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


@lru_cache(maxsize=64)
def _trust(ca: str | None, verify: bool) -> ssl.SSLContext:
    """Costs milliseconds, hence once. Sessions are not resumed: nothing is kept from look to look."""
    import ssl

    try:
        trust = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise UsageError(f"ca: {ca}: {error.strerror or error}") from None
    if not verify:
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return trust


def _why(error: OSError) -> str:
    import ssl

    if not isinstance(error, ssl.SSLError):
        return why(error)
    return "tls: " + (getattr(error, "verify_message", "") or (error.reason or str(error)).replace("_", " ").lower())


PROBE = Http
