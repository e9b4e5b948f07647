"""The sandbox's backups: a base backup by pg_basebackup, and every segment of the write-ahead log from then on.

They are beside the cluster, in `backup/`: `base/base.tar` and `wal/<segment>.gz`. A segment is archived a second after
its first record, so no more than about that is lost with the site. They are proven by restoring them: into a folder of
their own, with a server of their own, and counting.
"""

from __future__ import annotations

import asyncio
import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from veloz_chaos.errors import Refused, UsageError
from veloz_chaos.sandbox import cluster, ports
from veloz_chaos.sandbox.cluster import ClusterError
from veloz_chaos.sandbox.settings import LOOPBACK, Settings
from veloz_chaos.sandbox.unprivileged import Way, way

#: Seconds: to the next segment; a base backup; a server that recovers.
ARCHIVE_AFTER, _TAKES, _STARTS = 1, 30.0, 30.0
#: The flaw wal-archive-behind: a segment is archived when it is so old.
BEHIND = 60
SETTINGS = {
    "wal_level": "replica",
    "max_wal_senders": "2",
    "archive_mode": "on",
    "archive_timeout": str(ARCHIVE_AFTER),
}
#: Who may copy the cluster.
ACCESS = f"host replication backup {LOOPBACK}/32 trust\n"
READY = b"database system is ready to accept connections"
COUNTS = """
SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM audit),
  coalesce(extract(epoch FROM now() - (SELECT max(at) FROM audit)), -1)::float8
"""


def folder(directory: Path) -> Path:
    return cluster.home(directory / "database") / "backup"


def base(directory: Path) -> Path:
    return folder(directory) / "base" / "base.tar"


def require() -> None:
    """Raises Refused on a machine that has no PostgreSQL to back up, or nothing to do it with."""
    place = cluster.programs()
    if place is None or way() is None:
        raise Refused("backups are of a real PostgreSQL, and none can be started here; apt-get install postgresql")
    _program(place)


def _program(place: Path) -> str:
    found = place / "pg_basebackup"
    program = str(found) if found.exists() else shutil.which("pg_basebackup")
    if program is None:
        raise Refused("backups are made by pg_basebackup, which is missing; apt-get install postgresql-client")
    return program


# --- archiving -----------------------------------------------------------------------------------------------------


def settings_of(settings: Settings) -> Mapping[str, str]:
    """What the server is told besides; nothing in a sandbox without backups."""
    if not settings.backups:
        return {}
    return {**SETTINGS, "archive_command": _archive(settings)}


def _archive(settings: Settings) -> str:
    """Whole or not at all, and never over one that is there."""
    wal = _quoted(folder(settings.directory) / "wal")
    copy = f"test ! -e {wal}/%f.gz && gzip -1 < %p > {wal}/.%f && mv {wal}/.%f {wal}/%f.gz"
    if not settings.has("wal-archive-behind"):
        return copy
    return f"test $(( $(date +%%s) - $(stat -c %%Y %p) )) -ge {BEHIND} && {copy}"


def _fetch(directory: Path) -> str:
    return f"gzip -dc {_quoted(folder(directory) / 'wal')}/%f.gz > %p"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path)).replace("%", "%%")


def prepare(directory: Path, data: Path, chosen: Way) -> None:
    """Before the server's first start: room for the archive, and a way in for who makes the backup."""
    for name in ("base", "wal"):
        cluster.run(["mkdir", "-p", str(folder(directory) / name)], chosen)
    access = data / "pg_hba.conf"
    if ACCESS not in access.read_text():
        access.write_text(access.read_text() + ACCESS)


# --- base backup ---------------------------------------------------------------------------------------------------


def take(settings: Settings) -> int:
    """A new base backup in place of the last one, and of the log before it; its size. Raises UsageError."""
    place, chosen = _tools()
    target, fresh = base(settings.directory).parent, folder(settings.directory) / "taking"
    shutil.rmtree(fresh, ignore_errors=True)
    server = ["-h", LOOPBACK, "-p", str(settings.ports["database"]), "-U", "backup", "-w"]
    how = ["-D", str(fresh), "-F", "tar", "-X", "fetch", "-c", "fast", "--no-sync"]
    began = time.time()
    try:
        cluster.run([_program(place), *server, *how], chosen, seconds=_TAKES)
    except ClusterError as problem:
        raise UsageError(f"no base backup could be made: {problem}") from None
    if settings.has("backup-not-restorable"):
        made = fresh / "base.tar"
        os.truncate(made, made.stat().st_size // 2)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    _forget_before(settings.directory, began - 2 * BEHIND)
    return base(settings.directory).stat().st_size


def _forget_before(directory: Path, instant: float) -> None:
    """What was archived before the backup was begun is in it."""
    for path in (folder(directory) / "wal").glob("*.gz"):
        if path.stat().st_mtime < instant and ".history" not in path.name:
            path.unlink(missing_ok=True)


def _tools() -> tuple[Path, Way]:
    place, chosen = cluster.programs(), way()
    if place is None or chosen is None:
        raise UsageError("no PostgreSQL that can be started is installed any more")
    return place, chosen


# --- restoring -----------------------------------------------------------------------------------------------------


def unpack(settings: Settings, data: Path, to: str = "") -> None:
    """The base backup into an empty folder, to be recovered from the archive at its next start: as far as that goes, or
    to an instant. Raises UsageError."""
    _, chosen = _tools()
    tar = base(settings.directory)
    if not tar.exists():
        raise UsageError(f"there is no base backup in {tar.parent}")
    try:
        cluster.run(["tar", "-xf", str(tar), "--no-same-owner", "-p", "-C", str(data)], chosen)
    except ClusterError as problem:
        raise UsageError(f"the base backup can't be unpacked: {problem}") from None
    wanted = {"restore_command": _fetch(settings.directory)}
    wanted |= {"recovery_target_time": to, "recovery_target_action": "promote"} if to else {}
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in wanted.items()]
    with (data / "postgresql.auto.conf").open("a") as file:
        file.writelines(lines)
    (data / "recovery.signal").touch()


def check(settings: Settings) -> dict[str, Any]:
    """Restore it for real, into a folder and a server of its own, and count. Raises UsageError where that can't be."""
    with _scratch(settings.directory) as data:
        unpack(settings, data)
        (data / "postmaster.pid").unlink(missing_ok=True)
        with _served(data) as port:
            orders, audit, age = asyncio.run(_counted(port))
    taken = time.time() - base(settings.directory).stat().st_mtime
    return {"orders": orders, "audit": audit, "newest_seconds": round(age, 3), "base_seconds": round(taken, 3)}


async def _counted(port: int) -> tuple[int, int, float]:
    import asyncpg

    connection = await asyncpg.connect(f"postgresql://veloz@{LOOPBACK}:{port}/veloz", ssl=False, timeout=10)
    try:
        (row,) = await connection.fetch(COUNTS)
        return int(row[0]), int(row[1]), float(row[2])
    finally:
        await connection.close()


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    """An empty folder of PostgreSQL's user; what others left that were killed is removed first."""
    _, chosen = _tools()
    above = cluster.home(directory / "database")
    for left in above.glob("scratch-*"):
        if not Path(f"/proc/{left.name.removeprefix('scratch-')}").exists():
            shutil.rmtree(left, ignore_errors=True)
    made = above / f"scratch-{os.getpid()}"
    cluster.run(["mkdir", "-m", "700", str(made)], chosen)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _served(data: Path) -> Iterator[int]:
    """A server of it, on a port of its own, that archives nothing. Raises UsageError."""
    place, chosen = _tools()
    numbers, claim = ports.unused()
    port = numbers["database"]
    command = cluster.command(place, data, port, more={**SETTINGS, "archive_mode": "off"})
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=chosen.enter,
        env=cluster.environment(),
    )
    try:
        _await_ready(server)
        yield port
    finally:
        with suppress(ProcessLookupError):
            server.send_signal(signal.SIGQUIT)
        server.wait()
        assert server.stderr
        server.stderr.close()
        claim.close()


def _await_ready(server: subprocess.Popen[bytes]) -> None:
    assert server.stderr
    deadline, said = time.monotonic() + _STARTS, b""
    while (left := deadline - time.monotonic()) > 0 and READY not in said:
        if not select.select([server.stderr], [], [], left)[0]:
            break
        data = os.read(server.stderr.fileno(), 1 << 16)
        if not data:
            break
        said += data
    if READY not in said:
        lines = said.decode(errors="replace").strip().splitlines()
        last = [line for line in lines if " FATAL: " in line or " PANIC: " in line] or lines[-3:]
        raise UsageError("\n".join(["what was restored can't be served:", *last]))
