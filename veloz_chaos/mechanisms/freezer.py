"""The kernel's freezer: all processes of a control group stand still, whatever they do about signals."""

from __future__ import annotations

import time
from pathlib import Path

from veloz_chaos.errors import Gone, Unavailable
from veloz_chaos.mechanisms import cgroup

#: Seconds until every process of a group must stand still.
PROMPT = 2.0


def freeze(pid: int) -> None:
    """All processes in the group of that one; they stand still when it returns. Raises Gone, Unavailable."""
    _write(pid, frozen=True)
    deadline = time.monotonic() + PROMPT
    while not frozen(pid):
        if time.monotonic() > deadline:
            raise Unavailable(f"the processes beside {pid} have not stopped in {PROMPT} s: one hangs in the kernel")
        time.sleep(0.001)


def thaw(pid: int) -> None:
    _write(pid, frozen=False)


def frozen(pid: int) -> bool:
    """Does every process of its group stand still, by the kernel's word? Raises Gone, Unavailable."""
    folder, unified = _place(pid)
    try:
        if unified:
            return "frozen 1" in (folder / "cgroup.events").read_text().splitlines()
        return (folder / "freezer.state").read_text().strip() == "FROZEN"
    except OSError as error:
        raise _unreadable(pid, folder, error) from None


def _write(pid: int, *, frozen: bool) -> None:
    folder, unified = _place(pid)
    file, text = ("cgroup.freeze", str(int(frozen))) if unified else ("freezer.state", "FROZEN" if frozen else "THAWED")
    try:
        (folder / file).write_text(text)
    except OSError as error:
        raise _unreadable(pid, folder, error) from None


def _place(pid: int) -> tuple[Path, bool]:
    """Its group in the tree that has the freezer, and whether that is version 2. Raises Gone, Unavailable."""
    for folder, unified in cgroup.places(pid, "freezer"):
        if folder == cgroup.MOUNT / "freezer" or folder == cgroup.MOUNT:
            break
        return folder, unified
    if not Path(f"/proc/{pid}").exists():
        raise Gone(f"process {pid} no longer exists")
    raise Unavailable(f"process {pid} is in no control group of its own that could be frozen")


def _unreadable(pid: int, folder: Path, error: OSError) -> Gone | Unavailable:
    if not Path(f"/proc/{pid}").exists():
        return Gone(f"process {pid} no longer exists")
    return Unavailable(f"the freezer of {folder} can't be used: {error.strerror}")
