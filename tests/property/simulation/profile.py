"""How hard hypothesis tries: the same examples on every machine in CI, a few seconds for each property."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_COMMON = settings(
    deadline=None,
    derandomize="CI" in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
many = settings(_COMMON, max_examples=100)
few = settings(_COMMON, max_examples=40)
