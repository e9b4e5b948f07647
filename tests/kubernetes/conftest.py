from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kubernetes import lab as labs


@pytest.fixture
def lab() -> Iterator[labs.Lab]:
    with labs.lab() as made:
        yield made
