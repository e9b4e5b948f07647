"""Schedules from their files, each entry bound to the files of its experiment and its environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from veloz_chaos.core.blackout import UNNAMED
from veloz_chaos.core.checking import Path as Place
from veloz_chaos.core.document import Document, validate
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.core.record import Record
from veloz_chaos.core.schedule import Entry, Schedule, ScheduledBlackout
from veloz_chaos.core.standing import Standing, standing
from veloz_chaos.engine import files
from veloz_chaos.engine.index import Index, Query
from veloz_chaos.errors import Error, InvalidFile, Problem, UsageError

#: Runs of one experiment on one environment that are looked at: more than there are retries of one occurrence.
_RUNS = 500


@dataclass(frozen=True)
class Bound:
    """An entry and its files; `problem` says why it can't be run here."""

    name: str
    schedule: Schedule
    entry: Entry
    #: what its experiment and its environment call themselves
    experiment: str
    environment: str
    experiment_file: Path | None = None
    environment_file: Path | None = None
    problem: str = ""


def paths() -> list[Path]:
    """Those of this folder; those that ship with veloz-chaos where there are none."""
    for shelf in files.shelves("schedules"):
        if found := sorted(shelf.glob("*.yaml")):
            return found
    return []


def read(path: Path) -> tuple[Schedule, Document]:
    """Raises InvalidFile, also for experiments and parameters that there are not."""
    document = files.document(path)
    schedule = validate(Schedule, document)
    if problems := list(_problems(schedule, document)):
        raise InvalidFile(problems)
    return schedule, document


def _problems(schedule: Schedule, document: Document) -> Iterator[Problem]:
    for n, entry in enumerate(schedule.entries):
        place: Place = ("entries", n)
        try:
            path = files.find("experiments", entry.experiment)
        except UsageError as error:
            message, _, remedy = str(error).partition("; ")
            yield document.problem((*place, "experiment"), message, remedy)
            continue
        try:
            data = files.document(path).data
        except InvalidFile:
            continue  # which is its own file's business
        declared = data.get("parameters") or {}
        for name in entry.with_:
            if name not in declared:
                message = f"{entry.experiment} has no parameter `{name}`"
                yield document.problem((*place, "with", name), message, did_you_mean(name, list(declared)))
        yield from _tier(entry, data.get("allowed-on"), document, place)


def _tier(entry: Entry, allowed: object, document: Document, place: Place) -> Iterator[Problem]:
    """Of an environment that is here; a site's own may not be."""
    try:
        read = files.environment(files.find("environments", entry.environment)).environment
    except Error:
        return
    if isinstance(allowed, list) and read.tier not in allowed:
        message = f"{entry.experiment} is allowed on {', '.join(allowed)}; {entry.environment} is {read.tier}"
        yield document.problem((*place, "environment"), message)


def bind(path: Path, environment: Path | None = None) -> list[Bound]:
    """Every entry; all on `environment` if one is given, to rehearse them there."""
    schedule, _ = read(path)
    return [_bind(path.stem, schedule, entry, environment) for entry in schedule.entries]


def _bind(name: str, schedule: Schedule, entry: Entry, instead: Path | None) -> Bound:
    problems: list[str] = []
    experiment, what = _named("experiments", entry.experiment, None, problems)
    environment, where = _named("environments", entry.environment, instead, problems)
    if environment is not None:
        schedule = _with_blackouts(schedule, environment)
    return Bound(name, schedule, entry, what, where, experiment, environment, "; ".join(problems))


def _with_blackouts(schedule: Schedule, environment: Path) -> Schedule:
    """An environment's own count as the schedule's do. What is wrong with its file is told where it is run."""
    try:
        own = files.environment(environment).environment.blackouts
    except InvalidFile:
        return schedule
    made = [ScheduledBlackout(**dict(one) | {"timezone": one.timezone or UNNAMED}) for one in own]
    return schedule.model_copy(update={"blackouts": [*schedule.blackouts, *made]})


def _named(room: str, name: str, instead: Path | None, problems: list[str]) -> tuple[Path | None, str]:
    """The file, and what it calls itself: so its runs are called."""
    try:
        path = instead or files.find(room, name)
        return path, str(files.document(path).data.get("name") or name)
    except UsageError as error:
        problems.append(str(error).splitlines()[0].split("; known:")[0])
        return None, name


def stand(bound: Sequence[Bound], index: Index, now: datetime) -> list[Standing]:
    """How each stands by what the index knows of its runs."""
    return [standing(one.schedule, one.name, one.entry, _records(one, index), now) for one in bound]


def _records(one: Bound, index: Index) -> list[Record]:
    which = Query(experiments=(one.experiment,), environments=(one.environment,), placebos=False, limit=_RUNS)
    return index.find(which)
