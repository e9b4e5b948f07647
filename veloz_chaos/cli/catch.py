"""`veloz-chaos catch`: take the notifications of an Alertmanager in place of Slack, PagerDuty and other webhooks."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Full, Queue
from threading import Thread
from typing import Annotated

import typer

from veloz_chaos.catch import Catcher, Caught, serve
from veloz_chaos.cli import screen
from veloz_chaos.core.address import split_address
from veloz_chaos.core.notification import plain
from veloz_chaos.errors import PASSED, TargetError, UsageError
from veloz_chaos.mechanisms import proc

#: Lines that wait for a screen which is slower than what comes; seconds that it is waited for at the end.
LINES, PATIENCE = 1000, 2.0


def command(
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Where it listens.")] = "127.0.0.1:9099",
    keep: Annotated[
        int, typer.Option("--keep", min=1, metavar="N", help="Remember so many; the oldest go first.")
    ] = 10_000,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Append each as a line of JSON, too.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print them.")] = False,
) -> int:
    """Take notifications in place of Slack, PagerDuty and webhooks.

    Listens until it is interrupted; GET /api/notifications tells what came.
    """
    host, port = split_address(listen)
    lines = _Lines()
    try:
        with _written(file, lines.show) as write:
            tell = (lambda _: None) if quiet else lines.show

            def told(caught: Caught) -> None:
                write(caught)
                tell(_line(caught))

            catcher = Catcher(keep, told, lambda why: tell(f"refused: {plain(why)}"))
            asyncio.run(_until_interrupted(catcher, host, port, lines.show))
    except UsageError:
        lines.close()
        raise
    lines.close(_summary(catcher))
    return PASSED


def _summary(catcher: Catcher) -> str:
    kept, last = len(catcher.kept), catcher.kept.last
    return f"{last} notifications" + (f", the latest {kept} kept" if kept < last else "")


async def _until_interrupted(catcher: Catcher, host: str, port: int, show: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    place = f"[{host}]" if ":" in host else host

    def ready(at: int) -> None:
        show(f"http://{place}:{at}: POST /slack/NAME, /pagerduty/NAME, /webhook/NAME; GET /api/notifications")

    try:
        await serve(catcher, host, port, stop, ready)
    except OSError as error:
        raise UsageError(f"cannot listen on {place}:{port}: {_reason(error, port)}") from None


def _reason(error: OSError, port: int) -> str:
    """With who is there already, and what to do."""
    reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
    if error.errno != errno.EADDRINUSE:
        return f"{reason}; name another place with --listen"
    try:
        holder = next((f" by process {pid} ({plain(proc.command_line(pid))[:80]})" for pid in proc.listening(port)), "")
    except TargetError:
        holder = " by a process of another user"
    return f"{reason}{holder}; end that, or name another place with --listen"


def _line(caught: Caught) -> str:
    """`7 firing slack trading: ContainerCrash, failure engine-crash: [FIRING:1] ContainerCrash (…)`"""
    told = caught.notification
    rows = f"failure {', '.join(told.failures)}" if told.failures else ""
    about = ", ".join([*told.alerts, *([rows] if rows else [])])
    return ": ".join(
        filter(None, [f"{caught.n} {told.action} {told.kind} {caught.name}", about, told.title])
    ) + (" (cut)" if told.truncated else "")  # fmt: skip


class _Lines:
    """Prints without ever waiting for the screen: a thread does, and says how much it left out."""

    def __init__(self) -> None:
        self._waiting: Queue[str | None] = Queue(LINES)
        self._skipped = 0
        self._thread = Thread(target=self._paint, name="lines", daemon=True)
        self._thread.start()

    def show(self, line: str) -> None:
        try:
            self._waiting.put_nowait(line)
        except Full:
            self._skipped += 1

    def close(self, *last: str) -> None:
        with suppress(Full):
            for line in (*last, None):
                self._waiting.put(line, timeout=PATIENCE)
            self._thread.join(PATIENCE)

    def _paint(self) -> None:
        while (line := self._waiting.get()) is not None:
            screen.out(line)
            if self._skipped and self._waiting.qsize() < LINES // 2:
                screen.out(f"({self._skipped} lines were not shown: they came too fast)")
                self._skipped = 0


@contextmanager
def _written(path: Path | None, show: Callable[[str], None]) -> Iterator[Callable[[Caught], None]]:
    """Yields what appends a notification to the file; a disk that is full is told once. Raises UsageError."""
    if path is None:
        yield lambda _: None
        return
    try:
        file = path.open("ab", buffering=0)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}; name another file") from None
    failed = False

    def write(caught: Caught) -> None:
        nonlocal failed
        try:
            file.write(json.dumps(caught.as_json()).encode() + b"\n")
        except OSError as error:
            if not failed:
                show(f"{path} can't be written: {error.strerror}; what comes is kept in memory only")
            failed = True

    with file:
        yield write
