"""A real PostgreSQL, on a free loopback port and a socket, for as long as a test session needs it.

Its programs are looked for on PATH and where Debian puts them. As root, whom they refuse, they run in a user namespace
that calls root 1000.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import asyncpg

from tests.infra.toxiproxy import free_port

READY = 60.0
PASSWORD = "p@ss:w/rd%41"


def programs() -> Path | None:
    """The folder with `initdb` and `postgres`, if they can be run here."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    usable = (place for place in places if all((place / name).exists() for name in ("initdb", "postgres")))
    return next(usable, None) if os.geteuid() or _namespaces() else None


def _namespaces() -> bool:
    try:
        return subprocess.run([*_as_somebody(), "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _as_somebody() -> list[str]:
    return [] if os.geteuid() else ["unshare", "--user", "--map-user=1000", "--map-group=1000"]


class Server:
    """User veloz, who has the password and is no superuser; database veloz. `stop` may be called twice."""

    def __init__(self, place: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vc-pg-"))  # short: a socket's path has 107 bytes
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._place = place
        try:
            self._make()
            self.start()
            asyncio.run(self._create())
        except BaseException:
            self.stop()
            raise

    def dsn(self, user: str = "veloz:${env:PASSWORD}") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/veloz"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*_as_somebody(), str(self._place / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port),
             "-h", "127.0.0.1", "-k", str(self.folder), "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("ab"), cwd="/",
        )  # fmt: skip
        self._await_ready()

    def halt(self) -> None:
        """Nobody listens any more; what is stored stays."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        initdb = [str(self._place / "initdb"), "-D", str(self.folder / "data"), "-U", "super", "--no-sync"]
        secured = ["-A", "scram-sha-256", "--pwfile", str(self.folder / "password"), "--no-locale", "-E", "UTF8"]
        subprocess.run([*_as_somebody(), *initdb, *secured], check=True, capture_output=True, cwd="/")

    async def _create(self) -> None:
        connection = await self._connected()
        await connection.execute(f"CREATE ROLE veloz LOGIN PASSWORD '{PASSWORD}'")
        await connection.execute("CREATE DATABASE veloz OWNER veloz")
        await connection.close()

    async def _connected(self) -> asyncpg.Connection:
        return await asyncpg.connect(
            host="127.0.0.1", port=self.port, user="super", password=PASSWORD, database="postgres", ssl=False
        )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY
        while True:
            try:
                asyncio.run(self._look())
                return
            except (OSError, asyncpg.CannotConnectNowError):
                ended = self.process is None or self.process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.02)

    async def _look(self) -> None:
        await (await self._connected()).close()
