"""Ports for a sandbox: the fixed ones, or free ones so that several sandboxes run side by side.

A port is free while nobody listens there: also before a service has begun to, and while one that died is not back yet.
So free ones come with a claim, by which no other sandbox takes them as long as anybody has it open.

Free ones are taken from below the kernel's ephemeral range: a port from within may become the source of somebody's
outgoing connection while its server is being restarted, and a probe of it may even connect to itself.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox.settings import MONITOR_PORTS, PORTS

LOWEST = 20_000
#: Claimed together, and more than a sandbox wants.
BLOCK = 20


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


def unused(monitored: bool = False) -> tuple[Mapping[str, int], socket.socket]:
    """As many adjacent free ports, at random, and the claim to them. Raises UsageError if there are none."""
    wanted = _all(monitored)
    for first, claim in _claims():
        if all(free(first + offset) for offset in range(len(wanted))):
            return {service: first + offset for offset, service in enumerate(wanted)}, claim
        claim.close()
    raise UsageError(f"found no {len(wanted)} adjacent free ports from {LOWEST} to {_ephemeral_start()}; free some")


def _claims() -> Iterator[tuple[int, socket.socket]]:
    """Of each block that nobody has claimed, in any order. A claim is a name of this network's, as its ports are."""
    blocks = list(range(LOWEST, _ephemeral_start() - BLOCK, BLOCK))
    for first in random.sample(blocks, len(blocks)):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with suppress(OSError):
            claim.bind(f"\0veloz-chaos-ports-{first}")
            yield first, claim
            continue
        claim.close()


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
