"""What the clients of Toxiproxy and of our own fault proxy share: places, paths, and whose words an answer is.

Both speak the same way: proxies under /proxies, what is on one below it, and {"error": …} with 400, 404 and 409.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from veloz_chaos.errors import TargetError, Unavailable

Result = TypeVar("Result")


class NotFound(TargetError):
    """The server knows no such proxy, or nothing of that name on it."""


class Conflict(TargetError):
    """The server has one of that name already."""


class ProxyApi:
    """One server. `program`: what a user calls it, `usual`: its usual port, `below`: what is put on its proxies."""

    program: ClassVar[str]
    usual: ClassVar[int]
    below: ClassVar[str]

    def __init__(self, address: str) -> None:
        self.host, self.port = split(address, self.usual)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def path(cls, proxy: str, effect: str | None = None) -> str:
        """Of a proxy, of one of its effects, or of all of them (an empty name)."""
        base = f"/proxies/{quote(proxy, safe='')}"
        return base if effect is None else f"{base}/{cls.below}/{quote(effect, safe='')}".rstrip("/")

    def refusal(self, kind: type[TargetError], content: bytes) -> TargetError:
        """In the server's own words; anybody else's mean that it is another program."""
        try:
            return kind(f"{self.program} at {self}: {json.loads(content)['error']}")
        except (ValueError, TypeError, KeyError):
            return self.stranger(content)

    def parsed(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError:
            raise self.stranger(content) from None

    def shaped(self, shape: type[Result], answer: Any) -> Result:
        try:
            return TypeAdapter(shape).validate_python(answer)
        except ValidationError:
            raise self.stranger(json.dumps(answer).encode()) from None

    def stranger(self, content: bytes) -> Unavailable:
        told = content[:80].decode(errors="replace")
        return Unavailable(f"something that is not {self._article()} answers at {self}: {told}")

    def _article(self) -> str:
        """The fault proxy is one of many, Toxiproxy is a name."""
        return self.program.replace("the ", "a ", 1)


def split(address: str, usual: int) -> tuple[str, int]:
    """Raises TargetError, with what it would usually be."""
    host, colon, port = address.removeprefix("http://").rstrip("/").rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise TargetError(f"api must be host:port such as 127.0.0.1:{usual}, not {address!r}")
    return host.strip("[]"), int(port)
