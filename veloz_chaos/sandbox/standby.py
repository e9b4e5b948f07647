"""One at a time: who keeps its state in a folder serves while it holds the folder's lock, and only then.

Platforms start the next incarnation before the last has ended, and some run two for good. The kernel lets go of the
lock when its holder dies, however it dies, so the next one takes over within `LOOK_EVERY`. A standby that knows where
the holder is passes connections on to it: whoever is sent to the standby meets the one that serves. The folder has to
be on one machine, or on a file system that keeps locks between machines.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import os
from collections.abc import Iterator
from pathlib import Path

from veloz_chaos.sandbox import process
from veloz_chaos.sandbox.process import Serve
from veloz_chaos.sandbox.settings import Settings
from veloz_chaos.sandbox.truth import TruthLog

LOCK, ADDRESS = "lock", "address"
#: Seconds; bytes.
LOOK_EVERY, REACHED_WITHIN = 0.05, 1.0
AT_ONCE = 1 << 16


def alone(serve: Serve, service: str, address: str = "") -> Serve:
    """`address`: where others reach this one as host:port; without it nobody passes anything on to it."""

    async def one(made: Settings, stop: asyncio.Event) -> None:
        folder = made.directory / service
        with _opened(folder / LOCK) as lock:
            if not _taken(lock):
                TruthLog(made.directory, service).write("standing-by", pid=os.getpid())
                await _stand_by(made, stop, service, lock, bool(address))
            if not stop.is_set():
                process.write_atomically(folder / ADDRESS, address)
                await serve(made, stop)

    return one


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _stand_by(made: Settings, stop: asyncio.Event, service: str, lock: int, passes_on: bool) -> None:
    """Until the lock is ours, or it is time to stop."""
    server = None
    if passes_on:
        leader = made.directory / service / ADDRESS
        relay = functools.partial(_pass_on, leader)
        server = await asyncio.start_server(relay, made.listen, made.ports[service])
    while not stop.is_set() and not _taken(lock):
        await asyncio.sleep(LOOK_EVERY)
    if server is not None:
        server.close()


async def _pass_on(leader: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, both ways, until either side ends it; reset if nobody is there."""
    try:
        host, _, port = leader.read_text().rpartition(":")
        async with asyncio.timeout(REACHED_WITHIN):
            other_reader, other_writer = await asyncio.open_connection(host, int(port))
    except (OSError, ValueError, TimeoutError):
        writer.transport.abort()
        return
    ways = [asyncio.create_task(_copy(reader, other_writer)), asyncio.create_task(_copy(other_reader, writer))]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in ways:
        way.cancel()
    writer.close()
    other_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(AT_ONCE):
            writer.write(data)
            await writer.drain()
