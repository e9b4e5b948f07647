"""How answers are counted, and what becomes of a ping."""

from __future__ import annotations

import socket
import time

import pytest

from tests.infra import strangers, upstreams
from veloz_chaos.mechanisms.traffic import Count, Http, HttpCount, Line, MarkerCount, Ping, PostgreSQL, pass_through

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"
)
EMPTY = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 900\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
ENDLESS = b"HTTP/1.0 200 OK\r\n\r\nuntil the end"
HTTP, LINE = Http("here"), Line("PING\n", "\n")


def where(address: str) -> tuple[str, int]:
    host, _, port = address.partition(":")
    return host, int(port)


def fed(count: Count, stream: bytes, size: int) -> int:
    return [count.fed(stream[start : start + size]) for start in range(0, len(stream), size)][-1]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_http_answers_are_counted_however_they_are_cut(size: int) -> None:
    assert fed(HttpCount(), PLAIN + INTERIM + CHUNKED + EMPTY + PLAIN, size) == 4


@pytest.mark.parametrize("stream", [PLAIN, CHUNKED])
def test_an_incomplete_answer_does_not_count(stream: bytes) -> None:
    count = HttpCount()
    assert fed(count, stream[:-1], 1000) == 0
    assert count.ended() == 0
    assert count.fed(stream[-1:]) == 1


def test_an_answer_without_length_ends_with_the_connection() -> None:
    count = HttpCount()
    assert fed(count, PLAIN + ENDLESS, 10) == 1
    assert count.ended() == 2


def test_a_marker_may_be_cut_in_two() -> None:
    count = MarkerCount(b"\r\n")
    assert [count.fed(piece) for piece in (b"PONG\r", b"\nPONG\r\nPO", b"NG\r\n")] == [0, 2, 3]


@pytest.mark.parametrize(("piece", "answers"), [(b"", 0), (b"N", 1), (b"S", 1), (b"NE\x00\x00S", 1), (b"E\x00N", 0)])
def test_postgresql_answers_once(piece: bytes, answers: int) -> None:
    count = PostgreSQL().counter()
    assert count.fed(piece) == count.ended() == answers


@pytest.mark.parametrize(("upstream", "ping"), [(upstreams.http, HTTP), (upstreams.line, LINE)])
def test_a_thousand_pings_at_once_are_answered(upstream: upstreams.Upstream, ping: Ping) -> None:
    with upstream() as address:
        passage = pass_through(where(address), ping, 1000, 20)
    assert passage.outcome == "answered"
    assert passage.received >= 1000 * len(upstreams.BODY)
    assert 0 < passage.seconds < 20


def test_refused_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = listener.getsockname()
    assert pass_through(nobody, LINE, 1, 1).outcome == "refused"


def test_silent_where_nothing_comes_back() -> None:
    with strangers.serving(strangers.silence) as address:
        begun = time.monotonic()
        passage = pass_through(where(address), LINE, 1, 0.1)
    assert passage.outcome == "silent"
    assert 0.1 <= passage.seconds <= time.monotonic() - begun


@pytest.mark.parametrize("said", [b"", b"PO"])
def test_reset_where_the_connection_ends_before_the_answer(said: bytes) -> None:
    with strangers.serving(strangers.saying(said)) as address:
        passage = pass_through(where(address), LINE, 1, 5)
    assert (passage.outcome, passage.received) == ("reset", len(said))
