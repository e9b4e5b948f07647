from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.slow.machine import Machine, booted

#: Images of the tests' own engine, by name, that the machine's engine needs beside those of tests/infra/images.sh.
IMAGES: tuple[str, ...] = ()

collect_ignore = [] if "VELOZ_CHAOS_MACHINE" in os.environ else ["inside"]


@pytest.fixture(scope="module", name="machine")
def _machine() -> Iterator[Machine]:
    with booted(IMAGES) as machine:
        yield machine
