"""The examples of the standard, cut anywhere; and numbers that go on, jump, repeat."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veloz_chaos.mechanisms.event_stream import LIMIT, Message, Parser
from veloz_chaos.mechanisms.numbering import Numbering


def parsed(*pieces: bytes) -> list[Message]:
    parser = Parser()
    return [message for piece in pieces for message in parser.feed(piece)]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Message("message", None, "YHOO\n+2\n10")]),
        (b": test stream\n\ndata: first event\nid: 1\n\n", [Message("message", "1", "first event")]),
        (b"data:second event\nid\n\n", [Message("message", "", "second event")]),
        (b"data:  third event\n\n", [Message("message", None, " third event")]),
        (b"data\n\ndata\ndata\n\ndata:", [Message("message", None, ""), Message("message", None, "\n")]),
        (
            b"event: add\ndata: 73857293\n\ndata: x\n\n",
            [Message("add", None, "73857293"), Message("message", None, "x")],
        ),
        (b"id: 7\n\n", [Message("message", "7", None)]),
        (b"event: lonely\n\nretry: 10\n\nother: 1\n\n", []),
        (b"id: a\0b\ndata: x\n\n", [Message("message", None, "x")]),
        (b"\xef\xbb\xbfdata: bom\r\n\r\n", [Message("message", None, "bom")]),
        (b"data: cr\r\rdata: y\r\n\n", [Message("message", None, "cr"), Message("message", None, "y")]),
        (b"data: never ended\n", []),
    ],
)
def test_messages(text: bytes, messages: list[Message]) -> None:
    assert parsed(text) == messages


@given(st.lists(st.integers(0, 100), max_size=6), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_where_it_is_cut_does_not_matter(cuts: list[int], end: bytes) -> None:
    lines = [
        "event: order",
        "id: 12",
        "data: ä€😀",
        "",
        ": keep-alive",
        "",
        "id: 13",
        "data: b",
        "data: c",
        "",
        "data: d",
    ]
    text = b"".join(line.encode() + end for line in [*lines, "", ":"])
    places = sorted(cut % len(text) for cut in cuts)
    pieces = [text[start:stop] for start, stop in zip([0, *places], [*places, len(text)], strict=True)]
    assert parsed(*pieces) == [
        Message("order", "12", "ä€😀"), Message("message", "13", "b\nc"), Message("message", None, "d"),
    ]  # fmt: skip


def test_a_line_without_end_is_cut() -> None:
    parser = Parser()
    for _ in range(3):
        assert list(parser.feed(b"x" * LIMIT)) == []
    assert len(parser._text) <= LIMIT


def numbered(*ids: str) -> Numbering:
    """`|`: it was away."""
    numbering = Numbering()
    for each in ids:
        if each == "|":
            numbering.came_back()
        else:
            numbering.saw(each)
    return numbering


@pytest.mark.parametrize(
    ("ids", "gaps", "missed"),
    [
        ("1 2 3 | 4 5", 0, 0),
        ("1 2 3 | 5 6", 1, 1),
        ("1 2 3 | 7 8 | 20", 2, 14),
        ("7 8 | | 10", 1, 1),
        ("1 2 3 | 3 4", 0, 0),  # repeated
        ("1 2 3 | 1 2", 0, 0),  # numbered anew
        ("1 2 5 | 9", 0, 0),  # not consecutive
        ("10 20 | 31", 0, 0),
        ("1 | 9", 0, 0),  # not known
        ("| 5 6 | 8", 1, 1),
        ("a b | 9", 0, 0),
        ("1 2 x | 9", 0, 0),
        ("1 2 ² | 9", 0, 0),
        ("", 0, 0),
    ],
)
def test_gaps(ids: str, gaps: int, missed: int) -> None:
    found = numbered(*ids.split())
    assert (found.gaps, found.missed) == (gaps, missed)


def test_whether_they_count_is_told() -> None:
    assert [numbered(*ids.split()).consecutive for ids in ("1", "1 2", "1 3", "1 3 4", "1 2 | 4")] == [
        None, True, False, False, True,
    ]  # fmt: skip


@given(st.integers(0, 50), st.lists(st.tuples(st.integers(2, 9), st.integers(0, 4)), min_size=1, max_size=6))
def test_what_is_lost_while_away_is_counted_to_the_last(start: int, stretches: list[tuple[int, int]]) -> None:
    numbering, number = Numbering(), start
    for seen, lost in stretches:
        numbering.came_back()
        for _ in range(seen):
            numbering.saw(str(number))
            number += 1
        number += lost
    missing = [lost for _, lost in stretches[:-1]]
    assert (numbering.missed, numbering.gaps) == (sum(missing), sum(1 for lost in missing if lost))
