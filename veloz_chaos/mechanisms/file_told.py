"""What is told of a file on another machine, by whatever platform."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Told:
    """Bytes; how long ago it changed, at most, if that is known."""

    size: int
    age_ms: float | None
