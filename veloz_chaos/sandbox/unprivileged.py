"""PostgreSQL refuses to run as root. Three ways to start its programs all the same, the first that works is taken.

In namespaces: one of users that calls root 1000, where files stay root's own, so that folders under a private one work;
and one of IPC, which takes the shared memory of a killed server with it. Where namespaces are forbidden: as oneself, or
for root as the user `postgres`, in a folder of its own.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

CLONE_NEWUSER, CLONE_NEWIPC, PR_SET_PDEATHSIG = 0x10000000, 0x08000000, 1
INSIDE = 1000
USER = "postgres"


@dataclass(frozen=True)
class Way:
    """`enter` runs in the new process, before its program; `owner` is the user who needs folders of its own, if any."""

    name: str
    enter: Callable[[], None]
    owner: str | None = None


def way() -> Way | None:
    """How to start a program here that refuses to be root's; None if there is no way."""
    other = OTHER_USER if os.geteuid() == 0 else ONESELF
    return next((found for found in (NAMESPACE, other) if works(found)), None)


def works(found: Way) -> bool:
    try:
        subprocess.run(["true"], preexec_fn=found.enter, check=True, capture_output=True)
    except (subprocess.SubprocessError, OSError):
        return False
    return True


def die_with_parent() -> None:
    """After every change of credentials, which makes the kernel forget it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def enter_namespace() -> None:
    """Raises OSError where the kernel, or a container's policy, forbids it."""
    user, group = os.geteuid(), os.getegid()
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWUSER | CLONE_NEWIPC):
        raise OSError(ctypes.get_errno(), "unshare")
    _write("setgroups", "deny")
    _write("uid_map", f"{user or INSIDE} {user} 1")
    _write("gid_map", f"{group or INSIDE} {group} 1")
    die_with_parent()


def become_other_user() -> None:
    """Raises KeyError if there is no such user, OSError if we may not."""
    user = pwd.getpwnam(USER)
    os.initgroups(USER, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    die_with_parent()


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)


ONESELF = Way("as oneself", die_with_parent)
NAMESPACE = Way("namespaces", enter_namespace)
OTHER_USER = Way("other user", become_other_user, USER)
