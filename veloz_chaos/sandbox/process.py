"""What every process of the sandbox does: know its settings, say when it is ready, end when told, die with its parent.

Children hold the read end of a pipe as stdin whose other end only the supervisor has, and ask the kernel for a SIGKILL
when it dies: the first covers the moment before the second is set, the second covers a child that is stopped or hung.
A process is named by pid, start time and boot id: a pid alone may be somebody else's tomorrow.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from veloz_chaos.sandbox import settings as settings_file
from veloz_chaos.sandbox.settings import Settings

_PR_SET_PDEATHSIG = 1
Serve = Callable[[Settings, asyncio.Event], Awaitable[None]]


#: Who was started, one line each; what `down` goes by.
PROCESSES = "processes.jsonl"


class Identity(NamedTuple):
    """One incarnation of a process: start time in clock ticks since boot, as in /proc/PID/stat field 22."""

    pid: int
    start: int
    boot: str


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Start time in clock ticks since boot, or None if there is no such process or it is a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if after_name[0] in "ZX" else int(after_name[19])


def identify(pid: int) -> Identity | None:
    start = start_time(pid)
    return None if start is None else Identity(pid, start, boot_id())


def alive(identity: Identity) -> bool:
    return identity.boot == boot_id() and start_time(identity.pid) == identity.start


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old content or the new, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.rename(path)


def run(serve: Serve) -> None:
    """Run a child of the supervisor: `serve` is given the settings and an event that is set by SIGTERM."""
    asyncio.run(_run_child(settings_file.read(Path(sys.argv[1])), serve))


async def _run_child(settings: Settings, serve: Serve) -> None:
    _die_with_parent()
    await serve(settings, stop_on_sigterm())


def run_alone(settings: Settings, serve: Serve) -> None:
    """Run a service that has no supervisor of ours, until SIGTERM."""

    async def alone() -> None:
        await serve(settings, stop_on_sigterm())

    asyncio.run(alone())


def stop_on_sigterm() -> asyncio.Event:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return stop


def ready() -> None:
    """Tell the supervisor, on stdout, that this process serves now."""
    os.write(1, b"ready\n")


def dies_with_us() -> Callable[[], None]:
    """For a child that is no program of ours, to be called in it before it becomes that program."""
    parent, libc = os.getpid(), ctypes.CDLL(None)

    def enter() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked to be told
            os._exit(1)

    return enter


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    asyncio.get_running_loop().add_reader(0, _exit_at_end_of_stdin)


def _exit_at_end_of_stdin() -> None:
    if not os.read(0, 1024):
        os._exit(1)


def record(directory: Path, name: str, pid: int) -> None:
    """Write `<name>.pid` for those who look for the service, and a line that tells `down` which incarnation it was."""
    identity = identify(pid)
    if identity is not None:
        with open(directory / PROCESSES, "a") as file:
            file.write(json.dumps({"service": name, **identity._asdict()}) + "\n")
    write_atomically(directory / f"{name}.pid", f"{pid}\n")
