"""Counts, gaps and calls that came too early, at instants that the test chooses; shares; where bodies end."""

from __future__ import annotations

import pytest

from veloz_chaos.core.binomial import enough, plausible
from veloz_chaos.proxy.message import BadMessage, Chunked, Framing
from veloz_chaos.proxy.reply import Limiter
from veloz_chaos.proxy.traffic import GRACE, Traffic


def arrivals(traffic: Traffic, *times: float) -> list[bool]:
    return [traffic.arrived(time) for time in times]


def test_early_is_beyond_the_grace_and_before_the_time_named() -> None:
    traffic = Traffic(now=0)
    assert arrivals(traffic, 1.0) == [False]
    traffic.said(429, "2", now=1.0)
    assert arrivals(traffic, 1.0 + GRACE / 2, 1.0 + GRACE, 2.9, 3.0) == [False, True, True, False]
    assert traffic.early == 2


def test_refusals_one_after_the_other_do_not_renew_the_grace() -> None:
    traffic = Traffic(now=0)
    for step in range(20):
        at = 1.0 + step * GRACE / 2
        traffic.arrived(at)
        traffic.said(429, "2", now=at)
    assert traffic.early == 18


@pytest.mark.parametrize(("status", "wait"), [(200, "2"), (429, ""), (429, "soon")])
def test_what_names_no_time_forbids_nothing(status: int, wait: str) -> None:
    traffic = Traffic(now=0)
    traffic.said(status, wait, now=1.0)
    assert arrivals(traffic, 1.5) == [False]


def test_the_longest_gap_is_that_of_the_time_asked_about() -> None:
    traffic = Traffic()
    start = traffic.born
    arrivals(traffic, *(start + at for at in (1, 6, 7, 9, 9.5)))
    assert traffic.figures(0)["longest_gap_ms"] == pytest.approx(5000, abs=1)
    assert traffic.figures(4000)["longest_gap_ms"] == pytest.approx(2000, abs=1)
    assert traffic.figures(6500)["longest_gap_ms"] == pytest.approx(2000, abs=1)


def test_a_silence_that_lasts_is_a_gap() -> None:
    traffic = Traffic()
    traffic.born = traffic._last = traffic.born - 60
    assert traffic.figures()["longest_gap_ms"] >= 60_000
    assert traffic.figures(50_000)["longest_gap_ms"] == pytest.approx(10_000, abs=2_000)


def test_a_limiter_counts_by_periods() -> None:
    limiter = Limiter(2, 10.0)
    assert [limiter.take(now=at) for at in (0, 1, 4)] == [0, 0, 6]
    assert limiter.take(look=True, now=11) == 0
    assert [limiter.take(now=at) for at in (11, 12, 13)] == [0, 0, 8]


def test_enough_are_looked_at_and_no_other_share_is_taken_for_it() -> None:
    for share in (0.05, 0.3, 0.9):
        of = enough(share)
        assert (1 - share) ** of <= 1e-4 < (1 - share) ** (of - 1)
        assert plausible(round(of * share), of, share)
    assert not plausible(26, 26, 0.3)
    assert not plausible(0, 40, 0.3)
    assert enough(1.0) == 1
    assert plausible(1, 1, 1.0)
    assert not plausible(0, 1, 1.0)


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_where_a_chunked_body_ends(step: int) -> None:
    wire = b"5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nGET /next"
    framing, taken = Chunked(), 0
    for start in range(0, len(wire), step):
        piece = wire[start : start + step]
        used = framing.feed(piece)
        taken += used
        if used < len(piece) or framing.done:
            break
    assert (wire[taken:], framing.payload, framing.done) == (b"GET /next", 15, True)


def test_a_body_is_cut_at_a_count_of_its_content() -> None:
    framing = Chunked()
    assert framing.feed(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", most=7) == len(b"5\r\nhello\r\n5\r\nwo")
    assert Framing(10).feed(b"x" * 20, most=4) == 4
    assert Framing(10).feed(b"x" * 20) == 10


@pytest.mark.parametrize("wire", [b"x\r\n", b"-1\r\n", b"\r\n", b"1" * 20 + b"\r\n", b"1" * 20_000])
def test_a_malformed_chunk_is_an_error(wire: bytes) -> None:
    with pytest.raises(BadMessage):
        Chunked().feed(wire)
