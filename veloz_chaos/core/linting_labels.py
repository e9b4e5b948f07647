"""Labels of alerts to come: for each the values it may have, and whether a matcher must, may or can't fit.

A missing label is the empty text, as Prometheus and Alertmanager have it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

MISSING = frozenset({""})
Values = frozenset[str] | None  # None: any

_MATCHER = re.compile(
    r'\s*("(?:[^"\\]|\\.)*"|[^\s"=!~,{}]+)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^"{},]*?)\s*(?:,|\}?\s*$)'
)
_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPE = re.compile(r"\\(.)")
#: Syntax of RE2 that `re` reads in another way, or not at all.
_FOREIGN = re.compile(r"\[\[:|\\[pPzQC]")


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


class Fit(IntEnum):
    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Matcher:
    label: str
    #: = != =~ !~
    op: str
    value: str

    def __str__(self) -> str:
        """As PromQL and Alertmanager read it."""
        label = self.label if _PLAIN.fullmatch(self.label) else quoted(self.label)
        return f"{label}{self.op}{quoted(self.value)}"

    def holds(self, text: str) -> bool | None:
        """None where the expression is one that can't be told."""
        if self.op in ("=", "!="):
            return (text == self.value) == (self.op == "=")
        compiled = _compiled(self.value)
        return None if compiled is None else (compiled.fullmatch(text) is not None) == (self.op == "=~")

    def fits(self, values: Values) -> Fit:
        if values is None:
            return Fit.YES if self.op == "=~" and self.value in (".*", "(.*)", ".*?") else Fit.MAYBE
        if self.op == "=":  # most of them, hence quickly
            return Fit.NO if self.value not in values else Fit.YES if len(values) == 1 else Fit.MAYBE
        told = {self.holds(value) for value in values}
        return Fit.YES if told == {True} else Fit.NO if told == {False} else Fit.MAYBE


@dataclass(frozen=True, slots=True)
class Labels:
    """For each label the values it may have; "" among them: it may be missing."""

    values: Mapping[str, Values] = field(default_factory=dict)
    #: further labels may be there, of any value
    others: bool = False

    def of(self, label: str) -> Values:
        return self.values.get(label, None if self.others else MISSING)

    def fits(self, matchers: Iterable[Matcher]) -> Fit:
        """The worst of them all; YES for none."""
        worst = Fit.YES
        for matcher in matchers:
            fits = matcher.fits(self.of(matcher.label))
            if fits is Fit.NO:
                return fits
            worst = min(worst, fits)
        return worst

    def with_(self, more: Mapping[str, Values]) -> Labels:
        return Labels({**self.values, **more}, self.others)

    def only(self, kept: Iterable[str]) -> Labels:
        return Labels({label: self.of(label) for label in kept})

    def without(self, dropped: Iterable[str]) -> Labels:
        return Labels({**self.values, **dict.fromkeys(dropped, MISSING)}, self.others)

    def or_(self, other: Labels) -> Labels:
        names = self.values.keys() | other.values.keys()
        joined = {name: _union(self.of(name), other.of(name)) for name in names}
        return Labels(joined, self.others or other.others)

    def key(self, names: Iterable[str]) -> tuple[Values, ...]:
        """What tells two of them apart where only these labels count."""
        return tuple(self.of(name) for name in names)


def _union(a: Values, b: Values) -> Values:
    return None if a is None or b is None else a | b


ANY = Labels(others=True)


def same(a: Values, b: Values) -> Fit:
    """Do two alerts have the same value of a label?"""
    if a is None or b is None:
        return Fit.MAYBE
    if len(a) == len(b) == 1 and a == b:
        return Fit.YES
    return Fit.MAYBE if a & b else Fit.NO


def matchers(text: str) -> list[Matcher]:
    """As Alertmanager writes them: `a="b"`, `a=~"b|c"`, `{a="b", c!=d}`. Raises ValueError."""
    rest = text.strip()
    if rest.startswith("{") and rest.endswith("}"):
        rest = rest[1:-1].strip()
    found: list[Matcher] = []
    at = 0
    while at < len(rest):
        one = _MATCHER.match(rest, at)
        if one is None:
            raise ValueError(f'`{text}` is no matcher; write label="value", or != =~ !~')
        label, op, value = _bare(one[1]), one[2], _bare(one[3].strip())
        if op in ("=~", "!~") and not _FOREIGN.search(value) and _compiled(value) is None:
            raise ValueError(f"`{value}` is no regular expression")
        found.append(Matcher(label, op, value))
        at = one.end()
    return found


def _bare(word: str) -> str:
    if not word.startswith('"'):
        return word
    return _ESCAPE.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], word[1:-1])


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    if _FOREIGN.search(pattern):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(pattern)
    except (re.error, OverflowError):
        return None
