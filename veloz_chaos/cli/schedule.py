"""`veloz-chaos schedule`: what is due when and where; run what is due; is the evidence there?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos import __version__
from veloz_chaos.cli import options, published, screen
from veloz_chaos.cli.history import tell
from veloz_chaos.core import duration, instant
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.core.standing import Standing
from veloz_chaos.engine import files, index, schedules
from veloz_chaos.engine.index import Index
from veloz_chaos.engine.schedules import Bound
from veloz_chaos.errors import FAILED, INCONCLUSIVE, PASSED, UsageError
from veloz_chaos.reports import schedule as report

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[SCHEDULE...]", help="Files or names in schedules/; without any: all.")
]
Instead = Annotated[
    str | None,
    typer.Option("--environment", "-e", metavar="ENV", help="Every entry on this one instead, to rehearse it."),
]
Now = Annotated[
    str | None,
    typer.Option("--now", metavar="WHEN", help="As if it were then: 2026-03-02T10:00, in UTC."),
]
Entries = Annotated[list[str] | None, typer.Option("--entry", metavar="NAME", help="Only these entries.")]

app = options.group("Show what is due when and where, run it, check the evidence.")


@app.command("list")
def list_(
    schedule: Names = None,
    environment: Instead = None,
    entry: Entries = None,
    now: Now = None,
    runs: options.Runs = Path("runs"),
    as_json: options.Json = False,
) -> int:
    """Show every entry: how it stands, and when it is next due."""
    moment = _now(now)
    with _standings(_chosen(_bound(schedule, environment), entry), moment, runs) as (found, standings):
        if as_json:
            _json(found, standings, moment, PASSED)
        else:
            screen.out(*report.listed(standings, moment, screen.width()))
            tell(found)
    return PASSED


@app.command()
def due(
    schedule: Names = None,
    environment: Instead = None,
    entry: Entries = None,
    now: Now = None,
    runs: options.Runs = Path("runs"),
    as_json: options.Json = False,
) -> int:
    """Show what is due, and what is overdue."""
    moment = _now(now)
    with _standings(_chosen(_bound(schedule, environment), entry), moment, runs) as (found, standings):
        if as_json:
            _json(found, [s for s in report.in_turn(standings) if s.state in ("due", "overdue")], moment, PASSED)
        else:
            screen.out(*report.due(standings, screen.width()))
            tell(found)
    return PASSED


@app.command()
def check(
    schedule: Names = None,
    environment: Instead = None,
    entry: Entries = None,
    now: Now = None,
    runs: options.Runs = Path("runs"),
    as_json: options.Json = False,
) -> int:
    """Exit 1 if evidence is missing, failed or overdue, 3 if it is inconclusive; say which."""
    moment = _now(now)
    with _standings(_chosen(_bound(schedule, environment), entry), moment, runs) as (found, standings):
        problems = {s.problem for s in standings} - {""}
        code = PASSED if not problems else INCONCLUSIVE if problems == {"inconclusive"} else FAILED
        if as_json:
            _json(found, standings, moment, code)
        else:
            screen.out(*report.checked(standings, screen.width()))
            tell(found)
    return code


@app.command()
def run(
    schedule: Names = None,
    environment: Instead = None,
    entry: Entries = None,
    now: Now = None,
    wait: Annotated[
        str | None, typer.Option("--wait", metavar="LENGTH", help="Also wait for what becomes due so soon: 30m.")
    ] = None,
    late: Annotated[
        str | None, typer.Option("--late", metavar="LENGTH", help="Not what has been due for longer: 12h.")
    ] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="LENGTH", help="Wait so long for another scheduler's end: 1h.")
    ] = None,
    runs: options.Runs = Path("runs"),
    confirm: Annotated[
        list[str] | None, typer.Option("--confirm", metavar="NAME", help="An environment's name: production wants it.")
    ] = None,
    junit: published.Junit = None,
    markdown: published.Markdown = None,
    results: published.Results = None,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every look.")] = False,
) -> int:
    """Run all that is due, one after the other; stop where something is left behind."""
    from veloz_chaos.cli.scheduling import Asked, Scheduler

    if now is not None and wait is not None:
        raise UsageError("--now says when it is, and --wait waits for it; give one of them")
    moment = _now(now) if now is not None else None
    asked = Asked(
        bound=_chosen(_bound(schedule, environment), entry),
        runs=runs,
        clock=lambda: moment or datetime.now(UTC),
        wait=_length("--wait", wait) or timedelta(0),
        late=_length("--late", late),
        queue=_length("--queue", queue) or timedelta(0),
        confirmed=frozenset(confirm or ()),
        quiet=quiet,
        verbose=verbose,
    )
    publish = published.Published(junit, markdown, results)
    publish.prepare()
    scheduler = Scheduler(asked)
    with scheduler.at_work():
        for done in scheduler.run():
            if not as_json:
                scheduler.tell(done)
            if publish:
                publish.write(scheduler.told(), scheduler.as_json())
        if publish and not scheduler.done:
            publish.write([], scheduler.as_json())
    if as_json:
        screen.out(json.dumps(scheduler.as_json(), ensure_ascii=False))
    else:
        screen.out(*scheduler.closing(screen.width()))
    return publish.end(scheduler.told(), scheduler.exit_code)


@app.command()
def export(
    schedule: Annotated[str, typer.Argument(metavar="SCHEDULE", help="A file or a name in schedules/.")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="cron, systemd, github, gitlab or kubernetes.")],
    entry: Entries = None,
    directory: Annotated[
        Path | None, typer.Option("--directory", metavar="DIR", help="Where it runs; otherwise here.")
    ] = None,
    image: Annotated[str, typer.Option("--image", metavar="NAME", help="For kubernetes and gitlab.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write the files there; otherwise print them.")
    ] = None,
) -> int:
    """Print what makes another scheduler run it: ready files of its own."""
    from veloz_chaos.registry import Registry
    from veloz_chaos.reports import exported

    path = files.find("schedules", schedule)
    read, _ = schedules.read(path, Registry())
    render = exported.FORMATS.get(to)
    if render is None:
        raise UsageError(f"--to {to}: there is no such format; {did_you_mean(to, exported.FORMATS)}")
    bound = _chosen(schedules.bind(path), entry)
    chosen = {one.entry.id for one in bound}
    read = read.model_copy(
        update={
            "entries": [one for one in read.entries if one.id in chosen],
            "blackouts": [blackout for one in bound for blackout in one.schedule.blackouts],
        }
    )
    place = str((directory or Path()).absolute())
    export_ = exported.Export(path.stem, read, place, path.read_text(), image, bool(entry))
    made = render(export_)
    if output is None:
        screen.out(*exported.printed(made))
        return PASSED
    for name, text in made.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text(text)
        screen.out(str(output / name))
    return PASSED


# --- what the commands share ---------------------------------------------------------------------------------------


def _now(text: str | None) -> datetime:
    try:
        return instant.as_of(text, datetime.now(UTC))
    except ValueError as error:
        raise UsageError(f"--now: {error}") from None


def _paths(names: Sequence[str] | None) -> list[Path]:
    if names:
        return [files.find("schedules", name) for name in names]
    if found := schedules.paths():
        return found
    raise UsageError("there is no schedule; write one in schedules/")


def _bound(names: Sequence[str] | None, environment: str | None) -> list[Bound]:
    from veloz_chaos.registry import Registry

    instead, known = None if environment is None else files.find("environments", environment), Registry()
    return [bound for path in _paths(names) for bound in schedules.bind(path, instead, known)]


@contextmanager
def _standings(bound: Sequence[Bound], now: datetime, runs: Path) -> Iterator[tuple[Index, list[Standing]]]:
    with index.opened(runs, screen.err) as found:
        yield found, schedules.stand(bound, found, now)


def _json(found: Index, standings: Sequence[Standing], now: datetime, code: int) -> None:
    entries = [report.as_json(standing) for standing in standings]
    told = {"entries": entries, "notes": found.notes, "problems": found.problems, "exit_code": code}
    whole = {"tool": "veloz-chaos", "version": __version__, "as_of": now.isoformat(timespec="seconds"), **told}
    screen.out(json.dumps(whole, ensure_ascii=False))


def _chosen(bound: Sequence[Bound], names: Sequence[str] | None) -> list[Bound]:
    known = [one.entry.id for one in bound]
    for name in names or ():
        if name not in known:
            raise UsageError(f"--entry {name}: there is no such entry; {did_you_mean(name, known)}")
    return [one for one in bound if not names or one.entry.id in names]


def _length(option: str, text: str | None) -> timedelta | None:
    try:
        return None if text is None else duration.parse(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
