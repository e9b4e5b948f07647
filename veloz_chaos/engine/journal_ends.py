"""A journal's first line and its last ones as they lie there, for whoever reads thousands of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from veloz_chaos.core.journal_format import FORMAT
from veloz_chaos.errors import UsageError

FILE = "journal.jsonl"
#: Bytes; what is left and down at the end of a run, and what was judged then, fit in.
_TAIL = 16_384


def tail(file: IO[bytes]) -> bytes:
    """Of an open journal, as much as surely holds its last two lines."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
    return file.read()


def end_of(data: bytes) -> tuple[bytes, bytes]:
    """The last event of the run itself, and what was judged then; either empty where there is none."""
    lines = data.split(b"\n")
    if len(lines) < 2 or lines[-1]:
        return b"", b""
    if b'"event":"run-judged"' in lines[-2]:
        return lines[-3] if len(lines) > 2 else b"", lines[-2]
    return lines[-2], b""


def refuse_newer(first: bytes, path: Path) -> None:
    """Of a journal's first line. Raises UsageError."""
    if b'"format":' in first and (written := _format(first)) > FORMAT:
        raise UsageError(f"{path}: written by a newer veloz-chaos (journal format {written}); this one reads {FORMAT}")


def _format(line: bytes) -> int:
    digits = line.split(b'"format":', 1)[1].lstrip()
    end = next((i for i, c in enumerate(digits) if not chr(c).isdigit()), len(digits))
    return int(digits[:end] or b"0")
