"""Where a database is, in one line; the secrets in it are filled in part by part, whatever signs they hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from veloz_chaos.errors import UsageError

PORT = 5432
_REFERENCE = re.compile(r"\$\{[^}]+\}")
_MARK = re.compile(r"zz([0-9]+)zz")


@dataclass(frozen=True)
class Server:
    """PostgreSQL. `host` may be the folder of its socket; `dsn` holds the options (`?sslmode=…`), and no secret."""

    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    dsn: str
    #: the host's name must reach the driver, which compares it with the certificate
    by_name: bool


@dataclass(frozen=True)
class File:
    """SQLite."""

    path: Path


def check(text: str) -> None:
    """What is written, before it is filled in. Raises ValueError, without the text if there is a password in it."""
    if _REFERENCE.fullmatch(text):  # the whole is a secret
        return
    parts = _parted(text)[0]
    if parts.password is not None and not _MARK.fullmatch(parts.password):
        raise ValueError("the password is a secret; write postgresql://user:${env:PASSWORD}@host/name")
    if "password" in parse_qs(parts.query):
        raise ValueError("the password is a secret; write postgresql://user:${env:PASSWORD}@host/name")


def filled(text: str, fill: Callable[[str], str]) -> Server | File:
    """Raises UsageError, without the secrets in it."""
    whole = fill(text) if _REFERENCE.fullmatch(text) else text
    try:
        parts, references = _parted(whole)

        def put(part: str) -> str:
            return _MARK.sub(lambda mark: fill(references[int(mark[1])]), unquote(part))

        return File(Path(put(_path(parts)))) if parts.scheme == "sqlite" else _server(parts, put)
    except ValueError as error:
        raise UsageError(f"{text}: {error}") from None


def _parted(text: str) -> tuple[SplitResult, list[str]]:
    """References are replaced by marks, for they hold signs that mean something in a URL. Raises ValueError."""
    references: list[str] = []

    def mark(found: re.Match[str]) -> str:
        references.append(found[0])
        return f"zz{len(references) - 1}zz"

    parts = urlsplit(_REFERENCE.sub(mark, text))
    if parts.scheme not in ("postgresql", "postgres", "sqlite"):
        raise ValueError("a dsn is written postgresql://user@host:5432/name or sqlite:///path")
    if parts.scheme == "sqlite" and (parts.netloc or len(parts.path) < 2):
        raise ValueError("a file is written sqlite:///relative/path or sqlite:////absolute/path")
    return parts, references


def _path(parts: SplitResult) -> str:
    return parts.path[1:]


def _server(parts: SplitResult, put: Callable[[str], str]) -> Server:
    options = parse_qs(parts.query)
    host = put(parts.hostname or options.get("host", ["localhost"])[0])
    mode = put(options.get("sslmode", [""])[0])
    rest = "&".join(f"{name}={put(value[0])}" for name, value in options.items() if name not in ("host", "port"))
    return Server(
        host=host,
        port=_port(parts, options, put),
        user=put(parts.username) if parts.username else None,
        password=put(parts.password) if parts.password else None,
        database=put(parts.path[1:]) or None,
        dsn="postgresql://" + (f"?{rest}" if rest else ""),
        by_name=host.startswith("/") or mode == "verify-full",
    )


def _port(parts: SplitResult, options: dict[str, list[str]], put: Callable[[str], str]) -> int:
    """Raises ValueError. (`parts.port` can't be used: a mark may stand there.)"""
    written = parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2] or options.get("port", [""])[0]
    port = put(written) or str(PORT)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("the port of a dsn is a number up to 65535")
    return int(port)
