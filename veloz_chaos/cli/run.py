"""`veloz-chaos run`: one experiment after the other, each judged; the exit code is the worst one's.

With `--repeat N` each runs N times, every time with a steady state of its own and the next seed; then follows what all
of them prove together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veloz_chaos import __version__, errors
from veloz_chaos.cli import choice, options, published, screen
from veloz_chaos.cli import outcome as outcomes
from veloz_chaos.cli.outcome import Outcome
from veloz_chaos.engine import files
from veloz_chaos.engine.conduct import Request

if TYPE_CHECKING:
    from veloz_chaos.core.repeated import Repeated


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
    junit: published.Junit = None,
    markdown: published.Markdown = None,
    results: published.Results = None,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every look.")] = False,
) -> int:
    """Run experiments and judge what the system did."""
    paths = [files.find("experiments", name) for name in experiments]
    asked = options.assignments(settings)
    done: list[Outcome] = []
    publish = published.Published(junit, markdown, results)
    publish.prepare()
    try:
        with choice.environment(environment, flaw or (), backups=choice.destroys(paths)) as place:
            outcomes.confirm(place, confirm)
            requests = [Request(path, place, asked, seed + n, placebo, runs) for path in paths for n in range(repeat)]
            for outcome in _outcomes(requests, once=repeat == 1, quiet=quiet, verbose=verbose):
                done.append(outcome)
                outcomes.note(outcome)
                if not as_json:
                    outcomes.tell(outcome)
                if repeat == 1:
                    _publish(publish, done)
    except errors.Error as error:
        left = [Outcome(path, Path(environment or "sandbox"), error=error) for path in paths[len(done) :]]
        _publish(publish, [*done, *left])
        publish.end([outcomes.told(one) for one in [*done, *left]], error.exit_code)
        raise
    _publish(publish, done)
    code = _worst(done)
    repeats = [_repeated(path, done, repeat) for path in dict.fromkeys(paths)] if repeat > 1 else []
    if as_json:
        _print_json(done, repeats, code)
    else:
        _print_all(paths, done, repeats)
    return publish.end([outcomes.told(one) for one in done], code)


def _publish(publish: published.Published, done: Sequence[Outcome]) -> None:
    if publish:
        publish.write([outcomes.told(one) for one in done], _document(done, [], _worst(done)))


def _worst(done: Sequence[Outcome]) -> int:
    return errors.worst([outcome.exit_code for outcome in done])


def _outcomes(requests: Sequence[Request], *, once: bool, quiet: bool, verbose: bool) -> Iterator[Outcome]:
    """To the first that must stop the others. A file that is wrong is not tried again."""
    wrong: set[Path] = set()
    for request in requests:
        if request.experiment in wrong:
            continue
        outcome = outcomes.one(request, quiet=quiet, verbose=verbose)
        yield outcome
        if outcome.exit_code in (errors.ABORTED, errors.LEFT_BEHIND, errors.BUG):
            return
        if outcome.exit_code == errors.USAGE and not once:
            wrong.add(request.experiment)


def _print_all(paths: Sequence[Path], done: Sequence[Outcome], repeats: Sequence[Repeated]) -> None:
    if repeats:
        from veloz_chaos.reports import repeated

        for each in repeats:
            screen.out("", *repeated.report(each, screen.width()))
    elif len(paths) > 1:
        screen.out("", *_summary(paths, done))


def _print_json(done: Sequence[Outcome], repeats: Sequence[Repeated], code: int) -> None:
    screen.out(json.dumps(_document(done, repeats, code), ensure_ascii=False))


def _document(done: Sequence[Outcome], repeats: Sequence[Repeated], code: int) -> dict[str, Any]:
    from veloz_chaos.reports import document, repeated

    told = [repeated.as_json(each) for each in repeats]
    return document.document([outcomes.as_json(outcome) for outcome in done], code, __version__, told)


def _repeated(path: Path, done: Sequence[Outcome], asked: int) -> Repeated:
    from veloz_chaos.core.repeated import Once, repeated

    own = [outcome for outcome in done if outcome.experiment == path]
    plan = next((outcome.result.plan for outcome in own if outcome.result), None)
    runs = [Once(outcomes.word(o), outcomes.said(o), o.result.judgement if o.result else None) for o in own]
    where = plan.environment if plan else next((o.environment.stem for o in own), "nothing")
    return repeated(path.stem, where, asked, runs)


def _summary(paths: Sequence[Path], done: Sequence[Outcome]) -> list[str]:
    from veloz_chaos.reports.table import table

    rows = [[o.experiment.stem, outcomes.word(o), str(o.exit_code), outcomes.said(o)] for o in done]
    rows += [[path.stem, "not run", "", ""] for path in paths[len(done) :]]
    return table(["experiment", "verdict", "exit", "why"], rows, screen.width())
