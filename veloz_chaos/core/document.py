"""YAML text becomes plain data that knows where each piece stood.

`parse` reads the events of libyaml itself instead of a finished object, because only so can it refuse what YAML would
quietly do to us (bombs by alias, duplicate keys where the last wins, `on` that is true) and name the line and column
of every problem in one go. `validate` puts pydantic's complaints at the same places. Text in, data out: no file access.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from veloz_chaos.core import complaint, scalar
from veloz_chaos.core.complaint import Path
from veloz_chaos.errors import InvalidFile, Problem

DEEPEST = 40
_TOO_DEEP = (f"nested deeper than {DEEPEST} levels", "flatten it")
LARGEST = 1 << 20
_RETRIES = 50
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_REFERENCE = re.compile(r"\$\{[^{}\n\r]*\}?")
M = TypeVar("M", bound=BaseModel)


class Mark(NamedTuple):
    """A place in the text; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """Data of a file, with the place of every value (`marks`) and of every key (`keys`) by its path."""

    file: str
    data: Any
    marks: Mapping[Path, Mark]
    keys: Mapping[Path, Mark] = field(default_factory=dict)
    #: what is wrong with it as YAML
    problems: tuple[Problem, ...] = ()

    def at(self, path: Path) -> Mark:
        """Where the value at this path stands, or else its nearest parent."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, Mark(1, 1))

    def key_at(self, path: Path) -> Mark:
        """Where the key of this path stands; a list item's own place where there is no key."""
        return self.keys.get(path) or self.at(path)

    def problem(self, path: Path, message: str, remedy: str = "") -> Problem:
        """A problem with the value at this path."""
        return Problem(self.file, *self.at(path), message, remedy)


def parse(text: str, file: str) -> Document:
    """The one mapping that the text holds; InvalidFile carries everything that is wrong with it as YAML."""
    document = read_on(text, file)
    if document.problems:
        raise InvalidFile(document.problems)
    return document


def read_on(text: str, file: str) -> Document:
    """The same, going on where it can: what is wrong is in `problems`, so that what the model says can join it."""
    if unreadable := list(_unreadable(text)):
        raise _invalid(file, unreadable)
    problems: set[_Found] = set()
    for _ in range(_RETRIES):
        reader = _Reader(text)
        bare = reader.read()
        problems |= reader.problems
        if bare is None:
            break
        text = text[: bare.start()] + "$" + "_" * (len(bare[0]) - 1) + text[bare.end() :]
    if problems and not isinstance(reader.data, dict):
        raise _invalid(file, problems)
    return Document(file, reader.data, reader.marks, reader.keys, _invalid(file, problems).problems)


def _invalid(file: str, found: Iterable[_Found]) -> InvalidFile:
    return InvalidFile([Problem(file, *mark, message, remedy) for mark, message, remedy in found])


class _Found(NamedTuple):
    mark: Mark
    message: str
    remedy: str


def _unreadable(text: str) -> Iterator[_Found]:
    """What would stop the scanner: size and characters."""
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        yield _Found(Mark(1, 1), "the file is larger than 1 MiB", "split it")
    elif bad := _UNPRINTABLE.search(text):
        name = "a NUL character" if bad[0] == "\0" else f"an unprintable character (U+{ord(bad[0]):04X})"
        yield _Found(_mark_of(text, bad.start()), f"the file contains {name}", "remove it or save the file as UTF-8")


def _mark_of(text: str, offset: int) -> Mark:
    starts = [0] + [match.end() for match in _BREAK.finditer(text, 0, offset)]
    return Mark(len(starts), offset - starts[-1] + 1)


def _offset_of(text: str, mark: Mark) -> int:
    starts = [0] + [match.end() for match in _BREAK.finditer(text)]
    return min(starts[mark.line - 1] + mark.column - 1, len(text))


class _Stop(Exception):
    """Nothing sensible can be read after this."""


class _Reader:
    """One pass over the events: fills data, marks and keys, and collects problems on the way."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.data: Any = None
        self.marks: dict[Path, Mark] = {}
        self.keys: dict[Path, Mark] = {}
        self.problems: set[_Found] = set()
        self._end = _mark_of(text, len(text))
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)

    def read(self) -> re.Match[str] | None:
        """Read all; returns an unquoted `${x}` that stopped the scanner, so that the caller can go on behind it."""
        try:
            self._documents()
        except _Stop:
            pass
        except yaml.YAMLError as error:
            return self._syntax(error)
        return None

    def _documents(self) -> None:
        roots = 0
        for event in self._events:
            if not isinstance(event, yaml.NodeEvent):
                continue
            roots += 1
            if roots > 1:
                raise self._stop(event, "a second document starts here", "keep one document in a file")
            self.data = self._node(event, ())
            self._check_root(event)
        if not roots:
            self._check_root(None)

    def _check_root(self, event: Any) -> None:
        if isinstance(event, yaml.MappingStartEvent | yaml.AliasEvent):
            return
        if self.data is None and not self.problems:
            self._complain(Mark(1, 1), "the file is empty", "start it with `kind:`")
        elif event:
            self._complain(self._mark(event), f"the file is {complaint.kind_of(self.data)}", "write a mapping of keys")

    def _node(self, event: Any, path: Path) -> Any:
        self.marks[path] = self._mark(event)
        self._refuse_extras(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.AliasEvent):
            return None
        if len(path) >= DEEPEST:
            raise self._stop(event, *_TOO_DEEP)
        return self._mapping(path) if isinstance(event, yaml.MappingStartEvent) else self._list(path)

    def _list(self, path: Path) -> list[Any]:
        items: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, path)
            at = (*path, key)
            if key in values:
                self._duplicate(event, at)
            else:
                self.keys[at] = self._mark(event)
            values[key] = self._node(next(self._events), at)
        return values

    def _key(self, event: Any, path: Path) -> str:
        """The text of a key; a key that is no text is a problem, and stands in by its spelling."""
        if not isinstance(event, yaml.ScalarEvent):
            self._complain(self._mark(event), "a key must be text", "write a plain word")
            self._node(event, (*path, "?"))
            return "?"
        self._refuse_extras(event)
        if event.value == "<<" and event.implicit[0]:
            self._complain(self._mark(event), "the merge key `<<` is not allowed", "write the keys out")
        elif not isinstance(key := self._scalar(event, "quote it"), str):
            self._complain(self._mark(event), f"the key `{event.value}` is {complaint.kind_of(key)}", "quote it")
        return str(event.value)

    def _duplicate(self, event: Any, at: Path) -> None:
        first = self.keys[at]
        message = f"the key `{at[-1]}` stands here for the second time (first in line {first.line}:{first.column})"
        self._complain(self._mark(event), message, "remove one of them")

    def _scalar(self, event: Any, remedy: str = "") -> scalar.Scalar:
        if not event.implicit[0]:
            return str(event.value)
        try:
            return scalar.read(event.value)
        except scalar.Trap as trap:
            message, better = complaint.split(str(trap))
            self._complain(self._mark(event), message, remedy or better)
            return str(event.value)

    def _refuse_extras(self, event: Any) -> None:
        """Anchors, aliases and tags: ways to grow a file, or to change what its text says."""
        if event.anchor is not None:
            sign, word = ("*", "alias") if isinstance(event, yaml.AliasEvent) else ("&", "anchor")
            self._complain(
                self._mark(event), f"the {word} `{sign}{event.anchor}` is not allowed", "write the value out"
            )
        if getattr(event, "tag", None) is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._complain(self._mark(event), f"the tag `{tag}` is not allowed", "write the plain value")

    def _complain(self, mark: Mark, message: str, remedy: str) -> None:
        self.problems.add(_Found(mark, message, remedy))

    def _stop(self, event: Any, message: str, remedy: str) -> _Stop:
        self._complain(self._mark(event), message, remedy)
        return _Stop()

    def _syntax(self, error: yaml.YAMLError) -> re.Match[str] | None:
        mark = self._error_mark(error)
        offset = _offset_of(self.text, mark)
        bare = _REFERENCE.match(self.text, offset - 1) if offset else None
        if bare:
            shown = bare[0] if bare[0].endswith("}") else bare[0] + "}"
            place = Mark(mark.line, mark.column - 1)
            self._complain(place, f"`{shown}` needs quotes inside {{…}} and […]", f'quote it: "{shown}"')
            return bare
        if "nesting depth" in str(getattr(error, "problem", "")):  # newer readers look ahead, and give up before we do
            self._complain(self._too_deep(offset), *_TOO_DEEP)
            return None
        self._complain(mark, *_said(error, self.text[offset : offset + 1]))
        return None

    def _too_deep(self, offset: int) -> Mark:
        """Where the first bracket stands that is open too deep before the offset."""
        opened: list[int] = []
        for match in re.finditer(r"[\[{\]}]", self.text[:offset]):
            if match[0] in "]}":
                del opened[-1:]
            else:
                opened.append(match.start())
        at = opened[min(DEEPEST, len(opened) - 1)]
        before = self.text[:at]
        return Mark(before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1)

    def _mark(self, event: Any) -> Mark:
        """Where it starts; libyaml puts what is left out at the end of a file behind that end."""
        return min(Mark(event.start_mark.line + 1, event.start_mark.column + 1), self._end)

    def _error_mark(self, error: yaml.YAMLError) -> Mark:
        found = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        return min(Mark(found.line + 1, found.column + 1), self._end) if found else Mark(1, 1)


def _said(error: yaml.YAMLError, character: str) -> tuple[str, str]:
    if character == "\t":
        return "a tab stands where only spaces may", "indent with spaces"
    message = getattr(error, "problem", None) or "not YAML"
    context = getattr(error, "context", None)
    remedy = "quote the text if it contains `: `" if "mapping values are not allowed" in message else ""
    return f"{message} ({context})" if context else message, remedy


def problems_of(
    document: Document,
    error: ValidationError,
    known: Callable[[Path], Iterable[str]] | None = None,
    *,
    model: type[BaseModel] | None = None,
    data: Any = None,
    path: Path = (),
) -> list[Problem]:
    """Each complaint of pydantic at its place, one per place.

    `path` is where in the document the validated `data` stood (None: as it stands there). The keys that "did you
    mean" offers come from `known` (path below it -> names), else from the fields of `model`.
    """
    offered = known or (lambda at: complaint.fields_at(model, at) if model else ())
    found = complaint.complaints(_below(document, data, path), error, offered)
    places = [(document.key_at if one.on_key else document.at)(path + one.path) for one in found]
    return [Problem(document.file, *place, one.message, one.remedy) for place, one in zip(places, found, strict=True)]


def validate(model: type[M], document: Document, data: Any = None, path: Path = (), context: Any = None) -> M:
    """The model made of `data` (the document's own at `path` where None); InvalidFile with everything wrong."""
    data = _below(document, data, path)
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        raise InvalidFile(problems_of(document, error, model=model, data=data, path=path)) from None


def _below(document: Document, data: Any, path: Path) -> Any:
    return reduce(lambda below, part: below[part], path, document.data) if data is None else data
