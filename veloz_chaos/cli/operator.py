"""A run's manual steps, and the go before a drill's strikes, at the terminal: what to do is told, and Enter confirms
it. Elsewhere a command does."""

from __future__ import annotations

import getpass
import os
import select
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from veloz_chaos.cli import screen
from veloz_chaos.core import event as ev
from veloz_chaos.core.duration import show
from veloz_chaos.core.experiment import Manual
from veloz_chaos.core.plan import Plan
from veloz_chaos.engine import confirm
from veloz_chaos.engine import journal as journals
from veloz_chaos.errors import UsageError
from veloz_chaos.reports.narrative import fault_name

#: Between two looks at whether the step is over anyway. Seconds.
_TICK = 0.2


class Operator:
    """Hears every event of a run, on its loop; whatever waits has a thread of its own."""

    def __init__(self, runs: Path, then: Callable[[ev.Event], None]) -> None:
        self._runs, self._then = runs, then
        self._run = ""
        self._manual: dict[str, Manual] = {}
        self._plan: Plan | None = None
        self._over: dict[str, threading.Event] = {}

    def __call__(self, event: ev.Event) -> None:
        self._then(event)
        if isinstance(event, ev.RunStarted):
            self._run = event.run
            self._manual = {step.name: step.manual for step in event.plan.steps if step.manual is not None}
            self._plan = event.plan
        if isinstance(event, ev.StepBegan) and event.step in self._manual:
            self._begin(event.step, self._ask)
        if isinstance(event, ev.GoAsked):
            self._begin(event.name, partial(self._ask_go, event))
        if isinstance(event, ev.StepEnded | ev.GoAnswered):
            name = event.step if isinstance(event, ev.StepEnded) else event.name
            if name in self._over:
                self._over[name].set()

    def _begin(self, name: str, ask: Callable[[str, threading.Event], None]) -> None:
        over = self._over[name] = threading.Event()
        threading.Thread(target=ask, args=(name, over), name="operator", daemon=True).start()

    def _ask(self, step: str, over: threading.Event) -> None:
        manual, here = self._manual[step], _at_terminal()
        how = "press Enter when it is done" if here else "when it is done: " + self._command(step)
        screen.err(f"{step}: {manual.do}", f"  {manual.by}, within {show(manual.within)}; {how}")
        self._await(step, over, here)

    def _ask_go(self, event: ev.GoAsked, name: str, over: threading.Event) -> None:
        from veloz_chaos.reports.verdict import wrapped  # only where somebody is asked

        here = _at_terminal()
        faults = ", ".join(fault_name(self._plan, fault) for fault in event.faults)
        how = "press Enter to go, Ctrl-C to end the run" if here else f"{self._command(name)}, or the same with --no-go"
        screen.err(*wrapped(f"go or no-go for {name}: {faults}?", screen.width()), f"  {how}")
        self._await(name, over, here)

    def _await(self, step: str, over: threading.Event, here: bool) -> None:
        while here and not over.is_set():
            if select.select([sys.stdin], [], [], _TICK)[0]:
                if not os.read(sys.stdin.fileno(), 1 << 10):
                    return
                if not over.is_set():
                    self._confirm(step)
                return

    def _command(self, step: str) -> str:
        elsewhere = "" if self._runs == Path("runs") else f" --runs {self._runs}"
        return f"veloz-chaos drill confirm {self._run} {step}{elsewhere}"

    def _confirm(self, step: str) -> None:
        try:
            confirm.confirm(journals.find(self._runs, self._run), step, name())
        except UsageError as error:
            screen.err(str(error))


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def name() -> str:
    """Who sits here."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
