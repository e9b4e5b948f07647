"""What rules are about: the metrics that targets export and those that recording rules make of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from veloz_chaos.core.linting_exports import Exports, Sighting
from veloz_chaos.core.linting_functions import called
from veloz_chaos.core.linting_labels import MISSING, Fit, Labels
from veloz_chaos.core.linting_outcome import Outcome, aggregated, any_of, combined, constant
from veloz_chaos.core.linting_setup import Rule
from veloz_chaos.core.promql import Aggregate, Binary, Call, Negative, Number, Selector, Subquery, Tree

INF = math.inf


@dataclass
class World:
    """`records`: metric -> the rules that record it."""

    exports: Exports
    #: with what can't be scraped now taken as lost for good
    for_good: bool = False
    records: Mapping[str, list[Rule]] = field(default_factory=dict)
    _recorded: dict[str, Outcome] = field(default_factory=dict)
    _found: dict[Selector, Sighting] = field(default_factory=dict)

    def find(self, selector: Selector) -> Sighting:
        """What a selector of scraped or recorded samples finds."""
        key = replace(selector, window=0, offset=0)
        if key not in self._found:
            self._found[key] = self._sighted(key)
        return self._found[key]

    def recorded(self, name: str | None) -> Outcome | None:
        """What the recording rules of this name can yield; None where there is none."""
        if name is None or name not in self.records:
            return None
        if name not in self._recorded:
            self._recorded[name] = Outcome()  # while we look: a rule may read itself
            outcomes = [self._of_record(rule) for rule in self.records[name]]
            self._recorded[name] = any_of(outcomes)
        return self._recorded[name]

    def of(self, tree: Tree) -> Outcome:
        match tree:
            case Number():
                return constant(tree.value)
            case Selector():
                return self._of_selector(tree)
            case Negative():
                one = self.of(tree.expr)
                return replace(one, low=-one.high, high=-one.low)
            case Aggregate():
                return aggregated(tree, self.of(tree.expr))
            case Binary():
                return combined(tree, self.of(tree.left), self.of(tree.right))
            case Call():
                return called(tree, [self.of(arg) for arg in tree.args])
            case Subquery():
                return self.of(tree.expr)
        return Outcome(labels=Labels())

    def _of_selector(self, selector: Selector) -> Outcome:
        found = self.find(selector)
        made = self.recorded(selector.name)
        labels = _narrowed(found.labels, selector)
        if made is not None:
            sure = made.present and not selector.matchers
            return replace(made, nothing=found.why if found.kind == "absent" else "", present=sure, labels=labels)
        low, high = (0.0, 1.0) if selector.name == "up" else (-INF, INF)
        if selector.name == "up" and self.for_good and found.jobs and all(map(self.down, found.jobs)):
            high = 0.0
        return Outcome(
            nothing=found.why if found.kind == "absent" else "",
            bare=f"`{selector}` is compared with nothing",
            present=found.kind == "present", low=low, high=high, nan=selector.name != "up", labels=labels,
        )  # fmt: skip

    def down(self, job: str) -> str:
        """Why nothing of a job can be scraped; empty where something can."""
        return self.exports.jobs[job].down if job in self.exports.jobs else ""

    def _of_record(self, rule: Rule) -> Outcome:
        if rule.tree is None:
            return Outcome()
        found = self.of(rule.tree)
        own = {name: frozenset({value}) for name, value in rule.labels.items()}
        return replace(found, labels=found.labels.with_(own))

    def _sighted(self, selector: Selector) -> Sighting:
        made = self.recorded(selector.name)
        if made is None:
            return self.exports.find(selector)
        if made.nothing:
            why = f"`{selector.name}` is recorded from what yields nothing: {made.nothing}"
            return Sighting("absent", code="metric-absent", why=why)
        if made.labels.fits(selector.matchers) is Fit.NO and not made.labels.others:
            wrong = next(one for one in selector.matchers if made.labels.fits([one]) is Fit.NO)
            known = sorted(name for name in made.labels.values if made.labels.of(name) != MISSING)
            remedy = f"labels: {', '.join(known[:12])}" if known else "it has no labels"
            why = f"`{selector.name}` is recorded without {wrong}"
            return Sighting("absent", code="label-absent", why=why, remedy=remedy)
        return Sighting("unknown", made.labels)


def _narrowed(labels: Labels, selector: Selector) -> Labels:
    """Only the values that the matchers let through."""
    for matcher in selector.matchers:
        values = labels.of(matcher.label)
        if matcher.op == "=":
            labels = labels.with_({matcher.label: frozenset({matcher.value})})
        elif values is not None:
            labels = labels.with_({matcher.label: frozenset(one for one in values if matcher.holds(one) is not False)})
    return labels
