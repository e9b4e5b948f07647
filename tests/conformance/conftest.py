from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.rigs import Rig

Start = Callable[[type[Rig]], Rig]


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """Starts a rig that is stopped after the test."""

    def begin(kind: type[Rig]) -> Rig:
        rig = kind(tmp_path)
        request.addfinalizer(rig.stop)
        rig.begin()
        return rig

    return begin
