"""What `up` leaves in a directory, and how `down` removes it: these names and nothing else."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import backup, database, limits, monitoring, site, vault_store, volume
from veloz_chaos.sandbox import settings as settings_file
from veloz_chaos.sandbox.process import PROCESSES
from veloz_chaos.sandbox.settings import DATABASE_SERVER, MONITORS, SERVICES, Settings, to_json

ENVIRONMENT = "environment.yaml"
DIRECTORIES = ("truth", "log", volume.NAME, "engine", "exchange", "gateway", "database", "vault", monitoring.FOLDER)
PROGRAMS = (*SERVICES, *MONITORS, "supervisor", DATABASE_SERVER)
FILES = (ENVIRONMENT, PROCESSES, site.FILE, *(f"{name}.pid" for name in PROGRAMS))


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[tuple[Path, ...]]:
    """Hold the directory, which is made if it is not there, against others who start a sandbox in it.

    Gives the directories that this made, outermost first. Raises UsageError if somebody else holds it.
    """
    made, descriptor = _made_and_held(directory)
    try:
        yield made
    finally:
        os.close(descriptor)


def _made_and_held(directory: Path) -> tuple[tuple[Path, ...], int]:
    """Whoever makes it is the first to hold it: until then it holds what is above."""
    above = os.open(next(path for path in directory.parents if path.exists()), os.O_RDONLY)
    try:
        fcntl.flock(above, fcntl.LOCK_EX)
        made = tuple(path for path in (*reversed(directory.parents), directory) if not path.exists())
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UsageError(
                f"a sandbox is being started in {directory}; wait for it or use another directory"
            ) from None
        return made, descriptor
    finally:
        os.close(above)


def leave(settings: Settings) -> None:
    """The settings file and the directories that every process writes to."""
    (settings.directory / settings_file.FILE).write_text(to_json(settings))
    for name in ("truth", "log", volume.NAME):
        (settings.directory / name).mkdir(exist_ok=True)
    vault_store.leave(settings.directory / "vault")


def write_environment(settings: Settings, base: Path | None) -> None:
    """The environment file; every value is JSON, which is YAML."""
    values = environment_values(settings)
    lines = ["kind: Environment", "version: 1", "name: sandbox"]
    lines += [f"uses: [{json.dumps(str(base.resolve()))}]"] if base else []
    lines += ["values:", *(f"  {name}: {json.dumps(value)}" for name, value in values.items())]
    if settings.monitored:
        places = monitoring.urls(settings.ports)
        lines += ["alerts:", *(f"  {name}: {json.dumps(place)}" for name, place in places.items())]
    (settings.directory / ENVIRONMENT).write_text("\n".join(lines) + "\n")


def environment_values(settings: Settings) -> dict[str, Any]:
    ports = settings.ports
    urls = {name: f"http://127.0.0.1:{ports[name]}" for name in ("gateway", "exchange", "supervisor")}
    links = {name: f"127.0.0.1:{ports[name]}" for name in ("links", "faults", "dns", "dns-link")}
    numbers = {"engine-port": str(ports["engine"]), "gateway-port": str(ports["gateway"])}
    vaults = {name: f"http://127.0.0.1:{ports[name]}" for name in ("vault", "vault-link")}
    token = {"vault-token-file": str(settings.directory / "vault" / vault_store.TOKEN)}
    urls = {**urls, "database": database.url(settings), **vaults, **token}
    logs = volume.from_outside(settings.directory, int((settings.directory / "supervisor.pid").read_text()))
    own = settings.directory / volume.NAME
    declared = {"size": f"{volume.SIZE >> 20}MiB"} if logs == own else {}
    volumes = {"logs": {"path": str(own), **declared}}
    places = {"directory": str(settings.directory), "log-volume": str(logs), "volumes": volumes}
    return {**places, **urls, **links, **numbers, **_disks(settings, volumes)}


def _disks(settings: Settings, volumes: dict[str, Any]) -> dict[str, Any]:
    """What may be wiped, since there are backups of it; and where these are."""
    if not settings.backups:
        return {}
    disks = {name: {"path": str(path), "wipe": True} for name, path in site.folders(settings.directory).items()}
    return {
        "volumes": volumes | {"state": disks["gateway"]},
        "engine-volumes": {"state": disks["engine"]},
        "database-volumes": {"data": disks["database"]},
        "backup": str(backup.base(settings.directory)),
        "python": sys.executable,
    }


def remove(directory: Path) -> None:
    """Remove what `up` and its processes wrote, if there was a sandbox; the settings file last."""
    file = directory / settings_file.FILE
    if not file.exists():
        return
    database.remove(directory)
    with contextlib.suppress(OSError, ValueError, KeyError):
        limits.remove_leftover(settings_file.read(directory).group)
    for name in DIRECTORIES:
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in FILES:
        (directory / name).unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def made_by(directory: Path) -> tuple[Path, ...]:
    """The directories that an earlier `up` created, so far as its settings can still be read."""
    try:
        return settings_file.read(directory).made
    except (OSError, ValueError, KeyError):
        return ()


def remove_empty(made: Sequence[Path]) -> None:
    for path in reversed(made):
        with contextlib.suppress(OSError):
            path.rmdir()
