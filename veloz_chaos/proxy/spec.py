"""What a proxy is asked to be: a name, where it listens and where it leads, as flags and API callers write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from veloz_chaos.core.address import split_address
from veloz_chaos.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._>-]{0,99}")
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class ProxySpec:
    """Raises UsageError where a part is not what it must be. `ca`: certificates to trust instead of the system's."""

    name: str
    kind: Literal["http", "dns"]
    #: host:port; no host means loopback, port 0 any free one
    listen: str
    #: http: http://host:port or https://host:port; dns: host:port
    upstream: str
    ca: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("http", "dns"):
            raise UsageError(f"a proxy's kind is http or dns, not {self.kind!r}")
        if not NAME.fullmatch(self.name):
            raise UsageError(f"{self.name!r} is no name of a proxy; use letters, digits and - . _ >")
        split_address(self.listen)
        split_upstream(self)


def parse(kind: Literal["http", "dns"], written: str, ca: str = "") -> ProxySpec:
    """NAME=LISTEN->UPSTREAM. Raises UsageError."""
    name, equals, rest = written.partition("=")
    listen, arrow, upstream = rest.partition("->")
    if not (equals and arrow):
        raise UsageError(f"{written!r} is not NAME=LISTEN->UPSTREAM, such as {EXAMPLES[kind]}")
    return ProxySpec(name.strip(), kind, listen.strip(), upstream.strip(), ca)


EXAMPLES = {
    "http": "'exchange=127.0.0.1:8080->https://api.binance.com'",
    "dns": "'dns=127.0.0.1:5353->10.0.0.53:53'",
}


@dataclass(frozen=True)
class Upstream:
    """`authority` is what the Host header says there."""

    host: str
    port: int
    authority: str = ""
    secure: bool = False


def split_upstream(spec: ProxySpec) -> Upstream:
    """Raises UsageError."""
    if spec.kind == "dns":
        return Upstream(*split_address(spec.upstream))
    url = urlsplit(spec.upstream)
    port = _port(url)
    if (
        url.scheme not in PORTS
        or not url.hostname
        or port is None
        or url.path.strip("/")
        or url.query
        or "@" in url.netloc
    ):
        raise UsageError(f"{spec.upstream!r} is not an upstream such as http://127.0.0.1:8080 or https://api.example")
    return Upstream(url.hostname, port, url.netloc, url.scheme == "https")


def _port(url: SplitResult) -> int | None:
    try:
        return url.port or PORTS.get(url.scheme)
    except ValueError:
        return None
