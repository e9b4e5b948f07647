"""One command of another tool, bounded in time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence


def attempt(
    command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Whatever comes of it, also nothing in time. `given` is its standard input."""
    place = {**os.environ, **(environment or {})}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, input=given, timeout=seconds, env=place, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no end within {seconds:.0f} s")
