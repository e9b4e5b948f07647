"""`veloz-chaos run`: one experiment after the other, each judged; the exit code is the worst one's."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from veloz_chaos import __version__, errors
from veloz_chaos.cli import choice, options, screen
from veloz_chaos.cli.progress import shown
from veloz_chaos.engine import files
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine.conduct import Request, Result, conduct
from veloz_chaos.registry import Registry


@dataclass(frozen=True)
class Outcome:
    """What came of one experiment: a result, or the error for which it never became a run."""

    experiment: Path
    environment: Path
    result: Result | None = None
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
    with choice.environment(environment, flaw or ()) as place:
        _confirm(place, confirm)
        for path in paths:
            request = Request(path, place, asked, seed, placebo, runs)
            outcomes.append(_one(request, quiet=quiet, verbose=verbose))
            if not as_json:
                _print(outcomes[-1])
            if outcomes[-1].exit_code in (errors.ABORTED, errors.LEFT_BEHIND, errors.BUG):
                break
    code = errors.worst([outcome.exit_code for outcome in outcomes])
    if as_json:
        from veloz_chaos.reports import document

        whole = document.document([_as_json(outcome) for outcome in outcomes], code, __version__)
        screen.out(json.dumps(whole, ensure_ascii=False))
    elif len(paths) > 1:
        screen.out("", *_summary(paths, outcomes))
    return code


def _one(request: Request, *, quiet: bool, verbose: bool) -> Outcome:
    try:
        with shown(quiet=quiet, verbose=verbose) as observe:
            result = conduct(request, Registry(), observe)
    except errors.Error as error:
        return Outcome(request.experiment, request.environment, error=error)
    finally:
        choice.catch()
    return Outcome(request.experiment, request.environment, result)


def _print(outcome: Outcome) -> None:
    """The report on stdout; a refusal or an invalid file on stderr."""
    if outcome.result is None:
        screen.err(*(screen.message(outcome.error) if outcome.error else ()))
        return
    from veloz_chaos.reports import verdict  # reports are not imported before there is something to report

    plan = outcome.result.history.plan
    assert plan is not None
    lines = verdict.report(outcome.result.judgement, plan, str(outcome.result.folder), screen.width())
    screen.out(*lines)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    from veloz_chaos.reports import document

    result = outcome.result
    if result is None or result.history.plan is None:
        reasons = screen.message(outcome.error) if outcome.error else []
        return document.no_run(outcome.experiment.stem, str(outcome.environment), outcome.exit_code, reasons)
    started = next(journals.lines(result.folder)).at
    return document.run(result.judgement, result.history.plan, str(result.folder), started)


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
