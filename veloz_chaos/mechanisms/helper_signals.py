"""What a helper container does to the processes of its target, by their numbers on the host."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import Any

from veloz_chaos.errors import Gone, TargetError, Unavailable
from veloz_chaos.mechanisms import freezer, proc
from veloz_chaos.mechanisms.helper import Here

#: How long a process may take to die of KILL or to stop, in seconds: at once, unless it sleeps in the kernel.
PROMPT = 2.0
#: How long a container stays frozen at most, in seconds; it is thawed as soon as its runner is gone.
FROZEN = 3600.0


def signal(here: Here, name: str, pid: int | None = None, start: int | None = None) -> None:
    """KILL is awaited; others take the time they take."""
    pid, start = here.which(pid, start)
    if name != "KILL":
        _require_handler(pid, name)
    proc.send(pid, start, name)
    if name == "KILL" and not proc.await_exit(pid, start, PROMPT):
        raise Unavailable(f"process {pid} has not died of KILL in {PROMPT} s: it is frozen, or hangs in the kernel")


def stop(here: Here, pid: int | None = None, start: int | None = None) -> None:
    pid, start = here.which(pid, start)
    proc.send(pid, start, "STOP")
    if not proc.await_stopped(pid, PROMPT):
        raise Unavailable(f"process {pid} has not stopped in {PROMPT} s: it hangs in the kernel")


def cont(here: Here, pid: int | None = None, start: int | None = None) -> None:
    """Nothing to do for what is gone."""
    pid, start = here.which(pid, start)
    with suppress(Gone):
        proc.send(pid, start, "CONT")


def freeze(here: Here) -> None:
    """The whole container. Until it is thawed, or we end."""
    with here.lock:
        here.hold("frozen", "it is frozen", lambda: _thaw(here.pid), FROZEN, lambda: freezer.frozen(here.pid))
        freezer.freeze(here.pid)


def thaw(here: Here) -> None:
    """Whoever froze it."""
    with here.lock:
        _thaw(here.pid)
        here.undo("frozen")


def frozen(here: Here) -> bool:
    return freezer.frozen(here.pid)


def _thaw(pid: int) -> None:
    with suppress(Gone):
        freezer.thaw(pid)


def stopped(here: Here, pid: int | None = None, start: int | None = None) -> bool:
    pid, start = here.which(pid, start)
    if not proc.alive(pid, start):
        raise Gone(f"process {pid} no longer exists")
    return proc.stopped(pid)


def alive(here: Here, pid: int | None = None, start: int | None = None, boot_id: str | None = None) -> bool:
    pid, start = here.which(pid, start)
    return boot_id in (None, proc.boot_id()) and proc.alive(pid, start)


def processes(here: Here, pattern: str) -> list[dict[str, Any]]:
    """Those of the container whose command line matches, eldest first."""
    ours = [pid for pid in proc.matching(pattern) if _place(pid) == _place(here.pid)]
    found = []
    for pid in ours:
        with suppress(Gone):
            if proc.state(pid) not in "ZX":
                found.append({"pid": pid, "start": proc.start_time(pid), "command": proc.command_line(pid)})
    return sorted(found, key=lambda one: (one["start"], one["pid"]))


def commands(here: Here) -> list[str]:
    """What runs in the container, for a message."""
    return [one["command"] for one in processes(here, "") if one["command"]]


def _place(pid: int) -> tuple[str, str]:
    """Its pid namespace, where we may look, and its control groups: a namespace alone may be shared with others."""
    folder, namespace = Path(f"/proc/{pid}"), ""
    try:
        with suppress(PermissionError):
            namespace = str((folder / "ns/pid").readlink())
        return namespace, (folder / "cgroup").read_text()
    except OSError:
        return "", str(pid)


def _require_handler(pid: int, name: str) -> None:
    """The kernel drops what the first process of a pid namespace does not handle. Raises TargetError."""
    fields = dict(line.split(":\t", 1) for line in _status(pid).splitlines() if ":\t" in line)
    if fields.get("NSpid", "").split()[-1:] != ["1"] or "SigCgt" not in fields:
        return
    if not int(fields["SigCgt"], 16) >> (Signals[f"SIG{name}"] - 1) & 1:
        raise TargetError(
            f"its first process does not handle SIG{name}, and the kernel drops such a signal for process 1 of a "
            "container; use KILL, or write init: true for its service"
        )


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""


OPERATIONS = {
    "signal": signal,
    "stop": stop,
    "cont": cont,
    "stopped": stopped,
    "freeze": freeze,
    "thaw": thaw,
    "frozen": frozen,
    "alive": alive,
    "processes": processes,
    "commands": commands,
}
