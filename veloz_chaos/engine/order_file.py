"""The history of the orders: one JSON object a line, written at least every 100 ms, hashed on the way."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

NAME = "orders.jsonl"
_write = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class OrderFile:
    """Open for appending, new. Raises OSError where the disk does."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._lines: list[str] = []
        self._hash = sha256()

    def add(self, **line: Any) -> None:
        self._lines.append(_write(line))

    def flush(self) -> None:
        if not self._lines:
            return
        data = ("\n".join(self._lines) + "\n").encode("utf-8", "replace")
        self._lines.clear()
        if os.write(self._descriptor, data) != len(data):
            raise OSError("the disk of the order history is full")
        self._hash.update(data)

    def close(self) -> str:
        """All is on disk; returns the SHA-256 of the file."""
        self.flush()
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        return self._hash.hexdigest()


def digest(path: Path) -> str:
    """The SHA-256 of a history as it lies there; empty if there is none."""
    hashed = sha256()
    try:
        with path.open("rb") as file:
            while data := file.read(1 << 20):
                hashed.update(data)
    except OSError:
        return ""
    return hashed.hexdigest()
