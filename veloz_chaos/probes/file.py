"""Look at a file: is it there, how large, how old; and how much room its file system has left.

`json` is {exists, size, age_ms, free_bytes, total_bytes, used_share}. Free is what an ordinary user may still take, and
the share is of what such a user could ever have, as `df` counts. Of a file that is missing the room is that of its
folder, or of the nearest one above that is there.

With `docker` it is a file inside a container (of several the eldest that runs), asked of the engine: nothing is started
in it, so its image needs no shell; files of its volumes are seen, those of a `tmpfs:` mount are not (the engine has
no way in). The engine tells size and time of change alone; the room is null. With `kubernetes` it is a file inside a
pod (of several the eldest that runs), looked at by a helper pod on its node, whose clock is the file's too; the room is
null as well.

`age_ms` of an engine's file is an upper bound that compares no clock with another machine's: the engine's own time (to
the second, as its answer is dated) less the file's time, which is of that machine too; and, once the file was seen to
change, by our clock the time since the last look that still saw it unchanged was asked. The lesser of both.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.errors import Gone, TargetError
from veloz_chaos.mechanisms.aside import aside
from veloz_chaos.mechanisms.docker_file import Inside
from veloz_chaos.mechanisms.docker_look import Containers, Engine
from veloz_chaos.mechanisms.file_told import Told
from veloz_chaos.mechanisms.kube_file import Files
from veloz_chaos.mechanisms.kube_file import Inside as InsidePod

NO_ROOM = {"free_bytes": None, "total_bytes": None, "used_share": None}


@dataclass(config=ConfigDict(extra="forbid"))
class File(Probe):
    """`status` 1 if it exists; `value`: its size; `error`: missing, unreadable, or why the engine did not answer."""

    default_ok: ClassVar[str] = "status == 1"

    path: str
    docker: Containers | None = None
    kubernetes: Files | None = None

    def __post_init__(self) -> None:
        if self.docker is not None and self.kubernetes is not None:
            raise ValueError("write docker or kubernetes, not both")
        if (self.docker or self.kubernetes) is not None and not self.path.startswith(("/", "${")):
            raise ValueError("inside a container a path begins with /")
        self._inside: Inside | None = None
        self._inside_pod: InsidePod | None = None

    async def open(self, eye: Eye) -> None:
        """Raises UsageError where the context or the address is wrong."""
        if self.docker is not None:
            wanted = self.docker.filled(eye.fill)
            engine = await asyncio.to_thread(Engine.of, wanted)
            await engine.way.open(engine.url)
            self._inside = Inside(wanted, engine, eye.fill(self.path))
        if self.kubernetes is not None:
            self._inside_pod = InsidePod(self.kubernetes.filled(eye.fill), eye.fill(self.path))
            await asyncio.to_thread(self._inside_pod.find)

    async def look(self, eye: Eye) -> Seen:
        if self._inside is None and self._inside_pod is None:
            await self.open(eye)
        async with asyncio.timeout(eye.timeout.total_seconds()):
            if self._inside is not None:
                return await _looked_inside(self._inside.look)
            if (pod := self._inside_pod) is not None:
                return await _looked_inside(lambda: aside(pod.look))
            path = Path(eye.fill(self.path))
            return await aside(lambda: _looked(path))


async def _looked_inside(look: Callable[[], Awaitable[Told]]) -> Seen:
    none = {"size": None, "age_ms": None, **NO_ROOM}
    try:
        told = await look()
    except Gone:
        return Seen(error="missing", json={"exists": False, **none})
    except TargetError as error:
        return Seen(error=str(error), json={"exists": None, **none})
    return Seen(status=1, value=told.size, json={"exists": True, **none, "size": told.size, "age_ms": told.age_ms})


def _looked(path: Path) -> Seen:
    room = _room(path)
    try:
        told = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Seen(error="missing", json={"exists": False, "size": None, "age_ms": None, **room})
    except OSError:
        return Seen(error="unreadable", json={"exists": None, "size": None, "age_ms": None, **room})
    age = max(0.0, time.time() - told.st_mtime) * 1000
    return Seen(status=1, value=told.st_size, json={"exists": True, "size": told.st_size, "age_ms": age, **room})


def _room(path: Path) -> dict[str, Any]:
    """Nulls where it can't be told."""
    for place in _places(path):
        with suppress(OSError):
            told = os.statvfs(place)
            used, free = (told.f_blocks - told.f_bfree) * told.f_frsize, told.f_bavail * told.f_frsize
            share = used / (used + free) if used + free else 0.0
            return {"free_bytes": free, "total_bytes": told.f_blocks * told.f_frsize, "used_share": share}
    return dict(NO_ROOM)


def _places(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents


PROBE = File
