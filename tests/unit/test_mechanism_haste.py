"""Right of way while something must be on time, for nobody else, and given back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from veloz_chaos.mechanisms.haste import haste

ASK = "import os; print(os.sched_getscheduler(0))"


def _allowed() -> bool:
    with haste():
        return os.sched_getscheduler(0) & os.SCHED_RR != 0


@pytest.mark.skipif(not _allowed(), reason="needs the right to real-time priority (root)")
def test_neither_children_nor_threads_are_favoured() -> None:
    seen: list[int] = []
    with haste():
        child = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
        thread = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0)))
        thread.start()
        thread.join()
    assert int(child.stdout) == os.SCHED_OTHER
    assert seen == [os.SCHED_OTHER]


def test_it_is_given_back_whatever_happens() -> None:
    before = os.sched_getscheduler(0)
    with pytest.raises(ValueError, match="inside"), haste():
        raise ValueError("inside")
    assert os.sched_getscheduler(0) == before
