"""`veloz-chaos run`: one experiment after the other, each judged; the exit code is the worst one's.

With `--repeat N` each runs N times, every time with a steady state of its own and the next seed; then follows what all
of them prove together.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veloz_chaos import __version__, errors
from veloz_chaos.cli import choice, options, screen
from veloz_chaos.cli.operator import Operator
from veloz_chaos.cli.progress import shown
from veloz_chaos.engine import files
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine.conduct import Request, conduct
from veloz_chaos.registry import Registry

if TYPE_CHECKING:
    from veloz_chaos.core.judge import Judgement
    from veloz_chaos.core.plan import Plan
    from veloz_chaos.core.repeated import Repeated


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

    @property
    def exit_code(self) -> int:
        if self.result is not None:
            return self.result.judgement.exit_code
        return self.error.exit_code if self.error else errors.BUG


def command(
    experiments: Annotated[list[str], typer.Argument(metavar="EXPERIMENT...", help="Files or names in experiments/.")],
    environment: options.Environment = None,
    settings: options.Settings = None,
    placebo: Annotated[bool, typer.Option("--placebo", help="Everything but the fault.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Decides every random choice.")] = 0,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, metavar="N", help="Run each N times; say what it proves.")
    ] = 1,
    runs: options.Runs = Path("runs"),
    flaw: options.Flaws = None,
    confirm: Annotated[
        str | None, typer.Option("--confirm", metavar="NAME", help="The environment's name: production wants it.")
    ] = None,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every look.")] = False,
) -> int:
    """Run experiments and judge what the system did."""
    paths = [files.find("experiments", name) for name in experiments]
    asked = options.assignments(settings)
    outcomes: list[Outcome] = []
    with choice.environment(environment, flaw or (), backups=choice.destroys(paths)) as place:
        _confirm(place, confirm)
        requests = [Request(path, place, asked, seed + n, placebo, runs) for path in paths for n in range(repeat)]
        for outcome in _outcomes(requests, once=repeat == 1, quiet=quiet, verbose=verbose):
            outcomes.append(outcome)
            _note(outcome)
            if not as_json:
                _print(outcome)
    code = errors.worst([outcome.exit_code for outcome in outcomes])
    repeats = [_repeated(path, outcomes, repeat) for path in dict.fromkeys(paths)] if repeat > 1 else []
    if as_json:
        _print_json(outcomes, repeats, code)
    else:
        _print_all(paths, outcomes, repeats)
    return code


def _outcomes(requests: Sequence[Request], *, once: bool, quiet: bool, verbose: bool) -> Iterator[Outcome]:
    """To the first that must stop the others. A file that is wrong is not tried again."""
    wrong: set[Path] = set()
    for request in requests:
        if request.experiment in wrong:
            continue
        outcome = _one(request, quiet=quiet, verbose=verbose)
        yield outcome
        if outcome.exit_code in (errors.ABORTED, errors.LEFT_BEHIND, errors.BUG):
            return
        if outcome.exit_code == errors.USAGE and not once:
            wrong.add(request.experiment)


def _one(request: Request, *, quiet: bool, verbose: bool) -> Outcome:
    try:
        with shown(quiet=quiet, verbose=verbose) as observe:
            result = conduct(request, Registry(), Operator(request.runs, observe))
    except errors.Error as error:
        return Outcome(request.experiment, request.environment, error=error)
    finally:
        choice.catch()
    plan = result.history.plan
    assert plan is not None
    return Outcome(
        request.experiment, request.environment, Recorded(result.judgement, plan, result.folder, result.note)
    )


def _note(outcome: Outcome) -> None:
    if outcome.result is not None and outcome.result.note:
        screen.err(outcome.result.note)


def _print(outcome: Outcome) -> None:
    """The report on stdout; a refusal or an invalid file on stderr."""
    if outcome.result is None:
        screen.err(*(screen.message(outcome.error) if outcome.error else ()))
        return
    from veloz_chaos.reports import verdict  # reports are not imported before there is something to report

    told = outcome.result
    screen.out(*verdict.report(told.judgement, told.plan, str(told.folder), screen.width()))


def _print_all(paths: Sequence[Path], outcomes: Sequence[Outcome], repeats: Sequence[Repeated]) -> None:
    if repeats:
        from veloz_chaos.reports import repeated

        for each in repeats:
            screen.out("", *repeated.report(each, screen.width()))
    elif len(paths) > 1:
        screen.out("", *_summary(paths, outcomes))


def _print_json(outcomes: Sequence[Outcome], repeats: Sequence[Repeated], code: int) -> None:
    from veloz_chaos.reports import document, repeated

    told = [repeated.as_json(each) for each in repeats]
    whole = document.document([_as_json(outcome) for outcome in outcomes], code, __version__, told)
    screen.out(json.dumps(whole, ensure_ascii=False))


def _repeated(path: Path, outcomes: Sequence[Outcome], asked: int) -> Repeated:
    from veloz_chaos.core.repeated import Once, repeated

    own = [outcome for outcome in outcomes if outcome.experiment == path]
    plan = next((outcome.result.plan for outcome in own if outcome.result), None)
    runs = [Once(_word(o), _said(o), o.result.judgement if o.result else None) for o in own]
    where = plan.environment if plan else next((o.environment.stem for o in own), "nothing")
    return repeated(path.stem, where, asked, runs)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    from veloz_chaos.reports import document

    result = outcome.result
    if result is None:
        reasons = screen.message(outcome.error) if outcome.error else []
        return document.no_run(outcome.experiment.stem, str(outcome.environment), outcome.exit_code, reasons)
    started = next(journals.lines(result.folder)).at
    return document.run(result.judgement, result.plan, str(result.folder), started)


def _summary(paths: Sequence[Path], outcomes: Sequence[Outcome]) -> list[str]:
    from veloz_chaos.reports.table import table

    rows = [[o.experiment.stem, _word(o), str(o.exit_code), _said(o)] for o in outcomes]
    rows += [[path.stem, "not run", "", ""] for path in paths[len(outcomes) :]]
    return table(["experiment", "verdict", "exit", "why"], rows, screen.width())


def _word(outcome: Outcome) -> str:
    if outcome.result is not None:
        return outcome.result.judgement.verdict
    return "refused" if outcome.exit_code == errors.REFUSED else "not run"


def _said(outcome: Outcome) -> str:
    from veloz_chaos.reports import verdict

    if outcome.result is not None:
        return verdict.summary(outcome.result.judgement)
    return str(outcome.error).splitlines()[0] if outcome.error else ""


def _confirm(place: Path, given: str | None) -> None:
    """Production wants its name typed. Raises Refused."""
    environment = files.environment(place).environment
    if environment.tier != "production" or given == environment.name:
        return
    if given is None and sys.stdin.isatty():
        screen.err(f"{environment.name} is production. Type its name to go on:")
        given = sys.stdin.readline().strip()
    if given != environment.name:
        raise errors.Refused(f"{environment.name} is production; type its name, or give --confirm {environment.name}")
