from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docker.engine import Lab, lab


@pytest.fixture(name="lab")
def _lab() -> Iterator[Lab]:
    with lab() as made:
        yield made
