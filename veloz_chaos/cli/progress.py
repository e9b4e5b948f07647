"""What a run shows of itself while it goes on. Events arrive on the measuring loop, which only puts them in a queue;
a thread of its own tells or draws them, ten times a second at most."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from veloz_chaos.reports.scene import Style

from veloz_chaos.cli import screen
from veloz_chaos.core import event as ev
from veloz_chaos.engine.clock import now

Observe = Callable[[ev.Event], None]
#: Seconds between two redraws.
REDRAW = 0.1
_STYLES: dict[Style, str] = {
    "title": "bold", "plain": "", "good": "green", "bad": "red", "unknown": "yellow", "faint": "dim",
}  # fmt: skip


class _Painter(Protocol):
    def add(self, event: ev.Event) -> None: ...
    def draw(self) -> None: ...
    def close(self) -> None: ...


@contextmanager
def shown(*, quiet: bool, verbose: bool, minutes: bool = False) -> Iterator[Observe]:
    """Yields what the run calls with each event: on a terminal a live view, else plain lines, both on stderr; of a
    drill its minutes."""
    if quiet:
        yield lambda _: None
        return
    events: SimpleQueue[ev.Event | None] = SimpleQueue()
    plain = verbose or minutes or not screen.terminal()
    painter: _Painter = _Lines(every=verbose, minutes=minutes) if plain else _Live()
    thread = threading.Thread(target=_paint, args=(events, painter), name="progress", daemon=True)
    thread.start()
    try:
        yield events.put
    finally:
        events.put(None)
        thread.join(timeout=5)


def _paint(events: SimpleQueue[ev.Event | None], painter: _Painter) -> None:
    """Until None comes; whatever has queued up is one picture."""
    drawn, going = 0, True
    while going:
        going = _drain(events, painter, REDRAW)
        wait = drawn + int(REDRAW * 1e9) - now()
        if wait > 0 and going:
            going = _drain(events, painter, wait / 1e9)
        painter.draw()
        drawn = now()
    painter.close()


def _drain(events: SimpleQueue[ev.Event | None], painter: _Painter, seconds: float) -> bool:
    """All that comes within `seconds`; False after the last one."""
    until = now() + int(seconds * 1e9)
    while (left := until - now()) > 0:
        try:
            event = events.get(timeout=left / 1e9)
        except Empty:
            return True
        if event is None:
            return False
        painter.add(event)
    return True


class _Lines:
    """One line for each thing that happens."""

    def __init__(self, *, every: bool, minutes: bool) -> None:
        from veloz_chaos.reports.minutes import Minutes
        from veloz_chaos.reports.narrative import Narrator

        self._narrator = Minutes() if minutes else Narrator(every=every)

    def add(self, event: ev.Event) -> None:
        line = self._narrator.tell(event)
        if line is not None:
            screen.err(line)

    def draw(self) -> None:
        """Lines are told as they come."""

    def close(self) -> None:
        """Nothing is left on the screen to put away."""


class _Live:
    """A few lines that change in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        from veloz_chaos.reports.scene import Scene

        self._scene = Scene()
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def add(self, event: ev.Event) -> None:
        self._scene.add(event)

    def draw(self) -> None:
        from rich.text import Text

        lines = [Text(line, style=_STYLES[style]) for style, line in self._scene.lines(now(), self._console.width)]
        self._live.update(Text("\n").join(lines), refresh=True)

    def close(self) -> None:
        self._live.stop()
