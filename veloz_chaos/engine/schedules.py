"""Schedules from their files, each entry bound to the files of its experiment and its environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from veloz_chaos.core import checking
from veloz_chaos.core.blackout import UNNAMED
from veloz_chaos.core.checking import Path as Place
from veloz_chaos.core.complaint import kind_of
from veloz_chaos.core.document import Document, validate
from veloz_chaos.core.environment import Environment
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.core.record import Record
from veloz_chaos.core.schedule import Entry, Schedule, ScheduledBlackout
from veloz_chaos.core.standing import Standing, standing
from veloz_chaos.core.vocabulary import Vocabulary
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
    #: what its runs are given: default < environment < schedule; None: a file can't be read
    parameters: Mapping[str, Any] | None = None


def paths() -> list[Path]:
    """Those of this folder; those that ship with veloz-chaos where there are none."""
    for shelf in files.shelves("schedules"):
        if found := sorted(shelf.glob("*.yaml")):
            return found
    return []


def read(path: Path, known: Vocabulary | None = None) -> tuple[Schedule, Document]:
    """Raises InvalidFile, also for experiments and parameters that there are not, and, by what is `known`, for values
    that an experiment can't take."""
    with files.reading(path) as document:
        schedule = validate(Schedule, document)
        if problems := list(_problems(schedule, document, known)):
            raise InvalidFile(problems)
    return schedule, document


def _problems(schedule: Schedule, document: Document, known: Vocabulary | None) -> Iterator[Problem]:
    environments = dict.fromkeys(entry.environment for entry in schedule.entries)
    for n, blackout in enumerate(schedule.blackouts):
        for k, name in enumerate(blackout.environments):
            if name not in environments:
                message = f"no entry is on the environment `{name}`"
                yield document.problem(("blackouts", n, "environments", k), message, did_you_mean(name, environments))
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
        if known is not None and all(name in declared for name in entry.with_):
            yield from _values(entry, path, known, document, (*place, "with"))
        yield from _tier(entry, data.get("allowed-on"), document, place)


def _values(entry: Entry, path: Path, known: Vocabulary, document: Document, place: Place) -> Iterator[Problem]:
    """Each that makes its experiment wrong; if none does alone, all of them together."""
    if not entry.with_:
        return
    own = _own(entry.environment, path)
    before = _wrong(path, known, own, {})

    def wrong(values: Mapping[str, Any], place: Place, what: str) -> Iterator[Problem]:
        for message, remedy in _wrong(path, known, own, values):
            if (message, remedy) not in before:
                yield document.problem(place, f"{entry.experiment} can't be run with {what}: {message}", remedy)

    alone: list[Problem] = []
    for name, value in entry.with_.items():
        if isinstance(value, list | dict):
            message = f"`{name}` must be one value, not {kind_of(value)}"
            alone.append(document.problem((*place, name), message, "quote it if it is text"))
        else:
            alone += wrong({name: value}, (*place, name), "it")
    yield from alone or (wrong(entry.with_, place, "these") if len(entry.with_) > 1 else ())


def _own(environment: str, experiment: Path) -> Mapping[str, Any]:
    """Parameters that an environment has for an experiment; none if it is not here."""
    try:
        read = files.environment(files.find("environments", environment))
        return files.parameters_on(read.environment, experiment)
    except Error:
        return {}


def _wrong(path: Path, known: Vocabulary, *given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with an experiment so filled in: messages and remedies."""
    try:
        parsed, document, _ = files.experiment(path, *given)
        found = list(checking.experiment_alone(parsed, document, files.matrix(path), known))
    except InvalidFile as error:
        found = list(error.problems)
    except UsageError:
        return []
    return list(dict.fromkeys((problem.message, problem.remedy) for problem in found))


def _tier(entry: Entry, allowed: object, document: Document, place: Place) -> Iterator[Problem]:
    """Of an environment that is here; a site's own may not be."""
    try:
        read = files.environment(files.find("environments", entry.environment)).environment
    except Error:
        return
    if isinstance(allowed, list) and read.tier not in allowed:
        message = f"{entry.experiment} is allowed on {', '.join(allowed)}; {entry.environment} is {read.tier}"
        yield document.problem((*place, "environment"), message)


def bind(path: Path, environment: Path | None = None, known: Vocabulary | None = None) -> list[Bound]:
    """Every entry; all on `environment` if one is given, to rehearse them there. `known`: as for `read`."""
    schedule, _ = read(path, known)
    return [_bind(path.stem, schedule, entry, environment) for entry in schedule.entries]


def _bind(name: str, schedule: Schedule, entry: Entry, instead: Path | None) -> Bound:
    problems: list[str] = []
    experiment, what = _named("experiments", entry.experiment, None, problems)
    environment, where = _named("environments", entry.environment, instead, problems)
    read = _read(environment)
    if read is not None:
        schedule = _with_blackouts(schedule, read)
    given = _given(entry, experiment, read)
    return Bound(name, schedule, entry, what, where, experiment, environment, "; ".join(problems), given)


def _read(environment: Path | None) -> Environment | None:
    """What is wrong with its file is told where it is run."""
    try:
        return files.environment(environment).environment if environment is not None else None
    except InvalidFile:
        return None


def _given(entry: Entry, experiment: Path | None, environment: Environment | None) -> Mapping[str, Any] | None:
    """What a run of it is given; None if a file can't be read."""
    if experiment is None or environment is None:
        return None
    try:
        return files.parameters(experiment, files.parameters_on(environment, experiment), entry.with_)
    except Error:
        return None


def asked_for(bound: Sequence[Bound], experiment: str, environment: str) -> list[Mapping[str, Any]]:
    """What runs of it there are given: by itself, and by each entry; empty where its files are not here."""
    entries = [one.parameters for one in bound if (one.experiment, one.environment) == (experiment, environment)]
    with suppress(Error):  # one of them is not here, or wrong, which is told where it is run
        path = files.find("experiments", experiment)
        read = files.environment(files.find("environments", environment)).environment
        entries.append(files.parameters(path, files.parameters_on(read, path)))
    return [given for given in entries if given is not None]


def _with_blackouts(schedule: Schedule, environment: Environment) -> Schedule:
    """An environment's own count as the schedule's do."""
    made = [ScheduledBlackout(**dict(one) | {"timezone": one.timezone or UNNAMED}) for one in environment.blackouts]
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
    return [standing(one.schedule, one.name, one.entry, _records(one, index), now, one.parameters) for one in bound]


def _records(one: Bound, index: Index) -> list[Record]:
    which = Query(experiments=(one.experiment,), environments=(one.environment,), placebos=False, limit=_RUNS)
    return index.find(which)
