"""Where alerts go: which routes take them, which routes never get any, and who mutes whom.

As Alertmanager walks its tree: a route takes what its matchers fit and none of its children took; a child that took an
alert keeps it from its later siblings, unless it says `continue`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from veloz_chaos.core.linting_labels import Fit, Labels, same
from veloz_chaos.core.linting_setup import Alertmanager, Inhibition, Route


@dataclass(frozen=True)
class Arrival:
    route: Route
    #: surely, or only with the right values of labels that are not known
    sure: bool


def arrivals(root: Route, labels: Labels) -> list[Arrival]:
    """Every route that takes, or may take, such an alert."""
    return list(_walk(root, labels, sure=True)[0])


def _walk(route: Route, labels: Labels, sure: bool) -> tuple[list[Arrival], Fit]:
    fits = labels.fits(route.matchers)
    if fits is Fit.NO:
        return [], fits
    sure = sure and fits is Fit.YES
    found: list[Arrival] = []
    taken = stopped = Fit.NO
    for child in route.routes:
        if stopped is Fit.YES:
            break
        below, took = _walk(child, labels, sure and stopped is Fit.NO)
        found += below
        taken = max(taken, took)
        stopped = stopped if child.onward else max(stopped, took)
    if taken is not Fit.YES:
        found.append(Arrival(route, sure and taken is Fit.NO))
    return found, fits


def names(alertmanager: Alertmanager) -> list[str]:
    """The labels that its matchers ask for."""
    found = {one.label for route in alertmanager.route.walk() for one in route.matchers}
    for one in alertmanager.inhibitions:
        found |= {matcher.label for matcher in (*one.source, *one.target)} | set(one.equal)
    return sorted(found)


@dataclass(frozen=True)
class Untaken:
    """A route that gets no alert, nor does any below it."""

    route: Route
    #: the routes that take, before it, all that would fit; none: no alert fits at all
    behind: tuple[Route, ...] = ()


def untaken(root: Route, alerts: Sequence[Labels]) -> Iterator[Untaken]:
    """Of each such subtree only its top."""
    reached = {id(one.route) for labels in alerts for one in arrivals(root, labels)}
    yield from _untaken(root, (), reached, alerts)


def _untaken(route: Route, above: tuple[Route, ...], reached: set[int], alerts: Sequence[Labels]) -> Iterator[Untaken]:
    path = (*above, route)
    for child in route.routes:
        if any(id(one) in reached for one in child.walk()):
            yield from _untaken(child, path, reached, alerts)
        else:
            yield Untaken(child, _behind((*path, child), alerts))


def _behind(path: tuple[Route, ...], alerts: Sequence[Labels]) -> tuple[Route, ...]:
    """Which routes beside the path take what fits the whole of it."""
    wanted = [one for route in path for one in route.matchers]
    fitting = [labels for labels in alerts if labels.fits(wanted) is not Fit.NO]
    blocking = dict[int, Route]()
    for labels in fitting:
        for parent, child in pairwise(path):
            before = parent.routes[: next(n for n, one in enumerate(parent.routes) if one is child)]
            first = [one for one in before if not one.onward and labels.fits(one.matchers) is Fit.YES]
            blocking |= {id(one): one for one in first[:1]}
    return tuple(one for parent in path for one in parent.routes if id(one) in blocking)


@dataclass(frozen=True)
class Muting:
    """An alert that may be muted: by an inhibition, while another alert fires."""

    inhibition: Inhibition
    by: str
    sure: bool


class Muters:
    """Which alerts may mute which."""

    def __init__(self, inhibitions: Iterable[Inhibition], alerts: Mapping[str, Iterable[Labels]]) -> None:
        """`alerts`: all there are, by name."""
        self._sources = [(one, list(_sources(one, alerts))) for one in inhibitions]

    def of(self, name: str, labels: Labels) -> Iterator[Muting]:
        """Who may mute the alert of this name."""
        for inhibition, sources in self._sources:
            target = labels.fits(inhibition.target)
            for other, kind, source in sources if target is not Fit.NO else ():
                how = mutes(inhibition, labels, kind, min(source, target)) if other != name else Fit.NO
                if how is not Fit.NO:
                    yield Muting(inhibition, other, how is Fit.YES)


def _sources(one: Inhibition, alerts: Mapping[str, Iterable[Labels]]) -> Iterator[tuple[str, Labels, Fit]]:
    for name, kinds in alerts.items():
        for labels in kinds:
            fits = labels.fits(one.source)
            if fits is not Fit.NO:
                yield name, labels, fits


def mutes(one: Inhibition, labels: Labels, other: Labels, fits: Fit) -> Fit:
    """Does the other, while it is there, mute an alert of these labels? `fits`: the worse of how both sides fit."""
    both = min(labels.fits(one.source), other.fits(one.target))  # if both sides fit both, Alertmanager mutes neither
    return min([Fit(Fit.YES - both), fits, *(same(labels.of(name), other.of(name)) for name in one.equal)])
