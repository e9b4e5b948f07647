"""Sandboxes on free ports; after each test they are down, and no process of theirs is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.stack import Stack, processes_of, until
from veloz_chaos.sandbox import control

Start = Callable[..., Stack]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts sandboxes: `start("flaw", …, name="directory", database="stand-in")`."""
    directories: list[Path] = []

    def begin(*flaws: str, name: str = "sandbox", **options: Any) -> Stack:
        directories.append(tmp_path / name)
        return Stack(control.up(tmp_path / name, free_ports=True, flaws=flaws, **options))

    yield begin
    for directory in directories:
        control.down(directory)
    until(lambda: not processes_of(tmp_path))  # the database's own children see a moment later that it was killed


@pytest.fixture
def stack(start: Start) -> Stack:
    return start()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One sandbox for the tests of a module that hurt nothing."""
    directory = tmp_path_factory.mktemp("shared") / "sandbox"
    yield Stack(control.up(directory, free_ports=True))
    control.down(directory)
    until(lambda: not processes_of(directory))
