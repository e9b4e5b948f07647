"""The strains of a process whose limits are those of a control group of version 2. It takes 10 times as long in here as
outside, so that these are the conformance tests with more patience."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conformance.pairs import SIGN
from tests.conformance.rigs import LimitedRig
from tests.conformance.test_strains import NestedRig
from veloz_chaos.faults.cpu import Cpu
from veloz_chaos.faults.disk import Disk
from veloz_chaos.faults.memory import Memory
from veloz_chaos.faults.out_of_memory import OutOfMemory
from veloz_chaos.mechanisms import cgroup

PATIENCE, LONG = 120.0, 600.0


@contextmanager
def running(rig: type[LimitedRig], folder: Path) -> Iterator[LimitedRig]:
    started = rig(folder)
    try:
        started.begin()
        yield started
    finally:
        started.stop()


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)


@pytest.mark.parametrize("rig", [LimitedRig, NestedRig])
def test_the_limits_are_found(rig: type[LimitedRig], tmp_path: Path) -> None:
    with running(rig, tmp_path) as one:
        memory, cpu = cgroup.memory_of(one.child.pid), cgroup.cpu_of(one.child.pid)
        assert memory
        assert cpu
        assert (memory.unified, memory.limit, cpu.quota) == (True, 96 << 20, 0.6)
        assert memory.used() > 16 << 20
        assert one.child.pid in cpu.members()
        assert [offer.capability for offer in one.target().offered() if offer.emulated] == []


@pytest.mark.parametrize("rig", [LimitedRig, NestedRig])
@pytest.mark.parametrize("fault", [Cpu(), Memory(), Disk(volume="logs")], ids=["cpu", "memory", "disk"])
def test_what_is_held_is_held_and_given_back(fault: Cpu | Memory | Disk, rig: type[LimitedRig], tmp_path: Path) -> None:
    with running(rig, tmp_path) as one:
        target = one.target()
        receipt = {**fault.prepare(target, SIGN), "expires": LONG}  # type: ignore[arg-type]
        fault.inject(target, receipt)  # type: ignore[arg-type]
        until(lambda: fault.in_place(target, receipt).shown)  # type: ignore[arg-type]
        assert one.traces()
        fault.revert(target, receipt)  # type: ignore[arg-type]
        until(lambda: fault.in_place(target, receipt).shown is False)  # type: ignore[arg-type]
        assert one.traces() == []
        assert one.child.poll() is None


@pytest.mark.parametrize("rig", [LimitedRig, NestedRig])
def test_the_kernel_kills_the_target_and_counts_it(rig: type[LimitedRig], tmp_path: Path) -> None:
    with running(rig, tmp_path) as one:
        target, fault = one.target(), OutOfMemory(ramp=timedelta(seconds=1))
        receipt = fault.prepare(target, SIGN)  # type: ignore[arg-type]
        fault.inject(target, receipt)  # type: ignore[arg-type]
        until(lambda: one.child.poll() is not None)
        assert one.child.returncode == -9
        until(lambda: fault.in_place(target, receipt).shown)  # type: ignore[arg-type]
