"""How long an alert takes: from a failure that shows at once in what is measured, to its notification. Nanoseconds.

| step | best | worst |
|---|---|---|
| scrape | at once | a scrape interval, and a scrape's time-out |
| a window (`rate(x[5m])`) | at once | all of it |
| the same, where every sample in it must be bad | all of it, less a scrape | all of it |
| the same, where one bad sample is enough | at once | at once |
| recording rule | at once | its evaluation interval; nothing where it stands above in the same group |
| evaluation | at once | the evaluation interval |
| `for` | rounded up to whole evaluations | the same |
| group_wait | as it is | as it is, or group_interval where the group may be there already |

The end of a failure takes the same way, with `keep_firing_for` in place of `for`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from veloz_chaos.core.interval import Interval
from veloz_chaos.core.linting_setup import Job, Route, Rule
from veloz_chaos.core.linting_world import World
from veloz_chaos.core.promql import Aggregate, Binary, Call, Number, Selector, Subquery, Tree, children, selectors

#: Functions that look at the last samples of their window only.
_LATEST = frozenset({"last_over_time", "irate", "idelta", "present_over_time"})
#: What they yield says how many samples there are, not how bad these are.
_COUNTS = frozenset({"count_over_time", "quantile_over_time"})
_ZERO = Interval(0, 0)


@dataclass(frozen=True)
class Times:
    """From the failure; `resolved` from its end."""

    fires: Interval
    #: in Alertmanager's hands; None where that is not known
    notified: Interval | None
    resolved: Interval


def of(rule: Rule, world: World, routes: Iterable[Route] | None) -> Times:
    """`routes`: those that notify all the channels that must hear of it; None where they are not known."""
    shown, hidden = _shown(rule, world), _shown(rule, world, ending=True)
    evaluated = rule.group.interval
    fires = _later(shown, _steps(rule.hold, evaluated), evaluated + _steps(rule.hold, evaluated))
    gone = _later(Interval(0, hidden.at_most), _steps(rule.keep, evaluated), evaluated + _steps(rule.keep, evaluated))
    if routes is None:
        return Times(fires, None, gone)
    routes = list(routes)
    waits = [_waits(route) for route in routes]
    notified = _later(fires, max(w.at_least for w in waits), max(w.at_most for w in waits)) if waits else None
    last = max((route.interval for route in routes), default=0)
    return Times(fires, notified, _later(gone, 0, last))


def _waits(route: Route) -> Interval:
    """A group of its own waits; one that other alerts may have opened already is told at its next interval."""
    alone = route.group_by is None or "alertname" in route.group_by
    return Interval(route.wait, route.wait if alone else max(route.wait, route.interval))


def _steps(length: int, step: int) -> int:
    """Prometheus looks at `for` when it evaluates."""
    return math.ceil(length / step) * step if step else length


def _later(one: Interval, least: float, most: float) -> Interval:
    return Interval(one.at_least + least, one.at_most + most)


def _shown(rule: Rule, world: World, ending: bool = False) -> Interval:
    """Until the expression can tell that it began, or that it ended, whenever it is evaluated."""
    if rule.tree is None:
        return _ZERO
    found = _Sight(world, rule, frozenset(), ending).of(rule.tree) or _ZERO
    return _later(found, rule.group.offset, rule.group.offset)


class _Sight:
    def __init__(self, world: World, reader: Rule, above: frozenset[str], ending: bool) -> None:
        self._world, self._reader, self._ending = world, reader, ending
        #: recorded metrics on the way here, lest a rule that reads itself goes round for ever
        self._above = above

    def of(self, tree: Tree) -> Interval | None:
        """None for what does not depend on any sample."""
        if isinstance(tree, Selector):
            return self._selected(tree)
        if isinstance(tree, Subquery):
            inner = self.of(tree.expr)
            return inner and _later(inner, tree.offset, tree.offset + tree.window + tree.step)
        if isinstance(tree, Binary) and (windowed := self._windowed(tree)):
            return windowed
        parts = [found for part in children(tree) if (found := self.of(part))]
        if not parts:
            return None
        least, most = min(one.at_least for one in parts), max(one.at_most for one in parts)
        return self._called(tree, Interval(least, most)) if isinstance(tree, Call) else Interval(least, most)

    def _called(self, tree: Call, inner: Interval) -> Interval:
        """`inner` has the whole of every window below in its worst case."""
        if tree.name == "absent_over_time":
            return Interval(max(inner.at_least, self._least(tree)), inner.at_most)
        if tree.name in _LATEST:
            window = _window(tree)
            once = min(window, self._scraped(tree))
            return Interval(inner.at_least, max(inner.at_least, inner.at_most - window + once))
        return inner

    def _windowed(self, tree: Binary) -> Interval | None:
        """Of a function over a window and a bound, where the bound says how many of its samples must be bad."""
        call, among = _summed(tree.left)
        if not isinstance(call, Call) or not isinstance(tree.right, Number) or not _window(call):
            return None
        if self._ending or call.name in _LATEST or call.name in _COUNTS:
            return None
        outcome, inner = self._world.of(tree.left), self.of(call)
        how = _must(tree.op, tree.right.value, outcome.low, outcome.high, call.name, among)
        if inner is None or not how:
            return None
        if how == "all":
            return Interval(max(inner.at_least, self._least(call)), inner.at_most)
        return Interval(inner.at_least, max(inner.at_least, inner.at_most - _window(call)))

    def _least(self, call: Call) -> int:
        """All of the window, less the scrape (and step) in which the last good sample may already be old."""
        step = max((arg.step for arg in call.args if isinstance(arg, Subquery)), default=0)
        return max(0, _window(call) - step - self._scraped(call))

    def _scraped(self, tree: Tree) -> int:
        found = [job.interval for one in selectors(tree) for job in self._jobs(one)]
        return max(found, default=0)

    def _jobs(self, selector: Selector) -> list[Job]:
        jobs = self._world.exports.jobs
        return [jobs[name] for name in self._world.find(selector).jobs if name in jobs]

    def _selected(self, tree: Selector) -> Interval:
        base = self._recorded(tree) or self._sampled(tree)
        return _later(base, tree.offset, tree.offset + tree.window)

    def _sampled(self, tree: Selector) -> Interval:
        jobs = self._jobs(tree) or list(self._world.exports.jobs.values())
        return Interval(0, max((job.interval + job.timeout for job in jobs), default=0))

    def _recorded(self, tree: Selector) -> Interval | None:
        name = tree.name
        rules = self._world.records.get(name or "", [])
        if name is None or not rules or name in self._above:
            return None
        found = [self._of_record(rule, name) for rule in rules]
        return Interval(min(one.at_least for one in found), max(one.at_most for one in found))

    def _of_record(self, rule: Rule, name: str) -> Interval:
        """Recorded just before, if it stands above in the same group."""
        below = _Sight(self._world, rule, self._above | {name}, self._ending)
        inner = below.of(rule.tree) if rule.tree is not None else None
        just = rule.group == self._reader.group and rule.order < self._reader.order
        offset = rule.group.offset
        return _later(inner or _ZERO, offset, offset + (0 if just else rule.group.interval))


def _summed(tree: Tree) -> tuple[Tree, str]:
    """What an aggregation is over, and which one it is."""
    return (tree.expr, tree.op) if isinstance(tree, Aggregate) else (tree, "")


def _must(op: str, bound: float, low: float, high: float, function: str, among: str) -> str:
    """Must `all` samples of the window be bad, or is `one` enough? Empty where it depends on how bad they are.

    `max_over_time(x[5m]) < 1` and `increase(x[5m]) == 0` want all, `max_over_time(x[5m]) > 1` and
    `increase(x[5m]) > 0` one; `low` and `high` are the values that can be.
    """
    if function == "max_over_time" and among in ("", "max") and op in _WHERE_LARGEST:
        return _WHERE_LARGEST[op]
    if function == "min_over_time" and among in ("", "min") and op in _WHERE_SMALLEST:
        return _WHERE_SMALLEST[op]
    if bound <= low and function != "min_over_time" and among in ("", "max", "sum", "avg"):
        return {"==": "all", "<=": "all", ">": "one", "!=": "one"}.get(op, "")
    if bound >= high and function != "max_over_time" and among in ("", "min", "avg"):
        return {"==": "all", ">=": "all", "<": "one", "!=": "one"}.get(op, "")
    return ""


_WHERE_LARGEST = {"<": "all", "<=": "all", ">": "one", ">=": "one"}
_WHERE_SMALLEST = {">": "all", ">=": "all", "<": "one", "<=": "one"}


def _window(call: Call) -> int:
    """Of the samples that a function is given; 0 where it is given none of a stretch of time."""
    return max((arg.window for arg in call.args if isinstance(arg, Selector | Subquery)), default=0)


def never(times: Times) -> Times:
    """Of an alert that is surely muted."""
    return replace(times, notified=Interval(math.inf, math.inf))
