"""`veloz-chaos history`: all runs of a folder: found, compared, brought from elsewhere, removed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from veloz_chaos import __version__
from veloz_chaos.cli import options, screen
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.core.record import VERDICTS
from veloz_chaos.engine import index
from veloz_chaos.engine.index import Index, Query
from veloz_chaos.errors import FAILED, PASSED, USAGE, UsageError
from veloz_chaos.reports import history

#: Of each experiment on each environment, so many runs are looked at for a trend.
_TREND = 100
#: So many folders that hold no readable run are named.
_PROBLEMS = 3

Experiments = Annotated[
    list[str] | None, typer.Option("--experiment", metavar="NAME", help="Only of these; may be given several times.")
]
Environments = Annotated[
    list[str] | None,
    typer.Option("--environment", "-e", metavar="NAME", help="Only on these; may be given several times."),
]
Verdicts = Annotated[
    list[str] | None, typer.Option("--verdict", metavar="WORD", help="Only these; may be given several times.")
]
Since = Annotated[str | None, typer.Option("--since", metavar="WHEN", help="30d, 2026-03-01 or 2026-03-01T10:00.")]

app = options.group("List and compare runs; bring those of other machines.")


@app.command("list")
def list_(
    experiment: Experiments = None,
    environment: Environments = None,
    verdict: Verdicts = None,
    since: Since = None,
    limit: Annotated[int, typer.Option("--limit", min=0, metavar="N", help="At most so many; 0: all.")] = 20,
    runs: options.Runs = Path("runs"),
    as_json: options.Json = False,
) -> int:
    """List runs, the latest first."""
    query = _query(experiment, environment, verdict, since)
    with index.opened(runs, screen.err) as found:
        records = found.find(Query(**vars(query) | {"limit": limit or None}))
        counts: dict[str, int] = {}
        for (_, _, word), n in found.count(query).items():
            counts[word] = counts.get(word, 0) + n
        if as_json:
            _json(found, {"runs": [history.as_json(record) for record in records], "counts": counts})
        else:
            screen.out(*history.listed(records, counts, screen.width()))
            tell(found)
    return PASSED


@app.command()
def trend(
    experiment: Experiments = None,
    environment: Environments = None,
    since: Since = None,
    fail_on: Annotated[
        str | None, typer.Option("--fail-on", metavar="slower", help="Exit 1 if anything got slower.")
    ] = None,
    runs: options.Runs = Path("runs"),
    as_json: options.Json = False,
) -> int:
    """Show how the times change, and warn of what got slower."""
    from veloz_chaos.core import trend as trends
    from veloz_chaos.reports import trend as report

    if fail_on not in (None, "slower"):
        raise UsageError(f"--fail-on {fail_on}: it is slower")
    query = Query(**vars(_query(experiment, environment, None, since)) | {"placebos": False})
    with index.opened(runs, screen.err) as found:
        groups: dict[tuple[str, str], dict[str, int]] = {}
        for (name, where, word), n in found.count(query).items():
            groups.setdefault((name, where), {})[word] = n
        told = [trends.trend(_latest(found, query, *which), counts) for which, counts in sorted(groups.items())]
        kept = [one for one in told if one is not None]
        if as_json:
            _json(found, {"trends": [report.as_json(one) for one in kept]})
        else:
            screen.out(*report.report(kept, screen.width()))
            tell(found)
    slower = any(change.slower for one in kept for change in one.changes.values())
    return FAILED if fail_on and slower else PASSED


@app.command("import")
def import_(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs, runs, or a job's results.")],
    runs: options.Runs = Path("runs"),
) -> int:
    """Bring runs of other machines."""
    from veloz_chaos.engine import merging, records

    told: list[merging.Brought] = []
    sources = [source for folder in folders for source in merging.sources(folder)]
    with index.opened(runs, screen.err) as found:
        for source in sources:
            known = None
            if (record := records.peek(source)) is not None:
                known = found.same(record.run, record.started)
            told.append(merging.bring(source, runs, known))
    refused = [one for one in told if one.outcome == "refused"]
    screen.err(*(one.note for one in refused))
    counts = {word: sum(one.outcome == word for one in told) for word in ("brought", "continued", "here")}
    screen.out(
        f"{counts['brought']} brought, {counts['continued']} brought up to date, {counts['here']} were here already"
        + (f", {len(refused)} refused" if refused else "")
    )
    return USAGE if refused else PASSED


@app.command()
def prune(
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, metavar="N", help="The latest N of each experiment and environment.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="WHEN", help="365d or 2026-03-01; with --keep both must hold.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    runs: options.Runs = Path("runs"),
    as_json: options.Json = False,
) -> int:
    """Remove old runs, and say which; never one with a fault in place, never the latest evidence."""
    from veloz_chaos.core.retention import Retention, Sorted, sort
    from veloz_chaos.engine import merging

    if keep is None and older_than is None:
        raise UsageError("say what may go: --keep N, --older-than 365d, or both")
    retention = Retention(keep, None if older_than is None else _instant("--older-than", older_than))
    with index.opened(runs, screen.err) as found:
        chosen = sort(found.find(Query()), retention, found.unsettled())
        if not dry_run:
            left = [(record, merging.prune(runs / record.folder)) for record in chosen.goes]
            gone = tuple(record for record, why in left if not why)
            chosen = Sorted(gone, (*chosen.stays, *((record, why) for record, why in left if why)))
        if as_json:
            _json(found, history.pruned_json(chosen) | {"dry_run": dry_run})
        else:
            screen.out(*history.removed(chosen.goes, chosen.stays, only_told=dry_run))
            tell(found)
    return PASSED


@app.command()
def rebuild(runs: options.Runs = Path("runs")) -> int:
    """Make the index again from the journals alone."""
    with index.opened(runs, screen.err, again=True) as found:
        known = sum(found.count(Query()).values())
        journals = f"{found.read} journal{'' if found.read == 1 else 's'}"
        screen.out(f"{journals} read; {known} run{' is' if known == 1 else 's are'} known")
        tell(found)
    return PASSED


def _query(
    experiments: Sequence[str] | None,
    environments: Sequence[str] | None,
    verdicts: Sequence[str] | None,
    since: str | None,
) -> Query:
    for word in verdicts or ():
        if word not in VERDICTS:
            raise UsageError(f"--verdict {word}: there is no such verdict; {did_you_mean(word, VERDICTS)}")
    begin = None if since is None else _instant("--since", since)
    return Query(tuple(experiments or ()), tuple(environments or ()), tuple(verdicts or ()), begin)


def _instant(option: str, text: str) -> float:
    from veloz_chaos.core import instant

    try:
        return instant.parse(text, datetime.now(UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{option}: {error}") from None


def _latest(found: Index, query: Query, experiment: str, environment: str) -> Any:
    own = {"experiments": (experiment,), "environments": (environment,), "limit": _TREND}
    return found.find(Query(**vars(query) | own))


def tell(found: Index) -> None:
    """What was not as usual, on stderr."""
    screen.err(*found.notes)
    problems = list(found.problems.values())
    screen.err(*problems[:_PROBLEMS])
    if len(problems) > _PROBLEMS:
        screen.err(f"and {len(problems) - _PROBLEMS} more folders that hold no run that can be read")


def _json(found: Index, said: dict[str, Any]) -> None:
    whole = {"tool": "veloz-chaos", "version": __version__, **said, "notes": found.notes, "problems": found.problems}
    screen.out(json.dumps(whole, ensure_ascii=False))
