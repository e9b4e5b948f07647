"""`veloz-chaos validate`: every problem of every file, each at its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos import errors
from veloz_chaos.cli import screen
from veloz_chaos.cli.options import Json
from veloz_chaos.core import checking, condition, workload
from veloz_chaos.core.document import Document, validate
from veloz_chaos.core.environment import Bound, EnvironmentPart, LinkBinding, Service, ways
from veloz_chaos.core.matrix import ResponseMatrix
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.engine import files, schedules
from veloz_chaos.errors import InvalidFile, Problem, UsageError
from veloz_chaos.registry import Registry

ROOMS = ("experiments", "environments", "schedules")
_KNOWN = Registry()
_KINDS = ("Experiment", "Environment", "ResponseMatrix", "Schedule")
#: What is wrong with these as YAML is told together with all else.
_READ_ON = ("Experiment", "Environment", "Schedule")


def command(
    names: Annotated[list[str] | None, typer.Argument(metavar="[FILE...]", help="Without any: all there are.")] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", metavar="ENV", help="Check each experiment against this one.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Check files; show everything wrong with them at once."""
    paths, nowhere = _found(names) if names else (_all(), set())
    against = files.find("environments", environment) if environment else None
    problems = sorted(nowhere.union(problem for path in paths for problem in _problems(path, against)))
    code = errors.USAGE if problems else errors.PASSED
    if as_json:
        found = {"files": list(map(str, paths)), "problems": list(map(vars, problems)), "exit_code": code}
        screen.out(json.dumps(found, ensure_ascii=False))
    else:
        screen.out(*map(str, problems), _closing(len(paths), len(problems)))
    return code


def _closing(paths: int, problems: int) -> str:
    checked = f"{paths} file{'' if paths == 1 else 's'} checked"
    return f"{checked}, {problems} problem{'' if problems == 1 else 's'}" if problems else f"{checked}, nothing wrong"


def _found(names: Sequence[str]) -> tuple[list[Path], set[Problem]]:
    """The files that there are, and a problem for each that there is not."""
    paths: list[Path] = []
    nowhere: set[Problem] = set()
    for name in names:
        try:
            paths.append(_find(name))
        except UsageError as error:
            nowhere.add(Problem("", 0, 0, str(error)))
    return paths, nowhere


def _find(name: str) -> Path:
    """A file, or a name in any room. Raises UsageError."""
    for room in ROOMS:
        try:
            return files.find(room, name)
        except UsageError:
            continue
    if Path(name).suffix or "/" in name:
        raise UsageError(f"{name}: no such file")
    known = [known for room in ROOMS for known in files.names(room)]
    raise UsageError(f"no experiment, environment or schedule is called `{name}`; {did_you_mean(name, known)}")


def _all() -> list[Path]:
    """The files of this folder; those that ship with veloz-chaos where there are none."""
    for n in range(2):
        found = [path for room in ROOMS for path in sorted(files.shelves(room)[n].glob("*.yaml"))]
        if found:
            return found
    return []


def _problems(path: Path, against: Path | None) -> Iterator[Problem]:
    try:
        read = files.peek(path)
        if read.problems and read.data.get("kind") not in _READ_ON:
            raise InvalidFile(read.problems)
        yield from _of_kind(read, path, against)
    except InvalidFile as error:
        yield from error.problems


def _of_kind(read: Document, path: Path, against: Path | None) -> Iterable[Problem]:
    """By the file's own word for what it is."""
    match read.data.get("kind"):
        case "Experiment":
            return _experiment(path, against)
        case "Environment":
            return _environment(read, path)
        case "ResponseMatrix":
            validate(ResponseMatrix, read)
        case "Schedule":
            schedules.read(path, _KNOWN)
        case None:
            return [read.problem((), "it does not say what kind of file it is", f"write kind: {' or '.join(_KINDS)}")]
        case kind:
            return [read.problem(("kind",), f"there is no kind `{kind}`", did_you_mean(str(kind), _KINDS))]
    return []


def _experiment(path: Path, against: Path | None) -> Sequence[Problem]:
    if against is None:
        parsed, read, _ = files.experiment(path)
        return list(checking.experiment_alone(parsed, read, _matrix(path.parent), _KNOWN))
    surroundings = _surroundings(against)
    own = surroundings.environment.experiments.get(str(files.document(path).data.get("name")), {})
    parsed, read, _ = files.experiment(path, own)
    written = checking.Written(
        parsed, read, surroundings.environment, surroundings.file, _matrix(path.parent), surroundings.homes
    )
    return list(checking.all_together(written, _KNOWN))


def _environment(read: Document, path: Path) -> Sequence[Problem]:
    """Alone, or as a part that others use (it has no name then)."""
    if "name" not in read.data and "tier" not in read.data:
        with files.joined([read]):
            validate(EnvironmentPart, read)
        return []
    whole = files.environment_as_written(path)
    return [*whole.unpermitted, *_bindings(whole), *_probes(whole), *_workloads(whole)]


def _bindings(read: files.ReadEnvironment) -> Iterator[Problem]:
    """The selectors of services and links, each against the backend it names; what is to come is not looked into."""
    bound: list[tuple[checking.Path, Service | LinkBinding]] = []
    bound += [(("services", name), service) for name, service in read.environment.services.items()]
    bound += [(("links", name), link) for name, link in read.environment.links.items() if link.stand_in is None]
    for path, binding in bound:
        for way in ways(binding):
            if not _KNOWN.later("targets", way.type):
                yield from _arguments(read, path, way, _KNOWN.selector, _KNOWN.backends())


def _probes(read: files.ReadEnvironment) -> Iterator[Problem]:
    for name, spec in read.environment.probes.items():
        if not _KNOWN.later("probes", spec.type):
            yield from _arguments(read, ("probes", name), spec, _KNOWN.probe, _KNOWN.probes())
        for key, text in (("ok", spec.ok), ("value", spec.value)):
            try:
                condition.compile(text or "true", condition.LOOK_VARIABLES)
            except ValueError as error:
                yield _home(read, ("probes", name)).problem(("probes", name, key), f"not a condition: {error}")


def _workloads(read: files.ReadEnvironment) -> Iterator[Problem]:
    for name, spec in read.environment.workloads.items():
        path: checking.Path = ("workloads", name)
        yield from workload.problems(spec, path, _home(read, path).problem)


def _arguments(
    read: files.ReadEnvironment,
    path: checking.Path,
    bound: Bound,
    look_up: Callable[[str], type],
    known: list[str],
) -> Iterator[Problem]:
    home = _home(read, path)
    try:
        kind = look_up(bound.type)
    except KeyError:
        yield home.problem(path, f"there is no `{bound.type}`", did_you_mean(bound.type, known))
    else:
        yield from checking.arguments(kind, bound.arguments, home, (*path, bound.type))


def _home(read: files.ReadEnvironment, path: checking.Path) -> Document:
    return read.homes.get(path, read.file)


@cache
def _surroundings(path: Path) -> files.ReadEnvironment:
    return files.environment(path)


@cache
def _matrix(folder: Path) -> ResponseMatrix:
    return files.matrix(folder / "any.yaml")
