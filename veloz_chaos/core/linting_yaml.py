"""YAML as Prometheus and Alertmanager read it: anchors, merge keys and several documents are fine, scalars are text.

Our own files are read by `core.document`, which is stricter; these belong to others. Every value knows where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.errors import InvalidFile, Problem

LARGEST = 16 << 20
DEEPEST = 60
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """Where something is written; line 0 where only the file is known, no file at all where nothing is."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def problem(self, message: str, remedy: str = "") -> Problem:
        return Problem(self.file, self.line, self.column, message, remedy)


NOWHERE = Spot()


@dataclass(frozen=True, slots=True)
class Node:
    """A text, nothing, a list or a mapping; a missing key is an empty node at its parent's place."""

    value: Any
    spot: Spot
    #: of a mapping: where each key stands
    keys: Mapping[str, Spot] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Node:
        found = self.value.get(key) if isinstance(self.value, dict) else None
        return found if found is not None else Node(None, self.spot)

    def has(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def text(self, default: str = "") -> str:
        """Raises InvalidFile for a list or a mapping."""
        if self.value is None:
            return default
        return str(self.value) if isinstance(self.value, str) else self._not("one value")

    def items(self) -> list[Node]:
        """Raises InvalidFile for what is no list."""
        if self.value is None:
            return []
        return list(self.value) if isinstance(self.value, list) else self._not("a list")

    def texts(self) -> list[str]:
        return [one.text() for one in self.items()]

    def mapping(self) -> dict[str, Node]:
        """Raises InvalidFile for what is no mapping."""
        if self.value is None:
            return {}
        return dict(self.value) if isinstance(self.value, dict) else self._not("a mapping")

    def map_of_texts(self) -> dict[str, str]:
        return {key: one.text() for key, one in self.mapping().items()}

    def only(self, known: Sequence[str], what: str) -> None:
        """Raises InvalidFile for keys that the real reader refuses too."""
        wrong = [key for key in self.mapping() if key not in known]
        if wrong:
            raise InvalidFile(
                [self.keys[key].problem(f"{what} has no key `{key}`", did_you_mean(key, known)) for key in wrong]
            )

    def invalid(self, message: str, remedy: str = "") -> InvalidFile:
        return InvalidFile([self.spot.problem(message, remedy)])

    def _not(self, wanted: str) -> Any:
        kind = "a text" if isinstance(self.value, str) else "a list" if isinstance(self.value, list) else "a mapping"
        raise self.invalid(f"this is {kind}", f"write {wanted}")


def strings(node: Node, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Node]]:
    """Every text below, with its path (`receivers[0].slack_configs[0].api_url`); what aliases repeat comes once."""
    seen = set() if seen is None else seen
    if isinstance(node.value, str):
        yield path, node
    elif node.value is not None and id(node.value) not in seen:
        seen.add(id(node.value))
        pairs = node.value.items() if isinstance(node.value, dict) else enumerate(node.value)
        for part, below in pairs:
            step = f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
            yield from strings(below, path + step, seen)


def read(text: str, file: str) -> list[Node]:
    """The documents in it. Raises InvalidFile at the first place that is no YAML."""
    if len(text) > LARGEST:
        raise InvalidFile([Problem(file, 1, 1, f"the file is larger than {LARGEST >> 20} MiB", "split it")])
    try:
        return [_Conversion(file).node(root, 0) for root in yaml.compose_all(text, Loader=_Loader) if root is not None]
    except yaml.YAMLError as error:
        raise InvalidFile([_syntax(error, file, text)]) from None


def _syntax(error: yaml.YAMLError, file: str, text: str) -> Problem:
    """What is left out at the end of a file is put at that end, not behind it."""
    lines = text.splitlines() or [""]
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = min((mark.line + 1, mark.column + 1), (len(lines), len(lines[-1]) + 1)) if mark else (1, 1)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    context = getattr(error, "context", None)
    return Problem(file, line, column, f"this is no YAML: {said}" + (f" ({context})" if context else ""))


class _Conversion:
    """PyYAML's nodes to ours; what aliases share stays shared, so that none can make a file explode."""

    def __init__(self, file: str) -> None:
        self._file = file
        #: the node itself is kept, lest its id be given to another
        self._done: dict[int, tuple[Any, Node | None]] = {}

    def node(self, raw: Any, depth: int) -> Node:
        known = self._done.get(id(raw))
        if known is not None and known[1] is not None:
            return known[1]
        if known is not None or depth > DEEPEST:
            said = "this contains itself" if known is not None else f"nested deeper than {DEEPEST} levels"
            raise InvalidFile([self._spot(raw).problem(said)])
        self._done[id(raw)] = (raw, None)
        made = self._made(raw, depth)
        self._done[id(raw)] = (raw, made)
        return made

    def _made(self, raw: Any, depth: int) -> Node:
        spot = self._spot(raw)
        if isinstance(raw, yaml.ScalarNode):
            return Node(None if raw.tag == _NULL else str(raw.value), spot)
        if isinstance(raw, yaml.SequenceNode):
            return Node([self.node(one, depth + 1) for one in raw.value], spot)
        return self._mapping(raw, spot, depth)

    def _mapping(self, raw: Any, spot: Spot, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Spot] = {}
        merged: list[Node] = []
        for key, value in raw.value:
            at = self._spot(key)
            if not isinstance(key, yaml.ScalarNode):
                raise InvalidFile([at.problem("a key must be text")])
            made = self.node(value, depth + 1)
            if key.tag == _MERGE:
                merged += made.items() if isinstance(made.value, list) else [made]
                continue
            if key.value in values:
                first = keys[key.value].line
                raise InvalidFile([at.problem(f"the key `{key.value}` is here twice (first in line {first})")])
            values[key.value], keys[key.value] = made, at
        for one in merged:
            for name, value in one.mapping().items():
                if name not in values:
                    values[name], keys[name] = value, one.keys[name]
        return Node(values, spot, keys)

    def _spot(self, raw: Any) -> Spot:
        return Spot(self._file, raw.start_mark.line + 1, raw.start_mark.column + 1)
