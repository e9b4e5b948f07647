"""One HTTP request on a connection of its own, and one answer: what the server says first.

A redirect is that answer, and so is a 503; nothing is retried, and no proxy is taken from the environment. An answer
that breaks off half-way has no status: a condition such as `status == 200` must not hold for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, urlsplit

import h11

from veloz_chaos.core.probe import Seen, parsed
from veloz_chaos.errors import UsageError
from veloz_chaos.mechanisms import dial

if TYPE_CHECKING:
    import ssl

LIMIT = 1 << 20  # bytes of a body

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Way:
    """How the server is reached beside its URL: certificates to trust instead of the system's, a socket's path, our
    own certificate and its key (files)."""

    ca: str | None = None
    verify: bool = True
    unix: str | None = None
    pair: tuple[str, str] | None = None

    async def open(self, url: str) -> None:
        """Read the certificates now, beside the loop. Raises UsageError if they can't be read."""
        if not url.startswith("http://"):
            await asyncio.to_thread(_trust, self.ca, self.verify, self.pair)

    async def connect(self, url: SplitResult) -> Streams:
        """Raises OSError."""
        host, secure = url.hostname or "", url.scheme == "https"
        trust = _trust(self.ca, self.verify, self.pair) if secure else None
        name = host if secure else None
        if self.unix is not None:
            return await asyncio.open_unix_connection(self.unix, ssl=trust, server_hostname=name)
        sock = await dial.dial(host, url.port or (443 if secure else 80))
        return await asyncio.open_connection(sock=sock, ssl=trust, server_hostname=name)


def split(url: str) -> SplitResult:
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


def check(url: str) -> None:
    """What is written, if it can be told before it is filled in. Raises ValueError."""
    if "${" not in url:
        split(url)


def filled(written: str, url: str) -> SplitResult:
    """The URL that came of what is written. Raises UsageError, without the secrets in it."""
    try:
        return split(url)
    except ValueError as error:
        raise UsageError(f"{written}: {error}") from None


def request(
    method: str, url: SplitResult, headers: Mapping[str, str], body: bytes = b"", *, is_json: bool = False
) -> tuple[h11.Request, bytes]:
    """Raises ValueError for headers that HTTP does not allow."""
    expected = method in ("POST", "PUT", "PATCH")
    own = _headers(url, body, is_json=is_json, expected=expected)
    own |= {name.lower(): value for name, value in headers.items()} | {"connection": "close"}
    target = quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe="%/:=&?~#+!$,;'@()*[]")
    try:
        return h11.Request(method=method, headers=[*own.items()], target=target), body
    except (h11.LocalProtocolError, UnicodeError):
        raise ValueError("a header holds what HTTP does not allow") from None


def get(written: str, url: SplitResult, headers: Mapping[str, str]) -> tuple[h11.Request, bytes]:
    """Raises UsageError, by the URL as it is written."""
    try:
        return request("GET", url, headers)
    except ValueError as error:
        raise UsageError(f"{written}: {error}") from None


async def ask(url: SplitResult, asked: tuple[h11.Request, bytes], way: Way, limit: int = LIMIT) -> Seen:
    """`error`: refused, reset, unreachable, dns, `tls: …`, closed, `protocol: …`, too large. Unbounded in time."""
    try:
        reader, writer = await way.connect(url)
        try:
            connection = h11.Connection(our_role=h11.CLIENT)
            writer.write(wire(connection, *asked))
            return await _answer(reader, connection, limit)
        finally:
            writer.transport.abort()
    except OSError as error:
        return Seen(error=why(error))


def _headers(url: SplitResult, body: bytes, *, is_json: bool, expected: bool) -> dict[str, str]:
    headers = {"host": url.netloc, "user-agent": "veloz-chaos", "accept": "*/*", "accept-encoding": "identity"}
    if body or expected:
        headers["content-length"] = str(len(body))
    if is_json:
        headers["content-type"] = "application/json"
    return headers


def wire(connection: h11.Connection, head: h11.Request, body: bytes) -> bytes:
    parts = (connection.send(event) for event in (head, h11.Data(data=body), h11.EndOfMessage()))
    return b"".join(part for part in parts if part)


async def _answer(reader: asyncio.StreamReader, connection: h11.Connection, limit: int) -> Seen:
    try:
        return await _whole(reader, connection, limit)
    except EOFError:
        return Seen(error="closed")
    except h11.RemoteProtocolError as error:
        ended = connection.trailing_data[1]
        return Seen(error="closed" if ended else f"protocol: {error}")


async def _whole(reader: asyncio.StreamReader, connection: h11.Connection, limit: int) -> Seen:
    head: dict[str, Any] = {}
    body = bytearray()
    while not isinstance(event := await next_event(reader, connection), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            head = {"status": event.status_code, "headers": joined(event)}
        elif isinstance(event, h11.Data):
            body += event.data
        if len(body) > limit:
            return Seen(**head, error="too large")
    text = body.decode("utf-8", "replace")
    return Seen(**head, text=text, json=parsed(text))


async def next_event(reader: asyncio.StreamReader, connection: h11.Connection) -> object:
    """Raises EOFError, RemoteProtocolError."""
    while (event := connection.next_event()) is h11.NEED_DATA:
        if connection.trailing_data[1]:
            raise EOFError
        connection.receive_data(await reader.read(1 << 16))
    return event


def joined(response: h11.Response) -> dict[str, str]:
    """A header that comes twice is one with a comma (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for name, value in response.headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


@lru_cache(maxsize=64)
def _trust(ca: str | None, verify: bool, pair: tuple[str, str] | None = None) -> ssl.SSLContext:
    """Costs milliseconds, hence once. Sessions are not resumed: nothing is kept from look to look."""
    import ssl

    try:
        trust = ssl.create_default_context(cafile=ca)
        if pair is not None:
            trust.load_cert_chain(*pair)
    except OSError as error:
        raise UsageError(f"ca: {ca}: {error.strerror or error}") from None
    if not verify:
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return trust


def why(error: OSError) -> str:
    """The word of `dial.why`, or `tls: …`."""
    import ssl

    if not isinstance(error, ssl.SSLError):
        return dial.why(error)
    return "tls: " + (getattr(error, "verify_message", "") or (error.reason or str(error)).replace("_", " ").lower())
