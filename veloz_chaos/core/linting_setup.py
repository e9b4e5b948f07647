"""What `lint alerts` looks at: Prometheus's rules and scrape jobs, Alertmanager's routes and receivers, a site's words.

Wherever it comes from (files or running servers), it ends here. Lengths are nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from veloz_chaos.core.linting_labels import Labels, Matcher
from veloz_chaos.core.linting_yaml import NOWHERE, Spot
from veloz_chaos.core.matrix import ResponseMatrix, Severity
from veloz_chaos.core.promql import Tree


@dataclass(frozen=True)
class Group:
    name: str
    file: str
    #: how often its rules are evaluated
    interval: int
    #: how far back it looks
    offset: int = 0


@dataclass(frozen=True)
class Rule:
    name: str
    #: a recording rule: its name is a metric
    records: bool
    text: str
    #: None where the expression is one that we can't read
    tree: Tree | None
    labels: Mapping[str, str]
    hold: int
    keep: int
    group: Group
    #: its place in the group, whose rules are evaluated in turn
    order: int
    spot: Spot
    #: running only: since when it fires, and what its last evaluation failed with
    firing: str = ""
    error: str = ""

    def __str__(self) -> str:
        return f"{'record' if self.records else 'rule'} {self.name}"


@dataclass(frozen=True)
class Job:
    """What Prometheus scrapes under one name."""

    name: str
    interval: int
    timeout: int
    #: what it attaches to every sample, `job` and `instance` among them
    labels: Labels
    spot: Spot
    #: why none of its targets can be scraped
    down: str = ""
    #: None: found at run time
    targets: int | None = None
    #: running only: one of its targets has not been scraped yet
    fresh: bool = False
    #: how everything begins that it exports; none: that is not known
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Literal_:
    """A text that somebody expected to be filled in."""

    path: str
    reference: str
    spot: Spot


@dataclass(frozen=True)
class Prometheus:
    rules: tuple[Rule, ...] = ()
    jobs: Mapping[str, Job] = field(default_factory=dict)
    #: attached to every alert that has not such a label
    external: Mapping[str, str] = field(default_factory=dict)
    #: alerts are relabelled on their way: the labels that may change, None for any
    relabelled: frozenset[str] | None = frozenset()
    literals: tuple[Literal_, ...] = ()
    #: does it send alerts anywhere? None: not known
    sends: bool | None = None
    spot: Spot = NOWHERE


@dataclass(frozen=True)
class Route:
    """One node of the tree; what it does not say it has from its parent."""

    #: `route`, `route.routes[0]`, …
    path: str
    receiver: str
    matchers: tuple[Matcher, ...]
    #: `continue`: its later siblings see the alert too
    onward: bool
    #: None: by all labels
    group_by: frozenset[str] | None
    wait: int
    interval: int
    #: names of time intervals
    mute: tuple[str, ...]
    active: tuple[str, ...]
    routes: tuple[Route, ...]
    spot: Spot

    def __str__(self) -> str:
        return f"route {self.said} → {self.receiver}" if self.matchers else f"{self.path} → {self.receiver}"

    @property
    def said(self) -> str:
        return braced(self.matchers)

    def walk(self) -> Iterator[Route]:
        yield self
        for route in self.routes:
            yield from route.walk()


def braced(matchers: Iterable[Matcher]) -> str:
    """`{severity="critical", team=~"a|b"}`"""
    return "{" + ", ".join(map(str, matchers)) + "}"


@dataclass(frozen=True)
class Receiver:
    name: str
    #: `slack`, `pagerduty`, …: one for each entry
    integrations: tuple[str, ...]
    spot: Spot


@dataclass(frozen=True)
class Inhibition:
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]
    spot: Spot = NOWHERE


@dataclass(frozen=True)
class Alertmanager:
    route: Route
    receivers: Mapping[str, Receiver]
    inhibitions: tuple[Inhibition, ...] = ()
    literals: tuple[Literal_, ...] = ()
    #: labels of alerts that it has now, from whatever source
    alerts: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class Site:
    """The document's limits, and the site's own words for what it says; see `core.environment.Alerts`."""

    matrix: ResponseMatrix
    severities: Mapping[Severity, str] = field(default_factory=dict)
    channels: Mapping[str, list[str]] = field(default_factory=dict)
    rules: Mapping[str, list[str]] = field(default_factory=dict)

    def severity(self, said: Severity) -> str:
        return self.severities.get(said, said)


Level = Literal["defect", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`defect`), or that may be or could not be looked at (`note`)."""

    code: str
    level: Level
    #: `rule X`, `row X`, `route {…} → X`, …
    about: str
    message: str
    remedy: str = ""
    spot: Spot = NOWHERE
    #: rows of the matrix that it concerns
    rows: tuple[str, ...] = ()
