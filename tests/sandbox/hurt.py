"""What hurts the gateway of a sandbox within its limits, real or emulated."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from collections.abc import Iterator

from tests.sandbox.stack import Stack, call
from veloz_chaos.sandbox import cgroup, limits, volume
from veloz_chaos.sandbox import settings as settings_file

#: Writes memory that is charged to its group and to no process until told how much on stdin; ends with it.
FILLER = """
import os, sys, time
memory = os.memfd_create("filler")
for line in sys.stdin:
    for _ in range(int(line)):
        os.write(memory, bytes(1 << 20))
        time.sleep(0.01)
"""


def group_of(stack: Stack) -> cgroup.Group:
    group = cgroup.find(settings_file.read(stack.directory).group)
    assert group
    return group


@contextlib.contextmanager
def filling(stack: Stack, megabytes: int) -> Iterator[None]:
    """While it lasts, so much more memory is used in the gateway's group, ten milliseconds after one another."""
    command = group_of(stack).launched([sys.executable, "-c", FILLER])
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as filler:
        try:
            assert filler.stdin
            filler.stdin.write(f"{megabytes}\n")
            filler.stdin.flush()
            yield
        finally:
            filler.kill()


def cgroups(stack: Stack) -> bool:
    return bool(call(stack.sandbox.url("supervisor") + "/status").json["cgroups"])


def lower_limit(pid: int, share: float) -> None:
    soft = int(limits.address_space(pid) / share)
    resource.prlimit(pid, resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))


class Filler:
    """Takes all the space of the volume, again and again, as a fault does that holds it at 0 bytes."""

    def __init__(self, stack: Stack) -> None:
        self.file, self._real = stack.volume / "filler", cgroups(stack)
        self._volume = volume.Volume(stack.directory)

    def fill(self) -> bool:
        """True, so that it can be done again and again while one waits for something else."""
        with contextlib.suppress(OSError), open(self.file, "ab", buffering=0) as file:
            while self._real or self._volume.free() > 0:
                file.write(bytes(4096))
        return True
