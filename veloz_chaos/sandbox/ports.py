"""Ports for a sandbox: the fixed ones, or free ones so that several sandboxes run side by side.

Free ones are taken from below the kernel's ephemeral range: a port from within may become the source of somebody's
outgoing connection while its server is being restarted, and a probe of it may even connect to itself.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from pathlib import Path

from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox.settings import MONITOR_PORTS, PORTS

LOWEST = 20_000
ATTEMPTS = 100


def fixed(monitored: bool = False) -> Mapping[str, int]:
    """The default ports. Raises UsageError if one is in use."""
    for service, port in _all(monitored).items():
        if not free(port):
            raise UsageError(
                f"port {port} (sandbox {service}) is in use; "
                "stop what listens there, run `veloz-chaos sandbox down`, "
                "or take others: veloz-chaos sandbox up --free-ports"
            )
    return _all(monitored)


def unused(monitored: bool = False) -> Mapping[str, int]:
    """As many adjacent free ports, at random. Raises UsageError if there seem to be none."""
    wanted = _all(monitored)
    highest = _ephemeral_start() - len(wanted)
    for _ in range(ATTEMPTS):
        first = random.randrange(LOWEST, highest)
        if all(free(first + offset) for offset in range(len(wanted))):
            return {service: first + offset for offset, service in enumerate(wanted)}
    raise UsageError(f"found no {len(wanted)} adjacent free ports between {LOWEST} and {highest}; free some")


def _all(monitored: bool) -> dict[str, int]:
    return {**PORTS, **(MONITOR_PORTS if monitored else {})}


def free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _ephemeral_start() -> int:
    range_file = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(range_file.read_text().split()[0]) if range_file.exists() else 32_768
    return first if first > LOWEST + 1_000 else 65_000
