"""The output of containers as a Docker Engine keeps it: one log over all restarts of a container."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from veloz_chaos.mechanisms.docker_look import Containers, Engine
from veloz_chaos.mechanisms.log_tail import LONGEST, Line, parts, stamped


@dataclass(frozen=True)
class Logs:
    """A `log_tail.Source`."""

    containers: Containers
    engine: Engine
    _tty: dict[str, bool] = field(default_factory=dict)

    async def listed(self) -> list[str]:
        return [one["Id"] for one in await self.engine.listed(self.containers.wanted)]

    async def lines(
        self, container: str, since: int = 0, tail: int | None = None, *, follow: bool = False
    ) -> AsyncIterator[Line]:
        if container not in self._tty:
            told = await self.engine.get(f"/containers/{container}/json")
            self._tty[container] = bool(told["Config"]["Tty"])
        asked: dict[str, Any] = {"stdout": 1, "stderr": 1, "timestamps": 1}
        if tail is not None:
            asked["tail"] = tail
        if follow:
            asked["follow"] = 1
        if since:
            asked["since"] = f"{since // 10**9}.{since % 10**9:09d}"
        parser = Parser(tty=self._tty[container])
        async with self.engine.asked("GET", f"/containers/{container}/logs", asked) as (_, body):
            async for data in body:
                for line in parser.feed(data):
                    yield line
        for line in parser.last() if follow else parser.begun():
            yield line


class Parser:
    """Frames of [stream, 0, 0, 0, length (4)] of one message each, or with a TTY the bare lines; each message begins
    with its stamp. A message without an end of line is a part of one: it has the stamp of its first part."""

    def __init__(self, *, tty: bool) -> None:
        self._tty, self._data = tty, b""
        self._parts: dict[int, tuple[int, bytes]] = {}

    def feed(self, data: bytes) -> Iterator[Line]:
        self._data += data
        for stream, message in self._messages():
            yield from parts(message)[1:] if self._tty else ()
            stamp, text = stamped(message)
            first, begun = self._parts.pop(stream, (stamp, b""))
            whole = (begun + text)[:LONGEST]
            if text.endswith(b"\n"):
                yield stream, first, whole.decode("utf-8", "replace").rstrip("\r\n")
            else:
                self._parts[stream] = first, whole
                yield stream, first, None

    def begun(self) -> Sequence[Line]:
        """Of a read that ends before the line does: what was not told as a part yet."""
        return parts(self._data) if self._tty else ()

    def last(self) -> Iterator[Line]:
        """What a container that has ended left without an end of line: nothing will be added to it."""
        if self._tty and self._data:
            self._parts[1] = stamped(self._data)
        for stream, (stamp, text) in self._parts.items():
            yield stream, stamp, text[:LONGEST].decode("utf-8", "replace").rstrip("\r\n")

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        if self._tty:
            *whole, self._data = self._data.split(b"\n")
            yield from ((1, line + b"\n") for line in whole)
            return
        at = 0
        while len(self._data) - at >= 8:
            end = at + 8 + int.from_bytes(self._data[at + 4 : at + 8], "big")
            if end > len(self._data):
                break
            yield self._data[at], self._data[at + 8 : end]
            at = end
        self._data = self._data[at:]
