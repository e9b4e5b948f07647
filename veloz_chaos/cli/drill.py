"""`veloz-chaos drill`: runs that people plan, approve, and attend."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos.cli import operator, options, screen
from veloz_chaos.errors import PASSED, Refused, UsageError

app = options.group("Plan, approve and run drills; confirm what a run waits for.")
_File = Annotated[Path, typer.Argument(metavar="FILE", help="What `drill plan` wrote.")]


@app.callback()
def _group() -> None:
    """Plan, approve and run drills; confirm what a run waits for."""


@app.command()
def plan(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="File or name in experiments/.")],
    environment: Annotated[
        str, typer.Option("--environment", "-e", metavar="ENV", help="File or name in environments/.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the plan is written.")],
    settings: options.Settings = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides every random choice.")] = 0,
    executor: Annotated[
        str, typer.Option("--executor", metavar="NAME", help="Who is to run it; without it the user's name.")
    ] = "",
    role: Annotated[
        list[str] | None, typer.Option("--role", metavar="ROLE=NAME", help="Who is what; may be given several times.")
    ] = None,
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help="Not before: an instant, or 2h from now.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Not after that.")] = "",
) -> int:
    """Write the plan that is to be approved; touch nothing."""
    from veloz_chaos.cli import choice
    from veloz_chaos.core import drill
    from veloz_chaos.engine import drill as drills
    from veloz_chaos.engine import files
    from veloz_chaos.engine.conduct import Request, planned, unallowed
    from veloz_chaos.registry import Registry

    now = datetime.now(UTC)
    window = drill.Window(from_=_instant(begin, "--from", now), to=_instant(end, "--to", now))
    if window.to and drill.outside(drill.Window(to=window.to), now):
        raise UsageError(f"--to {end}: that is over already")
    if window.from_ and window.to and window.from_ >= window.to:
        raise UsageError(f"--to {end} is not after --from {begin}")
    roles = dict(_role(text) for text in role or ())
    place, path = choice.named(environment), files.find("experiments", experiment)
    at = datetime.fromisoformat(window.from_) if window.from_ else now
    request, registry = Request(path, place, options.assignments(settings), seed, at=at), Registry()
    made = planned(request, registry, drill=True)
    if reasons := unallowed(request, registry, made):
        raise Refused("\n".join(reasons))
    if missing := drills.roleless(made, roles):
        raise UsageError(f"nobody is {', nor '.join(missing)}; say who: --role {missing[0]}=NAME")
    asked = drill.Asked(experiment=str(path), environment=str(place), settings=dict(request.settings), seed=seed)
    line = drill.line_of(drills.plan_of(asked, made, executor or operator.name(), roles, window))
    drills.save(output, line + "\n")
    _show(output)
    return PASSED


@app.command()
def show(file: _File) -> int:
    """Tell a drill's plan in words, and who has approved it."""
    _show(file)
    return PASSED


@app.command()
def approve(
    file: _File,
    key: Annotated[Path, typer.Option("--key", metavar="KEY", help="Your SSH key; an agent's public one will do.")],
    by: Annotated[
        str, typer.Option("--by", metavar="NAME", help="You, as the allowed signers say; else the user's name.")
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="No longer than: an instant, or 2d.")] = "",
) -> int:
    """Sign a drill's plan as it is now; the signature is added to its file."""
    from veloz_chaos.engine import drill as drills

    now = datetime.now(UTC)
    last = _instant(until, "--until", now)
    if last and datetime.fromisoformat(last) <= now:
        raise UsageError(f"--until {until}: that is over already")
    _show(file)
    made = drills.approve(file, key, by or operator.name(), last)
    screen.out("", f"{file}: {made.plan[:12]}… is approved by {made.by}")
    signers = Path(drills.load(file).plan.signers)
    if signers.is_file() and (why := drills.unsigned(made, signers)):
        screen.err(f"note: it would be refused as things are: {why}")
    return PASSED


@app.command()
def run(
    file: _File,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nobody for a go before each strike.")] = False,
    within: Annotated[str, typer.Option("--go-within", metavar="LENGTH", help="A go is waited for so long.")] = "15m",
    confirmed: Annotated[
        str | None, typer.Option("--confirm", metavar="NAME", help="The environment's name: production wants it.")
    ] = None,
    runs: options.Runs = Path("runs"),
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No minutes.")] = False,
) -> int:
    """Run an approved drill, if the world and the approvals are as planned; tell its minutes. Ctrl-C takes all out."""
    from dataclasses import replace

    from veloz_chaos import __version__
    from veloz_chaos.cli import choice, outcome
    from veloz_chaos.engine import drill as drills

    found = drills.load(file)
    asked = drills.Drill(found, operator.name(), None if yes else _length(within, "--go-within"))
    request = replace(drills.request_of(found, runs), drill=asked)
    with choice.terminable():
        try:
            outcome.confirm(request.environment, confirmed)
        except Refused as refusal:
            raise Refused("\n".join([*asked.objections(None), str(refusal)])) from None
        done = outcome.one(request, quiet=quiet, verbose=False, minutes=True)
    outcome.note(done)
    if as_json:
        from veloz_chaos.reports import document

        one = document.document([outcome.as_json(done)], done.exit_code, __version__)
        screen.out(json.dumps(one, ensure_ascii=False))
        return done.exit_code
    outcome.tell(done)
    if done.result is not None:
        screen.err(f"minutes: veloz-chaos drill minutes {done.result.folder}")
    return done.exit_code


@app.command()
def minutes(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its folder or id.")], runs: options.Runs = Path("runs")
) -> int:
    """Tell what happened in a run, by the time of day."""
    from veloz_chaos.cli import recorded
    from veloz_chaos.engine import journal as journals
    from veloz_chaos.reports.minutes import minutes as told

    screen.out(*told(recorded.read(journals.find(runs, run)).events))
    return PASSED


@app.command()
def confirm(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its folder or id.")],
    step: Annotated[str, typer.Argument(metavar="STEP", help="A manual step, or a strike, that it waits for.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who did it; without it the user's name.")] = "",
    no_go: Annotated[bool, typer.Option("--no-go", help="A strike is not to be: the run ends.")] = False,
    runs: options.Runs = Path("runs"),
) -> int:
    """Say that a manual step is done, or go for a strike of a drill."""
    from veloz_chaos.engine import confirm as confirming
    from veloz_chaos.engine import journal as journals

    folder = journals.find(runs, run)
    who = by or operator.name()
    meant = confirming.confirm(folder, step, who, go=not no_go)
    instead = f"; {meant} was to confirm it" if meant else ""
    screen.out(f"{folder}: {step} is {'stopped' if no_go else 'confirmed'} by {who}{instead}")
    return PASSED


def _show(file: Path) -> None:
    from veloz_chaos.engine import drill as drills
    from veloz_chaos.reports import drill as report

    found = drills.load(file)
    screen.out(*report.describe(found, screen.width()))
    screen.err(*(f"{file}: {problem}" for problem in found.problems))


def _role(text: str) -> tuple[str, str]:
    role, _, person = (part.strip() for part in text.partition("="))
    if not role or not person:
        raise UsageError(f"--role {text}: write --role ROLE=NAME")
    return role, person


def _length(text: str, option: str) -> timedelta:
    from veloz_chaos.core import duration

    try:
        return duration.parse(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}") from None


def _instant(text: str, option: str, now: datetime) -> str:
    """Of an instant, in UTC where it names no zone, or a length from now; ISO 8601 in UTC, empty for nothing."""
    from veloz_chaos.core import drill, duration

    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text)
        return drill.instant(found if found.tzinfo else found.replace(tzinfo=UTC))
    except ValueError:
        pass
    try:
        return drill.instant(now + duration.parse(text))
    except (ValueError, OverflowError):
        raise UsageError(f"{option} {text}: write 2h, 2026-03-01T10:00 (UTC) or 2026-03-01T10:00+01:00") from None
