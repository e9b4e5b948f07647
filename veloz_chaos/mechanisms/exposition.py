"""One sample of Prometheus's text format, also of OpenMetrics.

Only the lines of the metric that is asked for are read, so that a page of megabytes costs little. The format:
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\\n]|\\.)*)"[ \t]*(?:,|(?=\}))')
_SERIES = re.compile(rf"[ \t]*({_NAME})[ \t]*")
_DECLARED = re.compile(rf"# TYPE ({_NAME}) (\w+)")
_ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


@dataclass(frozen=True)
class Sample:
    value: float
    #: as it is written: milliseconds, in OpenMetrics seconds; None if it is of this very moment
    timestamp: float | None = None


@dataclass(frozen=True)
class Series:
    name: str
    labels: frozenset[tuple[str, str]]

    def matches(self, other: Series) -> bool:
        """The same metric, with at least these labels."""
        return self.name == other.name and self.labels <= other.labels


def series(text: str) -> Series:
    """`name{label="value"}`. Raises ValueError."""
    found, rest = _series(text)
    if rest.strip():
        raise ValueError(f'`{text}` is no sample; write name or name{{label="value"}}')
    return found


def samples(text: str, wanted: Series) -> list[Sample]:
    """All that match. Raises ValueError for a line of this metric that can't be read."""
    return [sample for one, sample in labelled(text, wanted.name) if wanted.matches(one)]


def labelled(text: str, name: str) -> list[tuple[Series, Sample]]:
    """All of one metric. Raises ValueError for a line of it that can't be read."""
    return [_sample(line) for line in _lines(text, name)]


def page(text: str) -> tuple[frozenset[Series], dict[str, str]]:
    """All series, and the type of each metric that is declared. Raises ValueError for a line that is neither."""
    found: set[Series] = set()
    declared: dict[str, str] = {}
    for line in text.splitlines():
        if words := _DECLARED.match(line):
            declared[words[1]] = words[2]
        elif line.strip() and not line.lstrip().startswith("#"):
            found.add(_sample(line)[0])
    return frozenset(found), declared


def _lines(text: str, name: str) -> Iterator[str]:
    at = text.find(name)
    while at != -1:
        start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
        line = text[start : end if end != -1 else len(text)]
        found = _SERIES.match(line)
        if found and found[1] == name:
            yield line
        at = text.find(name, end) if end != -1 else -1


def _sample(line: str) -> tuple[Series, Sample]:
    one, rest = _series(line)
    words = rest.split("#")[0].split()  # an exemplar follows a #
    if len(words) not in (1, 2):
        raise ValueError(f"`{line[:100]}` is no sample")
    return one, Sample(_number(words[0]), _number(words[1]) if words[1:] else None)


def _number(word: str) -> float:
    """A Go float: `1e3`, `+Inf`, `NaN`."""
    if "_" in word:
        raise ValueError(f"`{word}` is no number")
    return float(word)


def _series(text: str) -> tuple[Series, str]:
    """And what follows it."""
    head = _SERIES.match(text)
    if head is None:
        raise ValueError(f"`{text[:100]}` names no metric")
    if text[head.end() : head.end() + 1] != "{":
        return Series(head[1], frozenset()), text[head.end() :]
    labels, at = {}, head.end() + 1
    while found := _LABEL.match(text, at):
        labels[found[1]] = re.sub(r"\\.", lambda escape: _ESCAPED.get(escape[0], escape[0]), found[2])
        at = found.end()
    closed = re.compile(r"[ \t]*\}").match(text, at)
    if closed is None:
        raise ValueError(f"the labels of `{text[:100]}` can't be read")
    return Series(head[1], frozenset(labels.items())), text[closed.end() :]
