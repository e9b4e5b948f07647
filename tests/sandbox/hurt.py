"""What hurts a sandbox: the gateway within its limits, real or emulated, and all that has a row with an alert."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

from tests.sandbox.stack import Stack, call, until
from veloz_chaos.sandbox import cgroup, limits, volume
from veloz_chaos.sandbox import settings as settings_file

Hurt = Callable[[Stack], "contextlib.AbstractContextManager[object]"]

#: Writes memory that is charged to its group and to no process until told how much on stdin; ends with it. From where
#: the gateway's watch is to see what comes it goes slowly.
FILLER = """
import os, sys, time
memory = os.memfd_create("filler")
for line in sys.stdin:
    for number in range(int(line)):
        os.write(memory, bytes(1 << 20))
        time.sleep(0.01 if number < 80 else 0.1)
"""


def group_of(stack: Stack) -> cgroup.Group:
    group = cgroup.find(settings_file.read(stack.directory).group)
    assert group
    return group


@contextlib.contextmanager
def filling(stack: Stack, megabytes: int) -> Iterator[None]:
    """While it lasts, so much more memory is used in the gateway's group, one after another."""
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


# --- by row ---------------------------------------------------------------------------------------------------------


def killed(service: str) -> Hurt:
    @contextlib.contextmanager
    def hurting(stack: Stack) -> Iterator[None]:
        stack.kill(service, signal.SIGKILL)
        yield

    return hurting


def on_link(link: str, *toxics: Mapping[str, object]) -> Hurt:
    @contextlib.contextmanager
    def hurting(stack: Stack) -> Iterator[None]:
        for toxic in toxics:
            assert stack.links("POST", f"/proxies/{link}/toxics", toxic).status == 200
        yield
        for toxic in toxics:
            stack.links("DELETE", f"/proxies/{link}/toxics/{toxic['name']}")

    return hurting


SILENT = [{"type": "timeout", "stream": stream, "name": stream} for stream in ("upstream", "downstream")]
LATE = {"type": "latency", "name": "late", "attributes": {"latency": 600, "jitter": 50}}


@contextlib.contextmanager
def rate_limited(stack: Stack) -> Iterator[None]:
    fault = {"name": "limit", "status": 429, "retry-after": "2s", "binance": True, "expires": 60}
    place = f"{stack.sandbox.url('faults')}/proxies/exchange/faults"
    assert call(place, "POST", fault).status == 201
    yield
    call(f"{place}/limit", "DELETE")


@contextlib.contextmanager
def oom_killed(stack: Stack) -> Iterator[None]:
    if cgroups(stack):
        with filling(stack, limits.MEMORY >> 20):
            yield
    else:
        lower_limit(stack.pid("gateway"), 1.1)
        yield


@contextlib.contextmanager
def without_memory(stack: Stack) -> Iterator[None]:
    if cgroups(stack):
        with filling(stack, int(0.7 * limits.MEMORY) >> 20):
            yield
    else:
        lower_limit(stack.pid("gateway"), 0.9)
        yield
        lower_limit(stack.pid("gateway"), 0.1)


@contextlib.contextmanager
def without_cpu(stack: Stack) -> Iterator[None]:
    command = [sys.executable, "-c", "while True: pass"]
    if cgroups(stack):
        command = group_of(stack).launched(command)
    else:
        command = ["taskset", "-c", ",".join(map(str, os.sched_getaffinity(stack.pid("gateway")))), *command]
    busy = [subprocess.Popen(command) for _ in range(2)]
    try:
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()


@contextlib.contextmanager
def without_room(stack: Stack) -> Iterator[Callable[[], bool]]:
    filler = Filler(stack)
    until(lambda: filler.fill() and stack.gateway("/health").json["disk"]["status"] == "full")
    try:
        yield filler.fill
    finally:
        filler.file.unlink()


HURTS: dict[str, Hurt] = {
    "engine-crash": killed("engine"),
    "gateway-crash": killed("gateway"),
    "oom-kill": oom_killed,
    "network-partition": on_link("engine", *SILENT),
    "exchange-down": on_link("exchange", *SILENT),
    "network-latency": on_link("exchange", LATE),
    "exchange-rate-limit": rate_limited,
    "cpu-saturation": without_cpu,
    "memory-pressure": without_memory,
    "disk-full": without_room,
}
#: Rows without an alert: nobody is woken.
QUIET: dict[str, Hurt] = {
    "database-down": on_link("database", *SILENT),
    "vault-down": on_link("vault", *SILENT),
}
