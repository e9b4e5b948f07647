"""The conformance tests of strains, by control groups of version 2."""

from __future__ import annotations

import pytest

from tests.slow.machine import Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("file", ["tests/conformance/test_strains.py", "tests/unit/test_mechanism_cgroup.py"])
def test_inside(file: str, machine: Machine) -> None:
    done = machine.pytest(file, "-k", "not UnlimitedRig", REQUIRE="root")
    print(done.output)
    assert done.code == 0
