"""Every file of tests/slow/inside, run by pytest in the machine: to add one is all that it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.slow.machine import ROOT, Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FILES = [*sorted((Path(__file__).parent / "inside").glob("test_*.py")), ROOT / "tests/unit/test_mechanism_cgroup.py"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_inside(file: Path, machine: Machine) -> None:
    if "docker" in file.stem:
        machine.docker()
    done = machine.pytest(str(file.relative_to(ROOT)), env={"REQUIRE": "root,docker"})
    assert done.code == 0, done.output
