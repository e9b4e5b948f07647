"""Everything that is linted, put together: which labels each alert will have, which rules belong to which row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from veloz_chaos.core.linting_exports import Exports
from veloz_chaos.core.linting_labels import ANY, MISSING, Labels, Values
from veloz_chaos.core.linting_outcome import Outcome
from veloz_chaos.core.linting_routes import Arrival, Muters, arrivals
from veloz_chaos.core.linting_setup import Alertmanager, Prometheus, Receiver, Rule, Site
from veloz_chaos.core.linting_world import World

#: Alerts that are meant to fire always, and receivers that are meant to tell nobody.
_WATCHDOG = re.compile(r"watch.?dog|dead.?man|heart.?beat|always.?firing", re.IGNORECASE)
_NOBODY = re.compile(r"null|none|black.?hole|dev.?null|nobody|silent|drop|discard", re.IGNORECASE)


@dataclass(frozen=True)
class Whole:
    prometheus: Prometheus
    exports: Exports
    #: None: it was not looked at
    alertmanager: Alertmanager | None
    site: Site

    @cached_property
    def world(self) -> World:
        return World(self.exports, records=self._records)

    @cached_property
    def lasting(self) -> World:
        """With what can't be scraped now taken as lost for good."""
        down = any(job.down for job in self.exports.jobs.values())
        return World(self.exports, True, self._records) if down else self.world

    @cached_property
    def alerts(self) -> list[Rule]:
        return [rule for rule in self.prometheus.rules if not rule.records]

    @cached_property
    def outcomes(self) -> Mapping[int, Outcome]:
        """By the rule's id."""
        return {id(rule): _outcome(rule, self.world) for rule in self.prometheus.rules}

    @cached_property
    def _always(self) -> Mapping[int, str]:
        if self.lasting is self.world:
            return {number: outcome.always for number, outcome in self.outcomes.items()}
        return {id(rule): _outcome(rule, self.lasting).always for rule in self.prometheus.rules}

    @cached_property
    def labels(self) -> Mapping[int, Labels]:
        """Of each alert when it reaches Alertmanager, by the rule's id."""
        return {id(rule): self._labels(rule) for rule in self.alerts}

    @cached_property
    def by_row(self) -> Mapping[str, list[Rule]]:
        return {row: self._of_row(row) for row in self.site.matrix.rows}

    @cached_property
    def rows_of(self) -> Mapping[int, tuple[str, ...]]:
        """The rows that a rule belongs to, by its id."""
        found: dict[int, tuple[str, ...]] = {}
        for row, rules in self.by_row.items():
            for rule in rules:
                found[id(rule)] = (*found.get(id(rule), ()), row)
        return found

    @cached_property
    def muters(self) -> Muters:
        """Of the alerts that can fire."""
        alerts: dict[str, list[Labels]] = {}
        for rule in self.alerts:
            if not self.outcomes[id(rule)].nothing:
                alerts.setdefault(rule.name, []).append(self.labels[id(rule)])
        return Muters(self.alertmanager.inhibitions if self.alertmanager else (), alerts)

    @cached_property
    def restless(self) -> frozenset[str]:
        """Alerts that fire whatever happens."""
        return frozenset(rule.name for rule in self.alerts if rule.firing or self.always(rule))

    def always(self, rule: Rule) -> str:
        """Why it fires whatever happens; empty where it does not, or is meant to."""
        return self._always[id(rule)] if not watches(rule) else ""

    def arrivals(self, rule: Rule) -> list[Arrival]:
        return arrivals(self.alertmanager.route, self.labels[id(rule)]) if self.alertmanager else []

    def receiver(self, name: str) -> Receiver:
        assert self.alertmanager is not None
        return self.alertmanager.receivers[name]

    def means(self, channel: str, receiver: str, kind: str) -> bool:
        """Is this integration of this receiver what the document calls so?"""
        named = self.site.channels.get(channel)
        return kind == channel if named is None else receiver in named or f"{receiver}/{kind}" in named

    def delivers(self, channel: str, receiver: Receiver) -> bool:
        return any(self.means(channel, receiver.name, kind) for kind in receiver.integrations)

    def _of_row(self, row: str) -> list[Rule]:
        if row in self.site.rules:
            return [rule for rule in self.alerts if rule.name in self.site.rules[row]]
        return [rule for rule in self.alerts if rule.labels.get("failure") == row]

    def _labels(self, rule: Rule) -> Labels:
        if self.prometheus.relabelled is None:
            return ANY
        own: dict[str, Values] = {
            name: None if "{{" in value else frozenset({value}) for name, value in rule.labels.items()
        }
        labels = self.outcomes[id(rule)].labels.with_({**own, "alertname": frozenset({rule.name})})
        added = {
            name: None if "$" in value else _or(labels.of(name), value)  # Prometheus fills variables in there
            for name, value in self.prometheus.external.items()
        }
        return labels.with_({**added, **dict.fromkeys(self.prometheus.relabelled)})

    @property
    def _records(self) -> Mapping[str, list[Rule]]:
        found: dict[str, list[Rule]] = {}
        for rule in self.prometheus.rules:
            if rule.records:
                found.setdefault(rule.name, []).append(rule)
        return found


def _outcome(rule: Rule, world: World) -> Outcome:
    return world.of(rule.tree) if rule.tree is not None else Outcome()


def _or(values: Values, otherwise: str) -> Values:
    """What is missing is replaced."""
    if values is None or "" not in values:
        return values
    return values - MISSING | {otherwise}


def watches(rule: Rule) -> bool:
    """Is it one that shows, by firing always, that alerts get through?"""
    return bool(_WATCHDOG.search(rule.name))


def tells_nobody(receiver: Receiver) -> bool:
    """And says so by its name."""
    return not receiver.integrations and bool(_NOBODY.search(receiver.name))


def listed(words: Iterable[str], most: int = 4) -> str:
    """`a, b, c and 5 more`"""
    words = list(dict.fromkeys(words))
    more = len(words) - most
    return ", ".join(words[:most]) + (f" and {more} more" if more > 0 else "")
