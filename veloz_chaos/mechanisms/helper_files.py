"""What a helper sees of its target's files, from outside: nothing is started in the container."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from veloz_chaos.errors import Gone, Unavailable
from veloz_chaos.mechanisms.helper import Here

#: Links followed, as the kernel does it.
LINKS = 40


def file(here: Here, path: str) -> dict[str, Any]:
    """Bytes; milliseconds since it changed, by the clock of its own machine. Raises Gone if there is no such file."""
    root = Path(f"/proc/{here.pid}/root")
    try:
        for _ in range(LINKS):
            place = root / path.lstrip("/")
            if not place.is_symlink():
                told = place.stat()
                return {"size": told.st_size, "age_ms": max(0.0, time.time() - told.st_mtime) * 1000}
            path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(place)))  # noqa: PTH115, PTH118, PTH120
    except (FileNotFoundError, NotADirectoryError):
        raise Gone("missing") from None
    except OSError as error:
        raise Unavailable(f"{path} can't be looked at: {error.strerror}") from None
    raise Gone("too many links")


OPERATIONS = {"file": file}
