"""Tables fit, as far as words allow, and never part a number from its unit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from veloz_chaos.reports.table import table

_CELL = st.lists(st.text("abcdefgh", min_size=1, max_size=12), min_size=1, max_size=8).map(" ".join)


def test_columns_line_up() -> None:
    assert table(["a", "verdict"], [["long cell", "x"]]) == ["a          verdict", "─────────  ───────", "long cell  x"]


def test_a_number_stays_with_its_unit() -> None:
    lines = table(["measured", "x"], [["between 1.42–1.47 s and 10 min", "word " * 20]], 40)
    assert any("1.47 s" in line for line in lines)
    assert any("10 min" in line for line in lines)


def test_where_words_do_not_fit_they_part_at_hyphens_and_dates_never() -> None:
    row = ["exchange-rate-limit", "veloz-kubernetes", "overdue since 2026-11-25"]
    assert "exchange-rate-limit" in table(["a", "b", "c"], [row], 60)[2]
    lines = table(["a", "b", "c"], [row], 40)
    assert max(map(len, lines)) <= 40
    assert any("exchange-" in line and "limit" not in line for line in lines)
    assert any("2026-11-25" in line for line in lines)


@given(st.lists(st.tuples(_CELL, _CELL, _CELL), max_size=4))
def test_it_fits_and_loses_nothing(rows: list[tuple[str, str, str]]) -> None:
    lines = table(["one", "two", "three"], rows, 80)
    assert max(map(len, lines)) <= 80
    words = [word for row in rows for cell in row for word in cell.split()]
    assert sorted("".join(words)) == sorted("".join("".join(lines[2:]).split()))
