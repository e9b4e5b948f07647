"""What came of one request: run, shown, told. Shared by whatever runs experiments."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veloz_chaos import errors
from veloz_chaos.cli import choice, screen
from veloz_chaos.cli.operator import Operator
from veloz_chaos.cli.progress import shown
from veloz_chaos.core import event as ev
from veloz_chaos.engine import files
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine.conduct import Request, conduct
from veloz_chaos.registry import Registry

if TYPE_CHECKING:
    from veloz_chaos.core.judge import Judgement
    from veloz_chaos.core.plan import Plan
    from veloz_chaos.reports.told import Told


@dataclass(frozen=True)
class Recorded:
    """A result without its history: of hundreds of runs that would be too much."""

    judgement: Judgement
    plan: Plan
    folder: Path
    #: what could not be tidied up
    note: str


@dataclass(frozen=True)
class Outcome:
    """What came of one experiment: a result, or the error for which it never became a run."""

    experiment: Path
    environment: Path
    result: Recorded | None = None
    error: errors.Error | None = None
    #: when it was begun, in seconds since 1970, and how long it took
    started: float = 0.0
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        if self.result is not None:
            return self.result.judgement.exit_code
        return self.error.exit_code if self.error else errors.BUG


def one(request: Request, *, quiet: bool, verbose: bool, minutes: bool = False) -> Outcome:
    """Once its run has ended no signal keeps the verdict from being told; it ends what would follow."""
    began, clock = time.time(), time.monotonic()
    try:
        if choice.interrupted():
            raise errors.Interrupted("interrupted")
        choice.catch()
        with shown(quiet=quiet, verbose=verbose, minutes=minutes) as observe:
            result = conduct(request, Registry(), Operator(request.runs, _holding(observe)))
    except errors.Error as error:
        return Outcome(request.experiment, request.environment, None, error, began, time.monotonic() - clock)
    plan = result.history.plan
    assert plan is not None
    recorded = Recorded(result.judgement, plan, result.folder, result.note)
    return Outcome(request.experiment, request.environment, recorded, None, began, time.monotonic() - clock)


def _holding(observe: Callable[[ev.Event], None]) -> Callable[[ev.Event], None]:
    def heard(event: ev.Event) -> None:
        if isinstance(event, ev.RunEnded):
            choice.hold()
        observe(event)

    return heard


def note(outcome: Outcome) -> None:
    if outcome.result is not None and outcome.result.note:
        screen.err(outcome.result.note)


def tell(outcome: Outcome) -> None:
    """The report on stdout; a refusal or an invalid file on stderr."""
    if outcome.result is None:
        screen.err(*(screen.message(outcome.error) if outcome.error else ()))
        return
    from veloz_chaos.reports import verdict  # reports are not imported before there is something to report

    done = outcome.result
    screen.out(*verdict.report(done.judgement, done.plan, str(done.folder), screen.width()))


def as_json(outcome: Outcome) -> dict[str, Any]:
    from veloz_chaos.reports import document

    result = outcome.result
    if result is None:
        reasons = screen.message(outcome.error) if outcome.error else []
        return document.no_run(outcome.experiment.stem, str(outcome.environment), outcome.exit_code, reasons)
    started = next(journals.lines(result.folder)).at
    return document.run(result.judgement, result.plan, str(result.folder), started)


def told(outcome: Outcome, occasion: str = "") -> Told:
    from veloz_chaos.reports.told import Told

    result, when = outcome.result, (outcome.started, outcome.seconds)
    if result is None:
        verdict = errors.no_run(outcome.exit_code)
        reasons = tuple(str(outcome.error).splitlines()) if outcome.error else ()
        names = outcome.experiment.stem, outcome.environment.stem
        return Told(*names, verdict, outcome.exit_code, reasons, None, None, "", *when, occasion)
    j, plan = result.judgement, result.plan
    names = plan.experiment, plan.environment
    return Told(*names, j.verdict, j.exit_code, (), j, plan, str(result.folder), *when, occasion)


def word(outcome: Outcome) -> str:
    if outcome.result is not None:
        return outcome.result.judgement.verdict
    return "refused" if outcome.exit_code == errors.REFUSED else "not run"


def said(outcome: Outcome) -> str:
    from veloz_chaos.core.told import summary

    if outcome.result is not None:
        return summary(outcome.result.judgement)
    return str(outcome.error).splitlines()[0] if outcome.error else ""


def confirm(place: Path, given: str | None) -> None:
    """Production wants its name typed. Raises Refused."""
    environment = files.environment(place).environment
    if environment.tier != "production" or given == environment.name:
        return
    if given is None and sys.stdin.isatty():
        screen.err(f"{environment.name} is production. Type its name to go on:")
        given = sys.stdin.readline().strip()
    if given != environment.name:
        raise errors.Refused(f"{environment.name} is production; type its name, or give --confirm {environment.name}")
