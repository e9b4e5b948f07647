from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slow.machine import Machine, booted


@pytest.fixture(scope="module", name="machine")
def _machine() -> Iterator[Machine]:
    with booted() as machine:
        yield machine
