"""What the loss of the site takes: the folders in which gateway, engine and database keep their state.

Each is marked, as a mounted disk would be there; a service whose disk is gone is not started, as no unit is without its
mount: an empty database that looks healthy is worse than none. Only a sandbox with backups has such disks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from veloz_chaos.sandbox import cluster

VOLUMES = ("database", "engine", "gateway")
#: Beside the settings: from now on the marks count.
FILE = "volumes"
_MARK = "veloz-volume"


def folders(directory: Path) -> Mapping[str, Path]:
    own = {name: directory / name for name in ("engine", "gateway")}
    return {"database": cluster.data(directory / "database"), **own}


def mark(directory: Path, names: Iterable[str] = VOLUMES) -> None:
    for name in names:
        (folders(directory)[name] / _MARK).touch()
    (directory / FILE).touch()


def unmark(directory: Path) -> None:
    for folder in folders(directory).values():
        (folder / _MARK).unlink(missing_ok=True)


def lost(directory: Path, name: str) -> bool:
    if name not in VOLUMES or not (directory / FILE).exists():
        return False
    return not (folders(directory)[name] / _MARK).exists()
