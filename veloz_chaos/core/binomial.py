"""Exact statements from counts: what n runs of which f failed prove, without any assumption of a distribution.

- The share that succeeds is at least p, with P(Bin(n, p) ≥ n − f) = 1 − confidence (Clopper and Pearson, one-sided);
  without a failure that is 0.05^(1/n): 95 % from 59 runs on, 99 % from 299.
- The quantile q is at most the k-th smallest of n values, with the smallest k for which P(Bin(n, q) ≤ k − 1) ≥
  confidence (Hahn and Meeker, Statistical Intervals, 5.2). With too few values there is no such k.
"""

from __future__ import annotations

import math
from bisect import bisect_left

CONFIDENCE = 0.95
#: The risk of not seeing what is there, or of taking a count for another share's.
RISK = 1e-4
#: More looks at once would be a load of their own.
MOST = 200
LEAST = 1 - RISK ** (1 / MOST)
#: Halvings of [0, 1]: beyond the digits of a float.
_STEPS = 60


def below(k: int, n: int, p: float) -> float:
    """P(Bin(n, p) ≤ k)."""
    if k < 0 or p >= 1:
        return float(k >= n)
    if k >= n or p <= 0:
        return 1.0
    return min(1.0, math.fsum(math.exp(_log_mass(i, n, p)) for i in range(k + 1)))


def _log_mass(i: int, n: int, p: float) -> float:
    choose = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
    return choose + i * math.log(p) + (n - i) * math.log1p(-p)


def share(n: int, failures: int, confidence: float = CONFIDENCE) -> float:
    """So many succeed at least; 0 where nothing is proven. Never rounded up."""
    if failures >= n:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if below(failures, n, 1 - middle) <= 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def needed(wanted: float, failures: int = 0, confidence: float = CONFIDENCE) -> int:
    """So many runs, of which so many fail, prove the wanted share."""
    high = failures + 1
    while share(high, failures, confidence) < wanted:
        high *= 2
    return bisect_left(range(high), wanted, lo=failures, key=lambda n: share(n, failures, confidence))


def rank(n: int, q: float, confidence: float = CONFIDENCE) -> int | None:
    """The k of the k-th smallest of n values that the quantile does not exceed; None if n is too small."""
    k = bisect_left(range(n), confidence, key=lambda k: below(k, n, q))
    return k + 1 if k < n and below(k, n, q) >= confidence else None


def enough(share: float) -> int:
    """So many looks that at least one is hit, but for RISK; one where all are."""
    return 1 if share >= 1 else math.ceil(math.log(RISK) / math.log(1 - share))


def plausible(hits: int, of: int, share: float) -> bool:
    """Would this share give so many hits, or fewer, or so many or more, in more than RISK of all cases?"""
    return min(below(hits, of, share), 1 - below(hits - 1, of, share)) > RISK
