"""Processes of this machine: found by pidfile, port or command line, named by pid, start time and boot id.

Signals go through pidfds, so that a successor with the same pid is never hit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Killable, Offer, Pausable, Reference, Wipeable
from veloz_chaos.core.size import Size
from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms import proc, straining, wiping
from veloz_chaos.mechanisms.strained import STRAINS, Strained, Volume

#: How long a process may take to die of KILL or to stop: it acts at once unless it sleeps in the kernel.
PROMPT = 2.0
#: Clocks were set and files written meanwhile: a pidfile this many seconds older than its process still counts.
SLACK = 2.0


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OwnVolume:
    """`path` as the process sees it; `size` only for a folder that keeps to a declared size by itself (emulated).
    `wipe`: its content may be destroyed; then `path` is as we see it."""

    path: str
    size: Size | None = None
    wipe: bool = False


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """Exactly one: a file that holds the pid, a TCP port listened on, or a regular expression over the command line.

    `volumes`: the file systems of its own, by name.
    """

    pidfile: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    command: str | None = None
    volumes: dict[str, OwnVolume] = field(default_factory=dict)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(way is not None for way in (self.pidfile, self.port, self.command)) != 1:
            raise ValueError("write exactly one of pidfile, port and command")
        if self.command is not None:
            proc.require_expression("command", self.command)
        return self


_OFFERS = (
    Offer(
        capability="Killable",
        mechanism="signal through a pidfd",
        touches="this process alone, not its children",
        undo="nothing to undo: whoever supervises it starts it again",
    ),
    Offer(
        capability="Pausable",
        mechanism="SIGSTOP through a pidfd, until the kernel shows every thread stopped",
        touches="this process alone; its connections stay open and are accepted by the kernel",
        undo="SIGCONT",
        at_once=True,
    ),
)
_WIPE = Offer(
    capability="Wipeable",
    mechanism="all that is in the folder is removed, links not followed",
    touches="the volume, for good, whoever uses it by then",
    undo="none: its content is gone",
)


class Process(Killable, Pausable, Wipeable, Strained):
    """One process; its children are not touched."""

    offers = (*_OFFERS, _WIPE, *STRAINS)

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        self.pid, self.start = int(reference.identity["pid"]), int(reference.identity["start"])
        known = reference.identity.get("volumes", {}).items()
        self.volumes = {name: Volume(said["path"], said["size"]) for name, said in known if "folder" not in said}
        self.wipeable = {name: said for name, said in known if "folder" in said}

    def offered(self) -> Sequence[Offer]:
        return (*_OFFERS, *([_WIPE] if self.wipeable else []), *self.strains())

    @property
    def lacks(self) -> Mapping[str, str]:
        nothing = (
            "it names no volume that may be wiped; write volumes: {data: {path: /…, wipe: true}} beside its selector"
        )
        return self.strain_lacks() | ({} if self.wipeable else {"Wipeable": nothing})

    @property
    def of_this_boot(self) -> bool:
        return bool(self.reference.identity["boot_id"] == proc.boot_id())

    def alive(self) -> bool:
        return self.of_this_boot and proc.alive(self.pid, self.start)

    def leftovers(self) -> list[str]:
        found = self.strained_by()
        with suppress(Gone):
            if self.paused():
                found.append(f"process {self.pid} is stopped; resume it by `kill -CONT {self.pid}`")
        return found

    def by_hand(self, capability: str, sign: str) -> str:
        if capability == "Pausable":
            return f"kill -CONT {self.pid}"
        return "" if capability in ("Killable", "Exhaustible", "Wipeable") else straining.by_hand(sign)

    def kill(self, signal: str) -> None:
        """KILL is awaited, so that a look right after it finds the process dead; others take the time they take."""
        proc.send(self.pid, self.start, signal)
        if signal == "KILL" and not proc.await_exit(self.pid, self.start, PROMPT):
            raise Unavailable(f"process {self.pid} has not died of KILL in {PROMPT} s: it hangs in the kernel")

    def pause(self) -> None:
        proc.send(self.pid, self.start, "STOP")
        if not proc.await_stopped(self.pid, PROMPT):
            raise Unavailable(f"process {self.pid} has not stopped in {PROMPT} s: it hangs in the kernel")

    def resume(self) -> None:
        """Nothing to do for what is gone."""
        with suppress(Gone):
            proc.send(self.pid, self.start, "CONT")

    def paused(self) -> bool:
        if not self.alive():
            raise Gone(f"process {self.pid} no longer exists")
        return proc.stopped(self.pid)

    def wipe(self, volume: str) -> None:
        found = self._wipeable(volume)
        wiping.wipe(found["path"], found["folder"])

    def entries(self, volume: str) -> int:
        found = self._wipeable(volume)
        return wiping.entries(found["path"], found["folder"])

    def _wipeable(self, name: str) -> Mapping[str, Any]:
        if name not in self.wipeable:
            raise Missing(f"it has no volume `{name}` to wipe; it names {', '.join(sorted(self.wipeable)) or 'none'}")
        return dict(self.wipeable[name])


def find(name: str, selector: Selector) -> list[Process]:
    """The processes behind `name`. Raises Missing, or Gone where a pidfile outlived its process."""
    if selector.pidfile is not None:
        return [_process(name, _pid_in(Path(selector.pidfile)), selector)]
    if selector.port is not None:
        processes = _still_there(name, _eldest(proc.listening(selector.port)), selector)
    else:
        processes = _still_there(name, proc.matching(selector.command or ""), selector)
    if not processes:
        raise Missing(f"{name}: no process {_sought(selector)}; start it, or correct the environment")
    return processes


def reopen(reference: Reference) -> Process:
    """The same incarnation again; also one that is gone, as long as a file of ours is in its volume. Raises Gone."""
    process = Process(reference)
    if process.alive() or process.filled():
        return process
    if process.of_this_boot:
        raise Gone(f"{reference.name}: process {process.pid} no longer exists")
    raise Gone(f"{reference.name}: process {process.pid} ran before this machine was booted")


def _process(name: str, pid: int, selector: Selector) -> Process:
    identity: dict[str, Any] = {"pid": pid, "start": proc.start_time(pid), "boot_id": proc.boot_id()}
    if selector.volumes:
        identity["volumes"] = {key: _identity(volume) for key, volume in selector.volumes.items()}
    return Process(Reference(backend="process", name=name, identity=identity))


def _identity(volume: OwnVolume) -> dict[str, Any]:
    """`folder`: which one it is, of one that may be wiped."""
    return {"path": volume.path, "size": volume.size} | (
        {"folder": wiping.identity(volume.path)} if volume.wipe else {}
    )


def _still_there(name: str, pids: list[int], selector: Selector) -> list[Process]:
    """Without those that died while we looked."""
    found = []
    for pid in pids:
        with suppress(Gone):
            found.append(_process(name, pid, selector))
    return [process for process in found if process.alive()]


def _pid_in(pidfile: Path) -> int:
    """Refuses a pid that died, and one that was given to another process after the file was written."""
    pid, written = _read(pidfile)
    try:
        late = proc.started_at(pid) - written
    except Gone:
        raise Gone(f"{pidfile} is stale: process {pid} is dead; start the service again") from None
    if late > SLACK:
        raise Gone(f"{pidfile} is stale: process {pid} began {late:.0f} s after the file was written; it is another's")
    if proc.state(pid) in "ZX":
        raise Gone(f"{pidfile} is stale: process {pid} is a zombie; start the service again")
    return pid


def _read(pidfile: Path) -> tuple[int, float]:
    try:
        pid, written = int(pidfile.read_text().split()[0]), pidfile.stat().st_mtime
    except OSError as error:
        raise Missing(f"{pidfile}: {error.strerror}; is the service started, and from this directory?") from error
    except (ValueError, IndexError):
        raise Missing(f"{pidfile} holds no pid; is it the right file?") from None
    if pid <= 1:
        raise TargetError(f"{pidfile} names process {pid}, which is never a target")
    return pid, written


def _eldest(pids: list[int]) -> list[int]:
    """Without those whose parent listens as well: they inherited the socket."""
    eldest = []
    for pid in pids:
        with suppress(Gone):
            eldest += [pid] if proc.parent(pid) not in pids else []
    return eldest


def _sought(selector: Selector) -> str:
    return f"listens on port {selector.port}" if selector.port else f"has a command line like /{selector.command}/"
