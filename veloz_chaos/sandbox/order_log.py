"""The file of the gateway's orders: numbered lines, appended and read again by number, only ever growing.

A line torn by a kill is cut off at the next start. The numbers are the ids of the events that /api/stream sends: a
client that comes back, also after a restart, gets what it missed from here.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from pathlib import Path


class OrderLog:
    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._ends = array("Q", [0])
        content = file.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(file, len(whole))
        self._found = whole.splitlines(keepends=True)
        for line in self._found:
            self._ends.append(self._ends[-1] + len(line))

    def __len__(self) -> int:
        """The number of the last line."""
        return len(self._ends) - 1

    def restored(self) -> Iterator[bytes]:
        """The lines found at the start, once."""
        found, self._found = self._found, []
        yield from found

    def append(self, line: bytes) -> int:
        """Write a line, given without its end; its number."""
        os.write(self._file, line + b"\n")
        self._ends.append(self._ends[-1] + len(line) + 1)
        return len(self)

    def lines(self, after: int, upto: int) -> list[tuple[int, bytes]]:
        """The lines numbered after + 1 … upto, so far as they are there."""
        first, last = min(max(after, 0), len(self)), min(upto, len(self))
        if first >= last:
            return []
        start, end = self._ends[first], self._ends[last]
        return list(enumerate(os.pread(self._file, end - start, start).splitlines(), first + 1))
