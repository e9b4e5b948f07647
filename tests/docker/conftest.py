"""Containers that are taken away after each test, with the helpers beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.docker.engine import Lab, lab
from tests.infra import containers

Create = Callable[..., str]


@pytest.fixture
def create() -> Iterator[Create]:
    with ExitStack() as stack:

        def begin(*arguments: Any, **options: Any) -> str:
            made = containers.create(*arguments, **options)
            stack.callback(containers.destroy, made)
            return made

        yield begin


@pytest.fixture(name="lab")
def _lab() -> Iterator[Lab]:
    with lab() as made:
        yield made
