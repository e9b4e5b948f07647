"""The content of one folder of this machine, destroyed; nothing beside it, above it, or behind a link in it.

The folder is reached part by part from the root, following no link, and must be the very one (device and inode) that
was named. Links in it are removed, not followed; a folder that holds a mount, or is one, is left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable

#: Whoever used it may put something in it again while it dies: it must stay empty for QUIET within PATIENCE. Seconds.
QUIET, PATIENCE, _TICK = 0.05, 3.0, 0.01
#: A path of fewer parts is a place of the system's (/, /var, /srv).
_DEPTH = 2
_OCTAL = re.compile(rb"\\([0-7]{3})")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def identity(path: str) -> list[int]:
    """Device and inode of the folder. Raises Missing for none, TargetError for one that is never wiped."""
    with _opened(path) as folder:
        found = os.fstat(folder)
    return [found.st_dev, found.st_ino]


def entries(path: str, known: list[int]) -> int:
    """How much is in it, at its top level. Raises Gone if it is another folder now."""
    with _known(path, known) as folder:
        return len(_names(folder))


def wipe(path: str, known: list[int]) -> None:
    """Blocks until it is empty and stays so. Raises TargetError."""
    with _known(path, known) as folder:
        deadline, quiet_since = time.monotonic() + PATIENCE, 0.0
        while time.monotonic() < deadline:
            if _empty(path, folder, known[0]):
                quiet_since = 0.0
            elif not quiet_since:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > QUIET:
                return
            time.sleep(_TICK)
    raise Unavailable(f"{path} does not stay empty: somebody goes on writing to it")


def _empty(path: str, folder: int, device: int) -> bool:
    """Remove what is there; was there anything?"""
    found = _names(folder)
    for name in found:
        try:
            _remove(folder, name, device)
        except PermissionError as error:
            raise TargetError(f"{path}/{name} can't be removed: {error.strerror}; run as its owner") from None
        except OSError:  # it is gone, or somebody has just put something in it: the next round tells
            continue
    return bool(found)


def _names(folder: int) -> list[str]:
    return os.listdir(folder)  # of a descriptor


def _remove(folder: int, name: str, device: int) -> None:
    known = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if known.st_dev != device:
        raise TargetError(f"{name} is another file system, mounted meanwhile; it is left alone")
    if stat.S_ISDIR(known.st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


@contextmanager
def _known(path: str, known: list[int]) -> Iterator[int]:
    """The folder, if it is still the same."""
    try:
        with _opened(path) as folder:
            found = os.fstat(folder)
            if [found.st_dev, found.st_ino] != list(known):
                raise Gone(f"{path} is another folder than the one that was planned for")
            yield folder
    except Missing as error:
        raise Gone(str(error)) from None


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """The folder, in our own view of the file system."""
    parts = _parts(path)
    folder = os.open("/", _FOLDER)
    try:
        for part in parts:
            above, folder = folder, _open(path, part, folder)
            os.close(above)
        yield folder
    finally:
        os.close(folder)


def _open(path: str, part: str, above: int) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=above)
    except FileNotFoundError:
        raise Missing(f"there is no folder {path}") from None
    except NotADirectoryError:  # a link is no folder either
        raise TargetError(f"{path}: {part} is a link or no folder; write the folder's own path") from None
    except OSError as error:
        raise TargetError(f"{path} can't be opened: {error.strerror}") from None


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    if parts[0] != "" or ".." in parts or "." in parts:
        raise TargetError(f"`{path}` must be a whole path, without `..`: it is to be wiped")
    found = [part for part in parts if part]
    if len(found) < _DEPTH:
        raise TargetError(f"`{path}` is a place of the system's; it is never wiped")
    whole = "/" + "/".join(found)
    for mount in _mounts():
        if mount == whole:
            raise TargetError(f"{path} is the root of a mount; name a folder within it")
        if mount.startswith(f"{whole}/"):
            raise TargetError(f"{path} holds a mount ({mount}); it is never wiped")
    return found


def _mounts() -> list[str]:
    """Where something is mounted, as this process sees it. Blanks and the like stand as octal numbers."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return [os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), line.split(b" ")[4])) for line in lines]
