"""Tables as plain lines: columns as wide as they must be, one of them wrapped when the terminal is narrow."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

GAP = "  "
#: A column is never squeezed below this.
_LEAST = 12


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int = 80) -> list[str]:
    """The widest columns give way until every line fits into `width`; words longer than that are broken."""
    cells = [list(columns), *map(list, rows)]
    widths = _fitted([max(len(row[n]) for row in cells) for n in range(len(columns))], width)
    lines = [line for row in cells for line in _lines(row, widths)]
    rule = GAP.join("─" * size for size in widths)
    head = len(_lines(cells[0], widths))
    return [*lines[:head], rule, *lines[head:]]


def _fitted(widths: list[int], width: int) -> list[int]:
    room = width - len(GAP) * (len(widths) - 1)
    while sum(widths) > room and max(widths) > _LEAST:
        widest = widths.index(max(widths))
        widths[widest] -= 1
    return widths


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    wrapped = [textwrap.wrap(cell, size) or [""] for cell, size in zip(row, widths, strict=True)]
    height = max(map(len, wrapped))
    columns = [cell + [""] * (height - len(cell)) for cell in wrapped]
    return [GAP.join(part.ljust(size) for part, size in zip(line, widths, strict=True)).rstrip()
            for line in zip(*columns, strict=True)]  # fmt: skip
