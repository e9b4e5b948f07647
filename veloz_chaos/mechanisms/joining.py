"""How a helper that shares the pid namespace of a whole node finds one container or pod there, and joins its network.

Nothing of an image is needed: the kernel tells by its control groups which processes are the container's, or the pod's.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from veloz_chaos.errors import Gone, Unavailable
from veloz_chaos.mechanisms import cgroup, proc

#: How a name is looked up: of the target's own files, where it has them.
NAMES = ("/etc/resolv.conf", "/etc/hosts")


def first_process(container: str, pod: str = "") -> int:
    """The eldest process of the container with that id; if it has none, of the pod with that uid. Raises Gone."""
    found: dict[str, list[tuple[int, int]]] = {container: [], pod: []}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, Gone):
                told = (folder / "cgroup").read_text().replace("_", "-")  # so systemd writes uids
                for group in found:
                    if group and group in told:
                        found[group].append((proc.start_time(int(folder.name)), int(folder.name)))
    if not any(found.values()):
        raise Gone(f"no process of container {container[:12]} runs on this node any more")
    return min(found[container] or found[pod])[1]


def join(pid: int) -> None:
    """Its network, its names, and the control groups as the node sees them. Of the main thread, before any other.

    Where version 2 of control groups hides the node's, and we may not join them, nothing can be strained: no limit is
    found then.
    """
    _enter(pid, "net")
    if (cgroup.MOUNT / "cgroup.controllers").exists():
        with suppress(Unavailable):
            _enter(1, "cgroup")
    for name in NAMES:
        with suppress(OSError):
            Path(name).write_bytes(Path(f"/proc/{pid}/root{name}").read_bytes())


def _enter(pid: int, kind: str) -> None:
    """Raises Unavailable where the node does not let us, Gone if the process is."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        with open(f"/proc/{pid}/ns/{kind}", "rb") as namespace:
            if libc.setns(namespace.fileno(), 0):
                told = os.strerror(ctypes.get_errno())
                raise Unavailable(f"the helper may not enter the {kind} namespace of process {pid}: {told}")
    except FileNotFoundError:
        raise Gone(f"process {pid} no longer exists") from None
    except PermissionError as error:
        raise Unavailable(f"the helper may not look at process {pid}: {error.strerror}") from None
