"""From names on a command line to typed files: where they are found, how they are read and merged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from veloz_chaos.core.checking import Path as Place
from veloz_chaos.core.checking import Written
from veloz_chaos.core.document import Document, parse, read_on, validate
from veloz_chaos.core.environment import Environment, EnvironmentPart
from veloz_chaos.core.experiment import Experiment
from veloz_chaos.core.matrix import ResponseMatrix
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.core.substitute import substitute
from veloz_chaos.core.workload import ORDER_NAMES
from veloz_chaos.engine.secrets import kept, kept_by_orders, missing, references
from veloz_chaos.errors import InvalidFile, Problem, UsageError

#: The files that ship with the package: beside it in a checkout, inside it in a wheel.
_PACKAGE = Path(__file__).parent.parent
MATRIX = "response-matrix"
#: Sections of an environment that files share.
_MAPS = ("identity", "services", "links", "probes", "workloads", "budget", "sessions", "procedures", "experiments")
#: Of these each file's are added to those that it uses.
_LISTS = ("blackouts",)


def shelves(room: str) -> list[Path]:
    """Where files of a kind are looked for: here, then what ships with veloz-chaos."""
    shipped = _PACKAGE / "data" / room
    return [Path(room), shipped if shipped.is_dir() else _PACKAGE.parent / room]


def find(room: str, name: str) -> Path:
    """A file, or the name of one in `experiments/`, `environments/` or `schedules/`. Raises UsageError."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or "/" in name:
        if path.is_file():
            return path
        raise UsageError(f"{name}: no such file")
    for shelf in shelves(room):
        if (shelf / f"{name}.yaml").is_file():
            return shelf / f"{name}.yaml"
    raise UsageError(f"there is no {room[:-1]} `{name}`; {did_you_mean(name, names(room))}")


def names(room: str) -> list[str]:
    found = {path.stem for shelf in shelves(room) if shelf.is_dir() for path in shelf.glob("*.yaml")}
    return sorted(found - {MATRIX})


def document(path: Path) -> Document:
    """Raises InvalidFile, also for a file that can't be read."""
    return parse(_text(path), str(path))


def peek(path: Path) -> Document:
    """A document that may have problems. Raises InvalidFile for what is no mapping at all."""
    return read_on(_text(path), str(path))


@contextmanager
def reading(path: Path) -> Iterator[Document]:
    """The same for a body that finds more: what is wrong as YAML joins what the body raises."""
    found = peek(path)
    with joined([found]):
        yield found


@contextmanager
def joined(documents: Sequence[Document]) -> Iterator[None]:
    """What is wrong with these as YAML, with what the body raises: one problem a place."""
    found = {(p.file, p.line, p.column): p for document in documents for p in document.problems}
    try:
        yield
    except InvalidFile as error:
        more = [p for p in error.problems if (p.file, p.line, p.column) not in found]
        raise InvalidFile([*found.values(), *more]) from None
    if found:
        raise InvalidFile(list(found.values()))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidFile([Problem(str(path), 1, 1, "is not UTF-8 text", "save it as UTF-8")]) from None
    except OSError as error:
        raise InvalidFile([Problem(str(path), 0, 0, f"can't be read: {error.strerror}")]) from None


def matrix(near: Path | None = None) -> ResponseMatrix:
    """The response matrix beside an experiment, else of this folder, else the one that ships."""
    beside = near.parent / f"{MATRIX}.yaml" if near else None
    path = beside if beside and beside.is_file() else find("experiments", MATRIX)
    return validate(ResponseMatrix, document(path))


def experiment(path: Path, *overrides: Mapping[str, Any]) -> tuple[Experiment, Document, dict[str, Any]]:
    """With its parameters filled in: default < environment < schedule < --set, in the order given."""
    with reading(path) as written:
        parameters = _parameters(written, overrides)
        filled = substitute(written.data | {"parameters": {}}, parameters, written, kept, again=True)
        if "parameters" in written.data:
            filled["parameters"] = written.data["parameters"]
        return validate(Experiment, written, filled), written, parameters


def parameters(path: Path, *overrides: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment's alone, in the same order. Raises InvalidFile."""
    return _parameters(document(path), overrides)


def parameters_on(environment: Environment, experiment_path: Path) -> Mapping[str, Any]:
    """Those that an environment has for an experiment. Raises InvalidFile."""
    return environment.experiments.get(str(document(experiment_path).data.get("name")), {})


def _parameters(read: Document, overrides: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    declared = read.data.get("parameters") or {}
    declared = declared if isinstance(declared, dict) else {}
    values = {name: said.get("default") for name, said in declared.items() if isinstance(said, dict)}
    for given in overrides:
        unknown = [name for name in given if name not in declared]
        if unknown:
            raise InvalidFile(
                [
                    read.problem(("parameters",), f"parameter `{name}` is not declared", did_you_mean(name, declared))
                    for name in unknown
                ]
            )
        values |= given
    return values


@dataclass(frozen=True)
class ReadEnvironment:
    environment: Environment
    file: Document
    #: which document each part comes from, for error messages
    homes: dict[Place, Document]
    #: helpers that nobody has permitted
    unpermitted: Sequence[Problem] = ()


def environment(path: Path) -> ReadEnvironment:
    """As it is written, and nothing in it that is not permitted."""
    found = environment_as_written(path)
    if found.unpermitted:
        raise InvalidFile(list(found.unpermitted))
    return found


@cache
def environment_as_written(path: Path) -> ReadEnvironment:
    """With the files it `uses` merged in and `${values}` filled; its own entries win only with `replace: true`."""
    documents = _used(path, [])
    with joined(documents):
        return _environment(documents)


def _environment(documents: Sequence[Document]) -> ReadEnvironment:
    values: dict[str, Any] = {}
    for read in documents:
        own = read.data.get("values")
        values |= own if isinstance(own, dict) else {}
    problems: list[Problem] = []
    merged: dict[str, Any] = {}
    homes: dict[Place, Document] = {}
    for read in documents:
        try:
            _merge(_filled(read, values), read, merged, homes)
        except InvalidFile as error:
            problems += error.problems
    if problems:
        raise InvalidFile(problems)
    merged["values"] = values
    _secrets(merged, documents[-1])
    made = validate(Environment, documents[-1], merged)
    return ReadEnvironment(made, documents[-1], homes, list(_unpermitted(made, merged, homes, documents[-1])))


def _unpermitted(
    made: Environment, merged: Mapping[str, Any], homes: Mapping[Place, Document], own: Document
) -> Iterator[Problem]:
    """A namespace for helpers, whose pods could do anything to their nodes, where nobody said that there may be any."""
    remedy = f"say permit: {{helpers: {{node: true}}}} in {own.file} if they may be, or helpers: {{in: pod}}"
    for section in ("services", "links", "probes") if not made.permit.helpers.node else ():
        for name, said in merged.get(section, {}).items():
            for place in _namespaces(said, (section, name)):
                yield homes.get((section, name), own).problem(place, "helpers on nodes are not permitted", remedy)


def _namespaces(said: Any, place: Place) -> Iterator[Place]:
    if isinstance(said, dict):
        for key, value in said.items():
            if key == "helpers" and isinstance(value, str) and value:
                yield (*place, key)
            yield from _namespaces(value, (*place, key))
    elif isinstance(said, list):
        for n, value in enumerate(said):
            yield from _namespaces(value, (*place, n))


def _used(path: Path, above: list[Path]) -> list[Document]:
    """The document and all that it uses, the used ones first."""
    read = peek(path)
    if path.resolve() in above:
        raise InvalidFile([read.problem(("uses",), f"{path} uses itself", "leave it out")])
    found: list[Document] = []
    uses = read.data.get("uses") or []
    for n, name in enumerate(uses if isinstance(uses, list) else []):
        other = path.parent / str(name)
        if not other.is_file():
            raise InvalidFile([read.problem(("uses", n), f"there is no file {other}")])
        found += _used(other, [*above, path.resolve()])
    return [*found, read]


def _filled(read: Document, values: Mapping[str, Any]) -> dict[str, Any]:
    data = {key: value for key, value in read.data.items() if key != "values"}
    problems: list[Problem] = []
    filled: dict[str, Any] = {}
    for names, keep, part in _parts(data):
        try:
            filled |= substitute(part, {**values, **dict.fromkeys(names)}, read, keep, again=True)
        except InvalidFile as error:
            problems += error.problems
    if problems:
        raise InvalidFile(problems)
    validate(EnvironmentPart, read, filled)
    return filled


def _parts(data: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Callable[[str], bool], dict[str, Any]]]:
    """What is filled in alike: workloads have names of their own, for each order."""
    yield (), kept, {key: value for key, value in data.items() if key != "workloads"}
    yield ORDER_NAMES, kept_by_orders, {key: value for key, value in data.items() if key == "workloads"}


def _merge(data: dict[str, Any], read: Document, merged: dict[str, Any], homes: dict[Place, Document]) -> None:
    problems = []
    for section, said in data.items():
        if section in _LISTS and isinstance(said, list):
            merged[section] = [*merged.get(section, []), *said]
            continue
        if section not in _MAPS or not isinstance(said, dict):
            merged[section] = said
            continue
        into = merged.setdefault(section, {})
        for name, value in said.items():
            if section == "probes" and name in into and not (isinstance(value, dict) and value.get("replace")):
                problems.append(
                    read.problem(
                        (section, name),
                        f"`{name}` is defined in a file that this one uses",
                        "say replace: true, or give it another name",
                    )
                )
            into[name] = value
            homes[(section, name)] = read
    if problems:
        raise InvalidFile(problems)


def _secrets(data: Mapping[str, Any], read: Document) -> None:
    """Every `${env:…}` and `${file:…}` must be there before anything starts; but who is told of it may be missed."""
    asked = {key: value for key, value in data.items() if key != "tell"}
    problems = [
        read.problem((), why) for kind, name in dict.fromkeys(references(asked)) if (why := missing(kind, name))
    ]
    if problems:
        raise InvalidFile(problems)


def written(
    experiment_path: Path, environment_path: Path, settings: Mapping[str, Any]
) -> tuple[Written, dict[str, Any]]:
    """Both files, checked alone; the environment's own parameters for the experiment are under `--set`'s."""
    read = environment(environment_path)
    own = parameters_on(read.environment, experiment_path)
    parsed, file, parameters = experiment(experiment_path, own, settings)
    return Written(parsed, file, read.environment, read.file, matrix(experiment_path), read.homes), parameters


def digests(*paths: Path) -> dict[str, str]:
    """SHA-256 of each file, for the plan."""
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in paths}
