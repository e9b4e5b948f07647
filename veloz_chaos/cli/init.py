"""`veloz-chaos init`: a copy of the shipped files, to be made one's own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos.cli import screen
from veloz_chaos.engine import files
from veloz_chaos.errors import PASSED, UsageError

ROOMS = ("experiments", "environments", "schedules")
_UNSHIPPED = ("__pycache__",)


def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to. No file is overwritten.")] = Path(),
) -> int:
    """Copy the shipped experiments, environments and schedules, to be changed."""
    wanted = {folder / room / path: source for room in ROOMS for path, source in _shipped(room).items()}
    changed = [path for path, source in wanted.items() if path.exists() and not _same(path, source)]
    if changed:
        listed = "\n".join(f"  {path}" for path in changed)
        raise UsageError(f"these differ already, and nothing was copied; move them, or name another folder:\n{listed}")
    new = [path for path in wanted if not path.exists()]
    try:
        for path in new:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(wanted[path], path)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}; name a folder that can be written to") from None
    screen.out(
        f"{len(new)} files copied to {folder.resolve()}" if new else f"all of it is in {folder.resolve()} already"
    )
    screen.out("In that folder they come before the shipped ones. Start with an environment of your own:")
    screen.out("  veloz-chaos validate               # what is wrong with which file, line and column")
    screen.out("  veloz-chaos doctor -e ENVIRONMENT  # what can be done there, and what is missing")
    return PASSED


def _shipped(room: str) -> dict[Path, Path]:
    """Path in the room -> the file that ships."""
    shelf = files.shelves(room)[-1]
    found = (path for path in sorted(shelf.rglob("*")) if path.is_file() and not set(_UNSHIPPED) & set(path.parts))
    return {path.relative_to(shelf): path for path in found}


def _same(path: Path, source: Path) -> bool:
    return path.is_file() and path.read_bytes() == source.read_bytes()
