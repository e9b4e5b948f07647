"""Which environment is meant: the one that was named, else the sandbox, started for the command where it is not up."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from veloz_chaos.engine import files
from veloz_chaos.errors import InvalidFile, Refused, UsageError

#: Where `sandbox up` puts it.
SANDBOX = Path(".sandbox")
_NAME = "sandbox"


@contextmanager
def environment(name: str | None, flaws: Sequence[str] = (), *, backups: bool = False) -> Iterator[Path]:
    """The environment's file. A sandbox that was started for it is stopped again, whatever happens. `backups`: what is
    asked for destroys what only backups bring back."""
    if name is not None:
        if flaws:
            raise UsageError("--flaw seeds the sandbox that is started for this command; leave -e out")
        yield named(name, backups)
        return
    found = None if flaws else running(backups)
    if found is not None:
        yield found
        return
    with _own(flaws, backups) as started:
        yield started


def named(name: str, backups: bool = False) -> Path:
    """A file, or the name of one in `environments/`. The sandbox's is that of the one that is up here, whose ports may
    be others: nobody is hurt here and measured there. Raises UsageError or Refused."""
    found, own = files.find("environments", name), files.find("environments", _NAME)
    return (running(backups) if found.resolve() == own.resolve() else None) or found


def destroys(experiments: Sequence[Path]) -> bool:
    """Is one of them irreversible? A file that is wrong is told of later, with all else."""
    with suppress(InvalidFile):
        return any(files.experiment(path)[0].irreversible for path in experiments)
    return False


def running(backups: bool = False) -> Path | None:
    """The environment of the sandbox that is up here. Raises Refused if that has not the backups that are wanted."""
    from veloz_chaos.sandbox import control
    from veloz_chaos.sandbox import settings as settings_file

    sandbox = control.find(SANDBOX)
    if sandbox and backups and not settings_file.read(sandbox.directory).backups:
        raise Refused(
            "the sandbox that is up has no backups; take it down and start it with: veloz-chaos sandbox up --backups, "
            "or let run start one of its own"
        )
    return sandbox.environment if sandbox else None


@contextmanager
def _own(flaws: Sequence[str], backups: bool) -> Iterator[Path]:
    from veloz_chaos.sandbox import control

    base, watched = files.find("environments", _NAME), monitoring(flaws)
    folder = Path(tempfile.gettempdir()) / f"veloz-chaos-sandbox-{os.urandom(4).hex()}"
    with terminable():
        try:
            made = control.up(
                folder,
                free_ports=True,
                flaws=flaws,
                base=base,
                owner=os.getpid(),
                monitored=watched,
                backups=backups,
            )
            _unwind_at_last()
            yield made.environment
        finally:
            control.down(folder)


def monitoring(flaws: Sequence[str], wanted: bool = False) -> Path | None:
    """The folder that a sandbox's monitoring is configured by, where it is wanted or a flaw is one of it.

    Raises UsageError."""
    from veloz_chaos.sandbox.flaws import need_monitoring

    return folder("monitoring", "rules.yml") if wanted or need_monitoring(flaws) else None


def folder(name: str, file: str) -> Path:
    """The one in environments/ with that file in it. Raises UsageError."""
    places = [shelf / name for shelf in files.shelves("environments")]
    found = next((place for place in places if (place / file).is_file()), None)
    if found is None:
        raise UsageError(f"environments/{name}/ is missing; reinstall veloz-chaos")
    return found


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind as Ctrl-C does, so that nothing that was started stays."""
    _CAME.clear()
    catch()
    try:
        yield
    finally:
        if not _LATE.held:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)


def catch() -> None:
    """From now on they unwind; a run has handlers of its own, and gives these back."""
    _LATE.held = False
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _unwind)


def hold() -> None:
    """A run has ended: no signal takes its verdict away. They wait for `interrupted`, or for nobody."""
    _LATE.held = True


def interrupted() -> bool:
    """Did one come since `hold`? That ends what was to follow. From now on they unwind again."""
    _LATE.held = False
    came, _LATE.came = _LATE.came, False
    return came


@dataclass
class _Late:
    held: bool = False
    came: bool = False


_LATE = _Late()
#: The signals that came since `terminable`. What they raise is lost where Python runs a destructor just then.
_CAME: list[str] = []


def _unwind(number: int, _: FrameType | None) -> None:
    if _LATE.held:
        _LATE.came = True
        return
    _CAME.append(signal.Signals(number).name)
    raise KeyboardInterrupt(_CAME[-1])


def _unwind_at_last() -> None:
    if _CAME:
        raise KeyboardInterrupt(_CAME[-1])
