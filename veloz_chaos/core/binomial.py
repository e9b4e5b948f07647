"""How many must be looked at to see a share, and which counts go with it."""

from __future__ import annotations

import math

#: The risk of not seeing what is there, or of taking a count for another share's.
RISK = 1e-4
#: More looks at once would be a load of their own.
MOST = 200
LEAST = 1 - RISK ** (1 / MOST)


def enough(share: float) -> int:
    """So many that at least one is hit, but for RISK; one where all are."""
    return 1 if share >= 1 else math.ceil(math.log(RISK) / math.log(1 - share))


def plausible(hits: int, of: int, share: float) -> bool:
    """Would this share give so many hits, or fewer, or so many or more, in more than RISK of all cases?"""
    weights = [math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(of + 1)]
    return min(sum(weights[: hits + 1]), sum(weights[hits:])) > RISK
