"""A file inside a container: its size and age by the Docker Engine's word, with nothing started in the container."""

from __future__ import annotations

import base64
import json
import posixpath
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from veloz_chaos.errors import Gone, Unavailable
from veloz_chaos.mechanisms.docker_api import seconds
from veloz_chaos.mechanisms.docker_look import Containers, Engine, running
from veloz_chaos.mechanisms.file_told import Told

STAT = "x-docker-container-path-stat"
#: Links followed, as the kernel does it; and Go's bit for a link.
LINKS, IS_LINK = 40, 1 << 27
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Inside:
    """One path, over all looks."""

    def __init__(self, containers: Containers, engine: Engine, path: str) -> None:
        self._wanted, self._engine, self._path = containers.wanted, engine, path
        self._age = Age()

    async def look(self) -> Told:
        """Raises Gone (no such file, or container), Unavailable, TargetError."""
        asked = _now()
        found = await self._engine.listed(self._wanted)
        if not found:
            raise Gone("missing")
        container = (running(found) or found)[0]["Id"]
        headers, said = await self._stat(container)
        changed = seconds(said["mtime"])
        bounds = (self._age.seen(changed, asked), _by_its_own_clock(headers, changed))
        known = [bound for bound in bounds if bound is not None]
        return Told(int(said["size"]), min(known) * 1000 if known else None)

    async def _stat(self, container: str) -> tuple[Mapping[str, str], Mapping[str, Any]]:
        """Of what its links lead to."""
        path = self._path
        for _ in range(LINKS):
            headers = await self._engine.head(f"/containers/{container}/archive", path=path)
            try:
                said = json.loads(base64.b64decode(headers[STAT]))
            except (KeyError, ValueError):
                raise Unavailable("the engine tells nothing of the file") from None
            if not int(said["mode"]) & IS_LINK:
                return headers, said
            path = posixpath.join(posixpath.dirname(path), said["linkTarget"])
        raise Gone("too many links")


class Age:
    """How long ago a file changed, at most, from when it was looked at, by our clock alone."""

    def __init__(self) -> None:
        self._changed: float | None = None
        self._asked = 0
        #: the last look that saw the file before its latest change
        self._unchanged: int | None = None

    def seen(self, changed: float, asked: int) -> float | None:
        """Seconds; None until it was seen to change. Looks overlap: an older one than the last tells nothing new."""
        if asked >= self._asked:
            if self._changed not in (None, changed):
                self._unchanged = self._asked
            self._changed, self._asked = changed, asked
        return None if self._unchanged is None else (_now() - self._unchanged) / 1e9


def _now() -> int:
    """Nanoseconds."""
    return time.clock_gettime_ns(_CLOCK)


def _by_its_own_clock(headers: Mapping[str, str], changed: float) -> float | None:
    """Seconds; the answer is dated to the second, which may be over by now."""
    try:
        dated = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return None
    return max(0.0, dated.timestamp() + 1 - changed)
