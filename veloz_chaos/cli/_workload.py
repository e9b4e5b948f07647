"""The hidden command that the runner starts: the process that places a workload's orders."""

from __future__ import annotations

from veloz_chaos.engine.placing import main


def place() -> int:
    """Returns its exit code."""
    return main()
