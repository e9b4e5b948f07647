"""A sandbox with the real Prometheus and Alertmanager: each failure raises its own alert and no other, tells whom the
document names, and is over soon after."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.infra import prometheus, require
from tests.sandbox.hurt import HURTS, QUIET, cgroups
from tests.sandbox.stack import until
from tests.sandbox.watched import Watched, started
from veloz_chaos.engine import files

pytestmark = [pytest.mark.sandbox, pytest.mark.prometheus, pytest.mark.timeout(240)]
ROWS = files.matrix().rows
#: What hurts within limits, which may be emulated.
LIMITED = ["oom-kill", "cpu-saturation", "memory-pressure", "disk-full"]


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One for all tests that want the same: `real` with the kernel's limits, where we are root, or `emulated`."""
    prometheus.require()
    with started(tmp_path_factory.mktemp(request.param) / "sandbox", emulated=request.param == "emulated") as up:
        if request.param == "real" and not cgroups(up):
            require.absent("root", "no control group can be made here, so that its limits are emulated")
        yield up


REAL = pytest.mark.parametrize("stack", ["real"], indirect=True, scope="module")


def raises_its_own_alert(stack: Watched, row: str) -> None:
    alert = ROWS[row].alert
    assert alert
    wanted, begun, after = set(alert.channels), time.time(), len(stack.caught())
    with HURTS[row](stack) as again:  # where it has to be held by us: what holds it
        labels = until(lambda: (not callable(again) or again()) and stack.labels(row))
        until(lambda: stack.told(row, "firing", after) == wanted)
    assert (labels["alertname"], labels["severity"]) == (alert.as_.replace(" ", ""), alert.severity)
    until(lambda: stack.told(row, "resolved", after) == wanted and not stack.alerts())
    until(stack.healthy)
    assert stack.fired_since(begun) == {row}
    assert {name for one in stack.caught(after) for name in one["failures"]} == {row}


def test_every_row_with_an_alert_is_hurt() -> None:
    assert set(HURTS) == {name for name, row in ROWS.items() if row.alert}


@pytest.mark.parametrize(
    ("stack", "row"),
    [*(("real", row) for row in HURTS), *(("emulated", row) for row in LIMITED)],
    indirect=["stack"],
    scope="module",
)
def test_a_failure_raises_its_own_alert_and_no_other(stack: Watched, row: str) -> None:
    raises_its_own_alert(stack, row)


@REAL
@pytest.mark.parametrize("row", QUIET)
def test_what_has_no_alert_raises_none(stack: Watched, row: str) -> None:
    begun = time.time()
    with QUIET[row](stack):
        until(lambda: not stack.healthy())
        time.sleep(4)
    until(stack.healthy)
    assert stack.fired_since(begun) == set()


@REAL
def test_its_own_parts_come_back_and_go_on(stack: Watched) -> None:
    for name in ("alertmanager", "prometheus"):
        stack.kill(name, signal.SIGKILL)
        until(lambda name=name: stack.service(name)["restarts"] == 1)  # type: ignore[misc]
        until(lambda name=name: stack.service(name)["state"] == "healthy")  # type: ignore[misc]
    until(stack.watches)  # it asks its targets some 5 s after its start
    raises_its_own_alert(stack, "engine-crash")
