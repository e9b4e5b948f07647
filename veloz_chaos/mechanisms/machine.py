"""The machine's own memory, which no fault may use up."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def memory() -> int:
    """Bytes in all."""
    return _bytes("MemTotal")


def available() -> int:
    """Bytes that can be had without swapping."""
    return _bytes("MemAvailable")


def _bytes(name: str) -> int:
    """0 if the kernel does not say: then nothing may be taken."""
    lines = (line.split() for line in MEMINFO.read_text().splitlines())
    return next((int(fields[1]) << 10 for fields in lines if fields[0] == f"{name}:"), 0)
