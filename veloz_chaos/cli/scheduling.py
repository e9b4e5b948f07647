"""What `schedule run` does: one thing due after the other, each looked up anew, under a lock of its own.

Between two runs the clock and the history are read again, so that nothing is run twice, whoever ran it meanwhile and
whatever became of the clock.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veloz_chaos import __version__, errors
from veloz_chaos.cli import choice, screen
from veloz_chaos.cli import outcome as outcomes
from veloz_chaos.cli.outcome import Outcome
from veloz_chaos.cli.revert import take_out
from veloz_chaos.core import event as ev
from veloz_chaos.core.duration import show
from veloz_chaos.core.plan import Occasion
from veloz_chaos.core.record import INTERRUPTED
from veloz_chaos.core.standing import Standing
from veloz_chaos.engine import files, index, index_file, lock, schedules
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine.conduct import Request
from veloz_chaos.engine.index import Query
from veloz_chaos.engine.schedules import Bound
from veloz_chaos.reports import schedule as report

if TYPE_CHECKING:
    from veloz_chaos.reports.told import Told

#: While it waits, the clock is looked at so often: it may be set meanwhile. Seconds.
_TICK = 5.0
_SANDBOX = "sandbox"


@dataclass(frozen=True)
class Asked:
    bound: Sequence[Bound]
    runs: Path
    clock: Callable[[], datetime]
    wait: timedelta
    #: what has been due for longer is not started; None: that does not matter
    late: timedelta | None
    #: how long another scheduler is waited for
    queue: timedelta
    #: environments whose name was typed
    confirmed: frozenset[str]
    quiet: bool
    verbose: bool


@dataclass(frozen=True)
class Done:
    standing: Standing
    occasion: Occasion
    outcome: Outcome


@dataclass
class Scheduler:
    asked: Asked
    done: list[Done] = field(default_factory=list)
    #: of what earlier runs had left
    codes: list[int] = field(default_factory=list)
    #: entries that a person must start, and why
    held: dict[Occasion, str] = field(default_factory=dict)
    _places: ExitStack = field(default_factory=ExitStack)
    #: with and without backups
    _sandboxes: dict[bool, Path] = field(default_factory=dict)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Raises Refused if another scheduler is at work on the same runs."""
        holder = f"pid {os.getpid()} on {socket.gethostname()}"
        folder, queue = self.asked.runs / index_file.FOLDER, self.asked.queue
        with ExitStack() as held, self._places:
            try:
                held.enter_context(lock.scheduler(folder, holder, lock.PATIENCE))
            except errors.Refused as busy:
                if not queue:
                    raise errors.Refused(f"{busy}; wait for it, or give --queue 1h") from None
                if not self.asked.quiet:
                    screen.err(f"{busy}; it is waited for, {show(queue)} at most")
                held.enter_context(lock.scheduler(folder, holder, queue.total_seconds()))
            yield

    @property
    def exit_code(self) -> int:
        return errors.worst([*self.codes, *(done.outcome.exit_code for done in self.done)])

    def run(self) -> Iterator[Done]:
        """To the first that must stop the others."""
        self._close_what_was_left()
        if errors.LEFT_BEHIND in self.codes:
            return
        until = time.monotonic() + self.asked.wait.total_seconds()
        while True:
            bound, standing, next_ = self._turn()
            if bound is None or standing is None:
                if choice.interrupted() or not _waited(self.asked.clock(), next_, until):
                    return
                continue
            if why := self._for_people(bound):
                self.held[_occasion(bound, standing)] = f"{standing.entry.id}: not run: {why}"
                continue
            self.done.append(self._one(bound, standing))
            yield self.done[-1]
            if self.done[-1].outcome.exit_code in (errors.ABORTED, errors.LEFT_BEHIND, errors.BUG):
                return

    def _turn(self) -> tuple[Bound | None, Standing | None, datetime | None]:
        """What has waited longest and was not tried yet; and when the next one is due."""
        now = self.asked.clock()
        tried = {done.occasion for done in self.done} | set(self.held)
        with index.opened(self.asked.runs, screen.err) as found:
            standings = schedules.stand(self.asked.bound, found, now)
        ready = [
            (bound, standing)
            for bound, standing in zip(self.asked.bound, standings, strict=True)
            if standing.runnable
            and (self.asked.late is None or now - _start(standing) <= self.asked.late)
            and _occasion(bound, standing) not in tried
        ]
        bound, standing = min(ready, key=lambda pair: _start(pair[1]), default=(None, None))
        return bound, standing, min((s.upcoming.start for s in standings if s.upcoming), default=None)

    def _one(self, bound: Bound, standing: Standing) -> Done:
        occasion = _occasion(bound, standing)
        if not self.asked.quiet:
            screen.err(f"{standing.entry.id}, due {occasion.due}")
        paths = bound.experiment_file or Path(bound.experiment), bound.environment_file or Path(bound.environment)
        try:
            if bound.problem:
                raise errors.UsageError(f"{standing.entry.id} can't be run here: {bound.problem}")
            place = self._place(bound)
            outcomes.confirm(place, bound.environment if bound.environment in self.asked.confirmed else None)
        except errors.Error as error:
            return Done(standing, occasion, Outcome(*paths, error=error))
        request = Request(paths[0], place, standing.entry.with_, runs=self.asked.runs, occasion=occasion)
        return Done(standing, occasion, outcomes.one(request, quiet=self.asked.quiet, verbose=self.asked.verbose))

    def _for_people(self, bound: Bound) -> str:
        """Production wants its name typed: without it nobody is here who may start it. That is no refusal."""
        if bound.environment_file is None or bound.environment in self.asked.confirmed or sys.stdin.isatty():
            return ""
        try:
            if files.environment(bound.environment_file).environment.tier != "production":
                return ""
        except errors.Error:
            return ""  # its run says what is wrong with it
        return f"{bound.environment} is production; start it by hand, or give --confirm {bound.environment}"

    def _place(self, bound: Bound) -> Path:
        """The environment's file; the sandbox is started, once, where it is not up."""
        assert bound.environment_file is not None and bound.experiment_file is not None
        if bound.environment_file != files.find("environments", _SANDBOX):
            return bound.environment_file
        backups = choice.destroys([bound.experiment_file])
        if backups not in self._sandboxes:
            own = choice.environment(None, backups=backups)
            self._sandboxes[backups] = self._places.enter_context(own)
        return self._sandboxes[backups]

    def _close_what_was_left(self) -> None:
        """Runs of this machine whose runner died, by a reboot or else: reverted and closed before anything starts."""
        with index.opened(self.asked.runs, screen.err) as found:
            unsettled = found.unsettled()
            records = found.find(Query(verdicts=(INTERRUPTED, "left-behind")))
        for record in records:
            folder = self.asked.runs / record.folder
            if record.folder in unsettled and record.host == socket.gethostname() and _open(folder):
                self.codes.append(take_out(folder))

    # --- told -------------------------------------------------------------------------------------------------

    def tell(self, done: Done) -> None:
        outcomes.note(done.outcome)
        outcomes.tell(done.outcome)

    def told(self) -> list[Told]:
        return [outcomes.told(d.outcome, f"{d.occasion.entry}, due {d.occasion.due}") for d in self.done]

    def closing(self, width: int) -> list[str]:
        from veloz_chaos.reports.table import table

        if self.held:
            screen.err(*self.held.values())
        if not self.done:
            if errors.LEFT_BEHIND in self.codes:
                return ["nothing was run: an earlier run left something in place"]
            with index.opened(self.asked.runs, screen.err) as found:
                standings = schedules.stand(self.asked.bound, found, self.asked.clock())
            return report.due(standings, width)
        rows = [
            [d.standing.entry.id, d.occasion.due[:16].replace("T", " "), outcomes.word(d.outcome),
             str(d.outcome.exit_code), outcomes.said(d.outcome)]
            for d in self.done
        ]  # fmt: skip
        return ["", *table(["entry", "due (UTC)", "verdict", "exit", "why"], rows, width)]

    def as_json(self) -> dict[str, Any]:
        from veloz_chaos.reports import document

        told = [outcomes.as_json(d.outcome) | {"occasion": d.occasion.model_dump()} for d in self.done]
        return document.document(told, self.exit_code, __version__) | {"held_back": list(self.held.values())}


def _occasion(bound: Bound, standing: Standing) -> Occasion:
    assert standing.current is not None
    due = standing.current.due.isoformat(timespec="seconds")
    return Occasion(schedule=bound.name, entry=standing.entry.id, due=due)


def _start(standing: Standing) -> datetime:
    assert standing.current is not None
    return standing.current.start


def _waited(now: datetime, next_: datetime | None, until: float) -> bool:
    """Waits a little for the next one; False if it is due too late, or never."""
    if next_ is None:
        return False
    left = (next_ - now).total_seconds()
    room = until - time.monotonic()
    if room <= 0 or left > room:
        return False
    time.sleep(min(_TICK, max(0.0, left)))
    return True


def _open(folder: Path) -> bool:
    events = journals.read(folder)
    return bool(ev.open_faults(events)) or not any(isinstance(event, ev.RunEnded) for event in events)
