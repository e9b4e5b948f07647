"""A PostgreSQL cluster of the sandbox's own: found, made, and the command that serves it.

Everything is in `<directory>/database`. Only the role veloz may connect, and it is no superuser: whoever is on this
machine (it listens on loopback only), or on this network of containers, could connect. (With backups the role backup
may copy the cluster, from loopback.) A new cluster is unpacked from
the one that `initdb` made first of all, kept in the user's cache (5 MB): 0.15 s instead of 1.2 s. Nothing is
synchronised to disk, for no sandbox outlives its machine; but a commit is written to the system's memory before it is
answered, for servers do get killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veloz_chaos.sandbox.settings import LOOPBACK
from veloz_chaos.sandbox.unprivileged import Way

PLACES = "/usr/lib/postgresql"
SETTINGS = {
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_connections": "30",
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "autovacuum": "off",
    "jit": "off",
}
SINGLE = ("--single", "-c", "log_min_messages=fatal", "-c", "dynamic_shared_memory_type=mmap", "-c", "fsync=off")
#: Whoever reaches its port: on this machine that is of loopback, pods come from any network.
ACCESS = "host veloz veloz all trust\n"
#: `postgres --single` takes a statement a line. Nobody will create a database from template0.
ROLE = b"""CREATE ROLE veloz LOGIN
CREATE ROLE backup LOGIN REPLICATION
ALTER DATABASE postgres RENAME TO veloz
ALTER DATABASE veloz OWNER TO veloz
ALTER DATABASE template0 IS_TEMPLATE false
DROP DATABASE template0
"""
#: The first line of `<directory>/database/elsewhere`: where the cluster is if its user may not enter the sandbox.
ELSEWHERE = "elsewhere"


class ClusterError(Exception):
    """What the program said that failed."""


def programs() -> Path | None:
    """The folder with `postgres` and `initdb`: where PATH finds them, or the newest that Debian installed."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    installed = sorted(Path(PLACES).glob("*/bin"), key=_version, reverse=True)
    return next((place for place in (*places, *installed) if _complete(place)), None)


def _complete(place: Path) -> bool:
    return all(os.access(place / name, os.X_OK) for name in ("postgres", "initdb"))


def _version(place: Path) -> float:
    number = re.match(r"\d+(\.\d+)?", place.parent.name)
    return float(number[0]) if number else 0.0


def prepare(folder: Path, place: Path, way: Way) -> Path:
    """The cluster's data folder in `folder`, made if it is not there whole. Raises ClusterError."""
    data = home_of(folder, way) / "cluster"
    if (data / "veloz-ready").exists():
        return data
    shutil.rmtree(data, ignore_errors=True)
    kept = cache(place, way)
    if not (kept.exists() and _unpack(kept, data, way)):
        _make(data, place, way)
        _keep(data, kept)
    (data / "veloz-ready").touch()
    return data


def home_of(folder: Path, way: Way) -> Path:
    """Where the cluster's user can work: `folder` itself, or one in the temporary directory."""
    folder.mkdir(exist_ok=True)
    if way.owner is None:
        return folder
    note = folder / ELSEWHERE
    if not note.exists():
        made = tempfile.mkdtemp(prefix="veloz-sandbox-")
        note.write_text(made)
        os.chown(made, pwd.getpwnam(way.owner).pw_uid, -1)
    return Path(note.read_text())


def home(folder: Path) -> Path:
    """The same of one that is there."""
    note = folder / ELSEWHERE
    return Path(note.read_text()) if note.exists() else folder


def data(folder: Path) -> Path:
    """Its data folder."""
    return home(folder) / "cluster"


def remove(folder: Path) -> None:
    """What is not in `folder`: nothing, unless the cluster had to be elsewhere."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree((folder / ELSEWHERE).read_text(), ignore_errors=True)


def command(
    place: Path, data: Path, port: int, listen: str = LOOPBACK, more: Mapping[str, str] | None = None
) -> list[str]:
    given = {**SETTINGS, "listen_addresses": listen, **(more or {})}
    settings = [f"--{name}={value}" for name, value in given.items()]
    return [str(place / "postgres"), "-D", str(data), "-p", str(port), *settings]


def environment() -> dict[str, str]:
    """Messages in English, whatever the user speaks; nothing that points PostgreSQL's programs elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


def cache(place: Path, way: Way) -> Path:
    """The file a cluster of this very PostgreSQL is kept in."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    said = subprocess.run([place / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    made_from = hashlib.sha256(f"{said}{place}{way.name}{ROLE!r}{ACCESS}".encode()).hexdigest()[:12]
    return home / "veloz-chaos" / f"postgresql-{made_from}.tar.gz"


def _make(data: Path, place: Path, way: Way) -> None:
    initdb = [str(place / "initdb"), "-D", str(data), "-U", "sandbox", "-A", "reject"]
    run([*initdb, "--no-sync", "--no-locale", "-E", "UTF8", "--wal-segsize=1"], way)
    run([str(place / "postgres"), *SINGLE, "-D", str(data), "template1"], way, ROLE)
    (data / "pg_hba.conf").write_text(ACCESS)


def _keep(data: Path, kept: Path) -> None:
    """For the next time; a cache that cannot be written is none."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=kept.parent, prefix=".", delete=False) as file:
            beside = Path(file.name)
        try:
            subprocess.run(["tar", "-czf", beside, "-C", data, "."], check=True, capture_output=True)
            beside.rename(kept)
        finally:
            beside.unlink(missing_ok=True)


def _unpack(kept: Path, data: Path, way: Way) -> bool:
    """False, and nothing there, if it is not whole."""
    try:
        run(["mkdir", "-m", "700", str(data)], way)
        run(["tar", "-xzf", "-", "--no-same-owner", "-p", "-C", str(data)], way, kept.read_bytes())
    except (ClusterError, OSError):
        shutil.rmtree(data, ignore_errors=True)
        return False
    return True


def run(arguments: Sequence[str], way: Way, given: bytes = b"", seconds: float | None = None) -> None:
    """As who may. Raises ClusterError."""
    how: dict[str, Any] = {"preexec_fn": way.enter, "cwd": "/", "env": environment()}
    try:
        done = subprocess.run(arguments, input=given, capture_output=True, check=False, timeout=seconds, **how)
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{arguments[0]} has not ended within {seconds:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise ClusterError(said or f"{arguments[0]} ended with {done.returncode}")
