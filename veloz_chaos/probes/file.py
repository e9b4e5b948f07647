"""Look at a file: is it there, how large, how old; and how much room its file system has left.

`json` is {exists, size, age_ms, free_bytes, total_bytes, used_share}. Free is what an ordinary user may still take, and
the share is of what such a user could ever have, as `df` counts. Of a file that is missing the room is that of its
folder, or of the nearest one above that is there.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.mechanisms.aside import aside


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class File(Probe):
    """`status` 1 if it exists; `value`: its size; `error`: missing, unreadable."""

    default_ok: ClassVar[str] = "status == 1"

    path: str

    async def look(self, eye: Eye) -> Seen:
        path = Path(eye.fill(self.path))
        async with asyncio.timeout(eye.timeout.total_seconds()):
            return await aside(lambda: _looked(path))


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
    return {"free_bytes": None, "total_bytes": None, "used_share": None}


def _places(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents


PROBE = File
