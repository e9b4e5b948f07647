"""`veloz-chaos matrix`: which rows are proven, where, when and how well; and what is overdue."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos import __version__
from veloz_chaos.cli import options, screen
from veloz_chaos.cli.history import tell
from veloz_chaos.core import duration, instant
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.core.proof import STATUSES, Proof, proofs
from veloz_chaos.core.record import JUDGED, LEFT_BEHIND, Record
from veloz_chaos.core.standing import Standing, alike
from veloz_chaos.engine import files, index, schedules
from veloz_chaos.engine.index import Index, Query
from veloz_chaos.engine.schedules import Bound
from veloz_chaos.errors import FAILED, PASSED, Error, UsageError
from veloz_chaos.reports import coverage

_FAILING = tuple(status for status in STATUSES if status != "passed")
_STDOUT = "-"


def command(
    environment: Annotated[
        list[str] | None,
        typer.Option("--environment", "-e", metavar="ENV", help="Every row on this one; may be given several times."),
    ] = None,
    runs: options.Runs = Path("runs"),
    fail_on: Annotated[
        str | None, typer.Option("--fail-on", metavar="WORDS", help="Exit 1 for any of: stale,failed,unproven.")
    ] = None,
    max_age: Annotated[
        str | None, typer.Option("--max-age", metavar="LENGTH", help="What passed longer ago is stale: 90d.")
    ] = None,
    markdown: Annotated[
        str | None, typer.Option("--markdown", metavar="FILE", help="Also as Markdown; - prints nothing else.")
    ] = None,
    now: Annotated[str | None, typer.Option("--now", metavar="WHEN", help="As if it were then.")] = None,
    as_json: options.Json = False,
) -> int:
    """Show which rows of the response matrix are proven, where, and what is due."""
    failing, oldest, moment = _failing(fail_on), _length(max_age), _now(now)
    matrix, experiments = files.matrix(), _experiments()
    bound = _bound()
    with index.opened(runs, screen.err) as found:
        standings = _standings(found, bound, experiments, moment)
        wanted = _names(environment)
        there = [name for names in experiments.values() for name in names]
        told = proofs(matrix.rows, wanted, _latest(found, bound), standings, moment.timestamp(), oldest, there)
        code = FAILED if any(proof.status in failing for proof in told) else PASSED
        if markdown is not None:
            _write(markdown, coverage.markdown(matrix, experiments, told, moment.timestamp()))
        if as_json:
            rows = coverage.as_json(matrix, experiments, told, str(runs), moment.timestamp())
            whole = {"tool": "veloz-chaos", "version": __version__, "rows": rows, "exit_code": code}
            screen.out(json.dumps(whole, ensure_ascii=False))
        elif markdown != _STDOUT:
            screen.out(*coverage.describe(matrix, experiments, told, moment.timestamp(), screen.width()))
            tell(found)
    screen.err(*(_because(proof) for proof in told if proof.status in failing))
    return code


def _because(proof: Proof) -> str:
    where = f" on {proof.environment}" if proof.environment else ""
    why = [standing.said for standing in proof.standings if standing.problem] or [
        proof.last.reason if proof.last else ""
    ]
    return f"{proof.status}: {proof.row}{where}" + (f": {'; '.join(why)}" if any(why) else "")


def _failing(words: str | None) -> set[str]:
    found = {word.strip() for word in (words or "").split(",")} - {""}
    for word in found:
        if word not in _FAILING:
            raise UsageError(f"--fail-on {word}: it is {', '.join(_FAILING)}; {did_you_mean(word, _FAILING)}")
    return found


def _length(text: str | None) -> float | None:
    try:
        return None if text is None else duration.parse(text).total_seconds()
    except ValueError as error:
        raise UsageError(f"--max-age: {error}") from None


def _now(text: str | None) -> datetime:
    try:
        return instant.as_of(text, datetime.now(UTC))
    except ValueError as error:
        raise UsageError(f"--now: {error}") from None


def _names(environments: Sequence[str] | None) -> list[str]:
    """What they call themselves; one whose file is not here is meant by its name."""
    found = []
    for name in environments or ():
        try:
            found.append(str(files.document(files.find("environments", name)).data.get("name") or name))
        except Error:
            if "/" in name or name.endswith((".yaml", ".yml")):
                raise
            found.append(name)
    return found


def _experiments() -> dict[str, list[str]]:
    """Row -> the experiments that name it."""
    found: dict[str, list[str]] = {}
    for name in files.names("experiments"):
        row = files.document(files.find("experiments", name)).data.get("failure")
        found.setdefault(str(row), []).append(name)
    return found


def _latest(found: Index, bound: Sequence[Bound]) -> Iterator[Record]:
    """The last run of each experiment on each environment that says something of its row: one that was given what
    runs of it there are given, not what somebody tried."""
    telling = Query(verdicts=(*JUDGED, LEFT_BEHIND), placebos=False)
    for experiment, where in {(experiment, where) for experiment, where, _ in found.count(telling)}:
        given = schedules.asked_for(bound, experiment, where)
        runs = _backwards(found, replace(telling, experiments=(experiment,), environments=(where,)))
        yield from islice((run for run in runs if not given or any(alike(run, each) for each in given)), 1)


def _backwards(found: Index, query: Query) -> Iterator[Record]:
    """The latest first, and no more of them than are looked at, nearly: there may be many thousands."""
    limit, told = 1, 0
    while True:
        runs = found.find(replace(query, limit=limit))
        yield from runs[told:]
        if len(runs) < limit:
            return
        limit, told = 10 * limit, limit


def _bound() -> list[Bound]:
    """The entries of every schedule."""
    from veloz_chaos.registry import Registry

    return [one for path in schedules.paths() for one in schedules.bind(path, known=Registry())]


def _standings(
    found: Index, bound: Sequence[Bound], experiments: dict[str, list[str]], now: datetime
) -> dict[tuple[str, str], list[Standing]]:
    """By row and environment, of every schedule."""
    rows = {name: row for row, names in experiments.items() for name in names}
    told: dict[tuple[str, str], list[Standing]] = {}
    for one, standing in zip(bound, schedules.stand(bound, found, now), strict=True):
        row = rows.get(Path(one.entry.experiment).stem) or rows.get(one.experiment)
        if row is not None:
            told.setdefault((row, one.environment), []).append(standing)
    return told


def _write(file: str, text: str) -> None:
    if file == _STDOUT:
        screen.out(*text.splitlines())
        return
    try:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: can't be written: {error.strerror}") from None
