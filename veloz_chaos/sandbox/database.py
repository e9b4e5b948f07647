"""The database: a PostgreSQL of the sandbox's own as the child of this process, or the embedded stand-in for one.

Ready when the server says so in its log, which goes to `log/database.log`. SIGTERM becomes a fast shutdown. Server and
this process die with each other; the server's own pid is in `database-server.pid`, for those who want to hurt it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from pathlib import Path

from veloz_chaos.sandbox import backup, cluster, process
from veloz_chaos.sandbox.settings import DATABASE_SERVER, Settings
from veloz_chaos.sandbox.truth import TruthLog
from veloz_chaos.sandbox.unprivileged import Way, way

POSTGRESQL, STAND_IN = "postgresql", "stand-in"
READY = b"database system is ready to accept connections"
REMEDY = "mend it by `apt-get install --reinstall postgresql`; without PostgreSQL the sandbox uses an embedded stand-in"
#: What a kind is called where it must not be overlooked.
ANNOUNCED = {
    POSTGRESQL: "PostgreSQL",
    STAND_IN: "embedded stand-in (SQLite), PostgreSQL is not installed: apt-get install postgresql",
}


def kind() -> str:
    """What this machine has: "postgresql", or "stand-in"."""
    return POSTGRESQL if cluster.programs() and way() else STAND_IN


def url(settings: Settings) -> str:
    """Where the database is reached directly, not through its link."""
    if settings.database == STAND_IN:
        return f"sqlite:///{settings.directory / 'database' / 'stand-in.db'}"
    return f"postgresql://veloz@127.0.0.1:{settings.ports['database']}/veloz"


def remove(directory: Path) -> None:
    """What of a sandbox's database is not in its directory."""
    cluster.remove(directory / "database")


class Server:
    """PostgreSQL's first process, what it last said, and its log."""

    def __init__(self, child: asyncio.subprocess.Process, log: Path) -> None:
        self.child, self._log, self.last = child, log, deque[str](maxlen=8)

    async def until_ready(self) -> bool:
        """False if it ended before it was."""
        return await self._copy(until=READY)

    async def until_ended(self) -> int:
        await self._copy(until=None)
        return await self.child.wait()

    async def _copy(self, until: bytes | None) -> bool:
        assert self.child.stderr
        with open(self._log, "ab", buffering=0) as file:
            async for line in self.child.stderr:
                file.write(line)
                self.last.append(line.decode(errors="replace").rstrip())
                if until and until in line:
                    return True
        return False


async def start(settings: Settings) -> Server:
    """Raises ClusterError."""
    place, chosen = cluster.programs(), way()
    if place is None or chosen is None:
        raise cluster.ClusterError("no PostgreSQL that can be started is installed any more")
    data = cluster.prepare(settings.directory / "database", place, chosen)
    if settings.backups:
        backup.prepare(settings.directory, data, chosen)
    more = backup.settings_of(settings)
    child = await _spawn(cluster.command(place, data, settings.ports["database"], settings.listen, more), chosen)
    process.record(settings.directory, DATABASE_SERVER, child.pid)
    return Server(child, settings.directory / "log" / "database.log")


async def _spawn(command: list[str], chosen: Way) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=chosen.enter,
        env=cluster.environment(),
    )


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    truth = TruthLog(settings.directory, "database")
    if settings.database == STAND_IN:
        from veloz_chaos.sandbox import database_stand_in

        await database_stand_in.serve(settings, stop, truth)
        return
    try:
        server = await start(settings)
    except cluster.ClusterError as problem:
        sys.exit(f"PostgreSQL could not be prepared: {problem}; {REMEDY}")
    if not await server.until_ready():
        sys.exit(_explained("did not start", server))
    if settings.backups:
        server.child.send_signal(signal.SIGHUP)  # its checkpointer sleeps after a recovery, deaf to archive_timeout
    truth.write("serving", pid=os.getpid(), server=server.child.pid)
    process.ready()
    await _until_either_ends(server, stop)


async def _until_either_ends(server: Server, stop: asyncio.Event) -> None:
    ended = asyncio.create_task(server.until_ended())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        server.child.send_signal(signal.SIGINT)
        await ended
    elif ended.result():
        sys.exit(_explained(f"ended with {ended.result()}", server))


def _explained(what: str, server: Server) -> str:
    return "\n".join([f"PostgreSQL {what}; {REMEDY}", *server.last])


if __name__ == "__main__":
    process.run(serve)
