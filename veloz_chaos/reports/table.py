"""Tables as plain lines: columns as wide as they must be, some of them wrapped when the terminal is narrow."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

GAP = "  "
#: A number stays with its unit: no line breaks there.
_UNIT = re.compile(r"(?<=\d) (?=(?:ns|µs|ms|s|min|h|d)\b)")
_GLUE = "\u00a0"
#: Words longer than this may be broken where the width is short.
_WORD = 24


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int = 80) -> list[str]:
    """The widest columns give way until every line fits into `width`, as far as their words allow."""
    cells = [list(columns), *([_UNIT.sub(_GLUE, cell) for cell in row] for row in rows)]
    widths = _fitted(list(zip(*cells, strict=True)), width, hyphens=False)
    if tight := _whole(widths) > width:
        widths = _fitted(list(zip(*cells, strict=True)), width, hyphens=True)
    lines = [_lines(row, widths, hyphens=tight) for row in cells]
    rule = GAP.join("─" * size for size in widths)
    return [*lines[0], rule, *(line for row in lines[1:] for line in row)]


def _whole(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _fitted(columns: Sequence[Sequence[str]], width: int, *, hyphens: bool) -> list[int]:
    """`hyphens`: words may part there."""
    widths = [max(map(len, column)) for column in columns]
    floors = [max(_longest_word(cell, hyphens) for cell in column) for column in columns]
    while _whole(widths) > width:
        spare = [size - floor for size, floor in zip(widths, floors, strict=True)]
        if max(spare) <= 0:
            break
        widest = max((n for n in range(len(widths)) if spare[n] > 0), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _longest_word(cell: str, hyphens: bool) -> int:
    words = textwrap.wrap(cell, 1, break_long_words=False, break_on_hyphens=hyphens)
    return min(_WORD, max(map(len, words), default=0))


def _lines(row: Sequence[str], widths: Sequence[int], *, hyphens: bool) -> list[str]:
    wrapped = [
        textwrap.wrap(cell, size, break_on_hyphens=hyphens) or [""] for cell, size in zip(row, widths, strict=True)
    ]
    height = max(map(len, wrapped))
    columns = [cell + [""] * (height - len(cell)) for cell in wrapped]
    return [
        GAP.join(part.ljust(size) for part, size in zip(line, widths, strict=True)).rstrip().replace(_GLUE, " ")
        for line in zip(*columns, strict=True)
    ]
