"""The engine's lines cut anywhere, and reads that overlap, break off and run side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.simulation.profile import many
from veloz_chaos.mechanisms import log_tail
from veloz_chaos.mechanisms.docker_log import Parser
from veloz_chaos.mechanisms.log_tail import LINES, OVERLAP, PART, Book, Line, Tail, stamped

STAMP = "2026-11-25T00:12:33.000000007Z"
AT = 1_795_565_553_000_000_007


def frame(text: str, stream: int = 1) -> bytes:
    data = text.encode()
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def parsed(data: bytes, cuts: Sequence[int] = (), *, tty: bool = False) -> list[Line]:
    parser, edges = Parser(tty=tty), sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [line for i, j in pairwise(edges) for line in told(parser, data[i:j])]


def told(parser: Parser, data: bytes) -> list[Line]:
    return [line for line in parser.feed(data) if line[2] is not None]


@given(st.lists(st.integers(0, 10_000), max_size=8))
@many
def test_frames_are_lines_wherever_they_are_cut(cuts: list[int]) -> None:
    data = frame(f"{STAMP} one\n") + frame(f"{STAMP} two ü\r\n", 2) + frame(f"{STAMP} \n")
    assert parsed(data, cuts) == [(1, AT, "one"), (2, AT, "two ü"), (1, AT, "")]


@given(st.lists(st.integers(0, 10_000), max_size=8))
@many
def test_without_frames_lines_are_lines(cuts: list[int]) -> None:
    data = f"{STAMP} one\r\n{STAMP} two ü\r\nunfinished".encode()
    assert parsed(data, cuts, tty=True) == [(1, AT, "one"), (1, AT, "two ü")]


def test_parts_of_a_line_are_joined_per_stream_and_bear_the_first_stamp() -> None:
    later = STAMP.replace("33.", "34.")
    data = frame(f"{STAMP} be") + frame(f"{STAMP} other\n", 2) + frame(f"{later} gun") + frame(f"{later} !\n")
    assert parsed(data) == [(2, AT, "other"), (1, AT, "begun!")]


def test_a_line_without_a_stamp_is_taken_whole() -> None:
    assert parsed(frame("no stamp\n")) == [(1, 0, "no stamp")]


#: What a container wrote, in the order of writing: stream and stamp; stdout and stderr a little out of order.
LOGS = st.lists(st.tuples(st.integers(1, 2), st.integers(0, 4)), max_size=40)


def log(drawn: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stamps that grow by steps of 0 to 0.4 s; those of stderr are 0.3 s older."""
    at, lines = 10 * OVERLAP, []
    for stream, step in drawn:
        at += step * OVERLAP // 10
        lines.append((stream, at - (3 * OVERLAP // 10 if stream == 2 else 0)))
    return lines


@given(LOGS, st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=12))
@many
def test_reads_that_begin_and_break_off_anywhere_have_each_line_once(
    drawn: list[tuple[int, int]], reads: list[tuple[int, bool]]
) -> None:
    lines, book, had = log(drawn), Book(), list[tuple[int, int]]()
    for end, asked_early in [*sorted(reads), (len(lines), False)]:
        since, is_new = book.since, book.reading()
        if asked_early:  # another read takes the same meanwhile
            other = book.reading()
            had += [line for line in lines[:end] if line[1] >= since and other(*line)]
        had += [line for line in lines[:end] if line[1] >= since and is_new(*line)]
    assert sorted(had) == sorted(lines)


def test_what_was_there_before_never_counts() -> None:
    book = Book(floor=5 * OVERLAP, last=5 * OVERLAP)
    is_new = book.reading()
    assert [is_new(1, stamp * OVERLAP) for stamp in (3, 5, 6)] == [False, False, True]


def test_a_follow_of_hours_remembers_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_tail, "KEPT", 100)
    book = Book()
    is_new = book.reading()
    assert all(is_new(1, n * OVERLAP // 10) for n in range(1, 5000))
    assert len(book.had) <= 101
    again = book.reading()
    assert not any(again(1, n * OVERLAP // 10) for n in range(4990, 5000))


def test_a_stamp_of_another_zone_is_the_same_moment() -> None:
    assert stamped(b"2026-11-25T08:12:33.000000007+08:00 one") == (AT, b"one")
    assert stamped(b"2026-11-24T19:42:33.000000007-04:30 one") == (AT, b"one")


def test_what_a_dead_container_left_without_an_end_of_line_is_its_last_line() -> None:
    parser = Parser(tty=False)
    assert told(parser, frame(f"{STAMP} one\n") + frame(f"{STAMP} dying")) == [(1, AT, "one")]
    assert list(parser.last()) == [(1, AT, "dying")]
    parser = Parser(tty=True)
    assert told(parser, f"{STAMP} one\r\n{STAMP} dying".encode()) == [(1, AT, "one")]
    assert list(parser.last()) == [(1, AT, "dying")]


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("ended", [False, True])
def test_parts_are_among_those_asked_for(tty: bool, ended: bool) -> None:
    """A read that got all it asked for is known for one that may have left some out."""
    long = "x" * (6 * PART + 1)
    messages = [long[n : n + PART] for n in range(0, len(long), PART)]
    whole = frame(f"{STAMP} short\n") * 3 + b"".join(frame(f"{STAMP} {part}") for part in messages)
    data = f"{STAMP} short\n".encode() * 3 + f"{STAMP} {long}".encode() if tty else whole
    end = frame(f"{STAMP} \n") if not tty else b"\n"
    parser = Parser(tty=tty)
    assert len([*parser.feed(data + (end if ended else b"")), *parser.begun()]) >= 3 + len(messages)


class Kept:
    """A source that counts parts, as platforms do."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    async def listed(self) -> list[str]:
        return ["one"]

    async def lines(
        self, container: str, since: int = 0, tail: int | None = None, *, follow: bool = False
    ) -> AsyncIterator[Line]:
        assert (container, since) == ("one", 0)
        if follow:
            await asyncio.Event().wait()
        for line in self._lines[-(tail or 0) :]:
            yield line


def test_one_look_has_all_lines_though_some_are_of_parts() -> None:
    lines: list[Line] = [*((1, n, f"line {n}") for n in range(1, LINES + 1)), *[(1, LINES + 1, None)] * 6]
    had: list[str] = []

    async def test() -> None:
        tail = Tail(Kept([*lines, (1, LINES + 1, "long")]), had.append, previous=True)
        await tail.open()
        await tail.look()
        await tail.close()

    asyncio.run(test())
    assert had == [*(f"line {n}" for n in range(1, LINES + 1)), "long"]


class Behind:
    """As an API server that knows less than its kubelet: asked for the first start it passes on the second one's."""

    def __init__(self) -> None:
        self.later = False

    async def listed(self) -> list[str]:
        return ["pod/app/1", *(["pod/app/2"] if self.later else []), "pod/other/1"]

    async def lines(
        self, container: str, since: int = 0, tail: int | None = None, *, follow: bool = False
    ) -> AsyncIterator[Line]:
        if follow:
            await asyncio.Event().wait()
        stamp = 2 if self.later and container != "pod/other/1" else 1
        lines: list[Line] = [(1, stamp, f"{container[:-2]} said {stamp}"), (1, stamp, "at the same instant")]
        for line in lines[-(tail or 0) :]:
            if line[1] >= since:
                yield line


def test_the_lines_of_a_later_start_are_had_once_whichever_they_are_given_for() -> None:
    had: list[str] = []

    async def test() -> None:
        source = Behind()
        tail = Tail(source, had.append, previous=True)
        await tail.open()
        await tail.look()
        source.later = True
        await tail.look()
        await tail.look()
        await tail.close()

    asyncio.run(test())
    assert sorted(had) == ["at the same instant"] * 3 + [
        "pod/app said 1",
        "pod/app said 2",
        "pod/other said 1",
    ]
