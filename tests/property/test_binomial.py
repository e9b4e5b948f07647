"""What counts prove, against sums over every outcome, and against simulated systems whose truth is known."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veloz_chaos.core import binomial

RUNS = st.integers(1, 40)


def exactly_below(k: int, n: int, p: Fraction) -> Fraction:
    """Brute force, in whole numbers."""
    terms = (math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(0, min(k, n) + 1))
    return sum(terms, Fraction(0))


@given(st.integers(-1, 45), RUNS, st.integers(0, 50))
def test_the_sum_is_the_exact_one(k: int, n: int, p: int) -> None:
    exact = exactly_below(k, n, Fraction(p, 50))
    assert binomial.below(k, n, p / 50) == pytest.approx(float(exact), abs=1e-12)


@given(RUNS, st.data())
def test_the_share_is_where_the_exact_sum_says(n: int, data: st.DataObject) -> None:
    failures = data.draw(st.integers(0, n))
    share = binomial.share(n, failures)
    if failures == n:
        assert share == 0
        return
    assert float(exactly_below(failures, n, 1 - Fraction(share))) == pytest.approx(0.05, abs=1e-9)


@given(RUNS, st.data())
def test_the_rank_is_the_smallest_that_the_exact_sum_allows(n: int, data: st.DataObject) -> None:
    q = data.draw(st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(95, 100), Fraction(99, 100)]))
    allowed = [k for k in range(1, n + 1) if exactly_below(k - 1, n, q) >= Fraction(95, 100)]
    assert binomial.rank(n, float(q)) == (allowed[0] if allowed else None)


@settings(max_examples=40)
@given(st.integers(1, 300), st.data())
def test_more_runs_prove_more_and_more_failures_less(n: int, data: st.DataObject) -> None:
    failures = data.draw(st.integers(0, n))
    share = binomial.share(n, failures)
    assert binomial.share(n + 1, failures) >= share
    if failures:
        assert binomial.share(n, failures - 1) >= share
    assert share <= (n - failures) / n


@settings(max_examples=40)
@given(st.integers(0, 30), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_what_is_needed_is_just_enough(failures: int, wanted: float) -> None:
    n = binomial.needed(wanted, failures)
    assert binomial.share(n, failures) >= wanted > binomial.share(n - 1, failures)


@given(st.integers(1, 400), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_bound_exists_from_the_needed_number_on(n: int, q: float) -> None:
    assert (binomial.rank(n, q) is not None) == (n >= binomial.needed(q))


def test_known_values() -> None:
    assert (binomial.needed(0.95), binomial.needed(0.99), binomial.needed(0.9), binomial.needed(0.5)) == (
        59,
        299,
        29,
        5,
    )
    assert [binomial.needed(0.95, failures) for failures in (1, 2, 3, 4)] == [93, 124, 153, 181]
    assert binomial.share(59, 0) == pytest.approx(0.05 ** (1 / 59))
    assert binomial.share(58, 0) < 0.95 <= binomial.share(59, 0)
    assert binomial.share(0, 0) == 0
    assert (binomial.rank(58, 0.95), binomial.rank(59, 0.95), binomial.rank(93, 0.95)) == (None, 59, 92)


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.sampled_from([0.6, 0.9, 0.97]), st.integers(5, 60))
def test_in_at_most_one_of_twenty_series_too_much_is_claimed(seed: int, truth: float, n: int) -> None:
    chance, series = random.Random(seed), 2000
    shares = {failures: binomial.share(n, failures) for failures in range(n + 1)}
    wrong = sum(shares[sum(chance.random() >= truth for _ in range(n))] > truth for _ in range(series))
    assert wrong / series <= 0.05 + 5 * math.sqrt(0.05 * 0.95 / series)


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 0.9, 0.95]), st.integers(59, 120))
def test_in_at_most_one_of_twenty_series_the_bound_is_below_the_quantile(seed: int, q: float, n: int) -> None:
    chance, series = random.Random(seed), 1000
    k = binomial.rank(n, q)
    assert k is not None
    wrong = sum(sorted(chance.random() for _ in range(n))[k - 1] < q for _ in range(series))
    assert wrong / series <= 0.05 + 5 * math.sqrt(0.05 * 0.95 / series)
