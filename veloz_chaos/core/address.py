"""Where something listens, as people write it."""

from __future__ import annotations

from ipaddress import ip_address

from veloz_chaos.errors import UsageError


def split_address(written: str) -> tuple[str, int]:
    """Host and port; loopback where no host is given. Raises UsageError."""
    host, colon, port = written.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise UsageError(f"{written!r} is not host:port, such as 127.0.0.1:8080")
    return host.strip("[]") or "127.0.0.1", int(port)


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
