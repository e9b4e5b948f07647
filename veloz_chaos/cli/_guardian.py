"""The hidden command that the runner starts: it outlives it, and takes out what the journal holds open."""

from __future__ import annotations

from pathlib import Path

from veloz_chaos.engine.guardian import main
from veloz_chaos.registry import Registry


def guard(folder: str) -> int:
    """Returns the guardian's exit code."""
    return main(Path(folder), Registry())
