"""What a workload tells of itself."""

from __future__ import annotations

from veloz_chaos.engine.tally import Tally


def test_counts_say_what_became_of_the_orders_and_why() -> None:
    tally = Tally(sent=3)
    tally.ended("accepted", 200, "")
    tally.ended("refused", 503, "engine_unavailable")
    tally.ended("unknown", 0, "timeout")
    counts = tally.counts()
    assert (counts["accepted"], counts["refused"], counts["unknown"]) == (1, 1, 1)
    assert (counts["refusal"], counts["doubt"]) == ("503 engine_unavailable", "timeout")
    assert counts["lag"] == {"p50_ms": 0.0, "p99_ms": 0.0, "max_ms": 0}


def test_a_quantile_of_the_lag_is_never_less_than_it_was() -> None:
    tally = Tally()
    for lag in range(1, 101):
        tally.late(lag * 1_000_000)
    assert 50 <= tally.lag(0.5) <= 50.2
    assert 99 <= tally.lag(0.99) <= 99.2
    tally.late(5_000_000_000)
    assert tally.lag(1) >= 2000
    assert tally.counts()["lag"]["max_ms"] == 5000
