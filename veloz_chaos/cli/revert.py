"""`veloz-chaos revert`: what the guardian does, by hand, on any machine that has the journal.

With an environment that mirrors journals in its cluster, on any machine that reaches that."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos.cli import options, recorded, screen
from veloz_chaos.core import event as ev
from veloz_chaos.engine import files
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine.revert import revert
from veloz_chaos.errors import LEFT_BEHIND, PASSED, REFUSED, Error, UsageError, worst
from veloz_chaos.registry import Registry


def command(
    run: Annotated[list[str] | None, typer.Argument(metavar="[RUN...]", help="Folders or ids.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that are unfinished; so it is without RUN, too.")] = False,
    environment: options.Environment = None,
    runs: options.Runs = Path("runs"),
) -> int:
    """Take out what unfinished runs left in place."""
    if every and run:
        raise UsageError("--all and RUN exclude each other; give one of them")
    folders = [journals.find(runs, name) for name in run] if run else list(recorded.unfinished(runs))
    codes = [_tried(folder) for folder in folders]
    if environment is not None and not run:
        codes += _mirrored(environment, runs)
    if not codes:
        screen.out(f"nothing to take out: every run under {runs} has ended")
    return worst(codes)


def _mirrored(name: str, runs: Path) -> list[int]:
    """Runs of other machines, which the environment's cluster tells of. Raises Refused if one is under way."""
    read = files.environment(files.find("environments", name)).environment
    if read.kubernetes is None or read.kubernetes.mirror is None:
        return []
    from veloz_chaos.engine import cluster, mirror

    with cluster.leased(read.kubernetes, cluster.holder("revert", socket.gethostname()), wait=screen.err):
        left = mirror.left(read.kubernetes, read.name)
        if not left:
            screen.out(f"nothing to take out: the cluster tells of no run on {read.name} that was left open")
        return [_tried(one.bring(runs)) for one in left] or [PASSED]


def _tried(folder: Path) -> int:
    """A journal that can't be read, or is another user's, keeps nobody from the other runs."""
    try:
        return take_out(folder)
    except Error as error:
        return screen.tell(error)


def take_out(folder: Path) -> int:
    """One run; says what was done. Returns the exit code."""
    found = recorded.read(folder)
    if recorded.under_way(found.started) and found.history.ended is None:
        screen.err(f"{folder}: its runner is alive (pid {found.started.pid}); end it with: veloz-chaos abort {folder}")
        return REFUSED
    try:
        left = revert(folder, Registry(), "revert", wait=False)
    except BlockingIOError:
        screen.err(f"{folder}: its guardian is at work; wait for it")
        return REFUSED
    except PermissionError:
        raise UsageError(f"{folder}: its journal belongs to another user; run as that user or as root") from None
    screen.out(*_said(folder, found.events, left))
    return LEFT_BEHIND if left else PASSED


def _said(folder: Path, before: list[ev.Event], left: list[str]) -> list[str]:
    still_open = {fault.fault for fault in ev.open_faults(journals.read(folder))}
    taken = [fault for fault in ev.open_faults(before) if fault.fault not in still_open]
    after = [event for event in journals.read(folder)[len(before) :] if isinstance(event, ev.ProcedureEnded)]
    lines = [f"{folder}: {event.procedure} was run, and succeeded" for event in after if event.succeeded]
    lines += [f"{folder}: {fault.kind} on {fault.reference.name} is taken out" for fault in taken]
    lines += [f"{folder}: STILL IN PLACE: {text}" for text in left]
    return lines or [f"{folder}: nothing was in place; the run is closed"]
