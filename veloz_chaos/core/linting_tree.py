"""What is wrong with Alertmanager's side: severities and routes that miss each other, receivers that tell nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from veloz_chaos.core.linting_labels import MISSING, Labels, Matcher
from veloz_chaos.core.linting_routes import Untaken, arrivals, names, untaken
from veloz_chaos.core.linting_setup import Alertmanager, Finding, Literal_, Receiver, Route
from veloz_chaos.core.linting_whole import Whole, listed, tells_nobody, watches
from veloz_chaos.core.matrix import Alert

_SEVERITY = "severity"
#: Severities of what nobody needs to hear of.
_UNHEARD = ("none", "null")


def findings(whole: Whole) -> Iterator[Finding]:
    prometheus = whole.prometheus
    yield from (_literal(one, "Prometheus") for one in prometheus.literals)
    if prometheus.sends is False:
        yield Finding("no-alertmanager", "defect", "Prometheus", "it sends its alerts to no Alertmanager",
                      "name one in alerting: alertmanagers:", prometheus.spot)  # fmt: skip
    if whole.alertmanager is not None:
        yield from _Tree(whole, whole.alertmanager).findings()


def _literal(one: Literal_, whose: str) -> Finding:
    remedy = "fill it in before it is loaded"
    if whose == "Alertmanager":
        remedy += ", or use a key that ends in `_file`"
    message = f"{one.path} is literally `{one.reference}`: {whose} fills no variables in"
    return Finding("secret-literal", "defect", whose, message, remedy, one.spot)


class _Tree:
    def __init__(self, whole: Whole, alertmanager: Alertmanager) -> None:
        self._whole, self._manager, self._root = whole, alertmanager, alertmanager.route

    def findings(self) -> Iterator[Finding]:
        yield from (_literal(one, "Alertmanager") for one in self._manager.literals)
        if self._root.routes:
            yield from self._severities()
        if self._alerts:
            yield from (self._untaken(one) for one in untaken(self._root, self._alerts))
        yield from self._receivers()

    @cached_property
    def _alerts(self) -> Sequence[Labels]:
        """One of each kind that the tree can tell apart; also those that it has now, wherever they come from."""
        asked = names(self._manager)
        there = [Labels({name: frozenset({value}) for name, value in one.items()}) for one in self._manager.alerts]
        every = [*self._whole.labels.values(), *there]
        return list({(labels.key(asked), labels.others): labels for labels in every}.values())

    def _severities(self) -> Iterator[Finding]:
        """What falls to the default receiver, unless that is where the document wants it."""
        used: dict[str, list[Labels]] = {}
        for labels in (self._whole.labels[id(rule)] for rule in self._whole.alerts if not watches(rule)):
            for value in labels.of(_SEVERITY) or ():
                used.setdefault(value, []).append(labels.with_({_SEVERITY: frozenset({value})}))
        wanted = {self._whole.site.severity(alert.severity) for alert in self._wanted}
        for value in [*used, *sorted(wanted - used.keys())]:
            kinds = used.get(value) or [Labels({_SEVERITY: frozenset({value})}, others=True)]
            if not any(self._taken(labels) for labels in kinds) and not self._meant(value):
                yield self._unrouted(value, value in used)

    def _taken(self, labels: Labels) -> bool:
        return any(one.route is not self._root for one in arrivals(self._root, labels))

    @cached_property
    def _wanted(self) -> list[Alert]:
        """What the document wants to be alerted of."""
        return [row.alert for row in self._whole.site.matrix.rows.values() if row.alert is not None]

    def _meant(self, value: str) -> bool:
        """The default receiver has every channel that the document wants for it, or is there to be silent."""
        receiver = self._manager.receivers[self._root.receiver]
        alerts = [alert for alert in self._wanted if self._whole.site.severity(alert.severity) == value]
        channels = {channel for alert in alerts for channel in alert.channels}
        if not channels:
            return value in _UNHEARD and tells_nobody(receiver)
        return all(self._whole.delivers(channel, receiver) for channel in channels)

    def _unrouted(self, value: str, used: bool) -> Finding:
        rules = [
            rule.name for rule in self._whole.alerts
            if value in (self._whole.labels[id(rule)].of(_SEVERITY) or ())
        ]  # fmt: skip
        about = f"severity {value}" if value else "alerts without a severity"
        whose = f" ({listed(rules)})" if used else " (no rule has it yet)"
        message = f"no route takes it{whose}: it falls to the default receiver {self._root.receiver}"
        remedy = f"add a route with the matcher {Matcher(_SEVERITY, '=', value)}" if value else "label them"
        return Finding("severity-unrouted", "defect", about, message, remedy, self._root.spot)

    def _untaken(self, one: Untaken) -> Finding:
        route = one.route
        if one.behind:
            before = listed([other.said for other in one.behind], 6)
            return Finding(
                "route-shadowed", "defect", str(route),
                f"it gets no alert: what would fit it is taken before by {before}, without `continue`",
                "put it before them, or below them, or let them say continue: true", route.spot,
            )  # fmt: skip
        return Finding("route-untaken", "defect", str(route), f"no alert fits it{self._unfit(route)}",
                       "correct its matchers, or remove it", route.spot)  # fmt: skip

    def _unfit(self, route: Route) -> str:
        """Which matcher nobody fits, and what there is instead."""
        for matcher in route.matchers:
            if all(not matcher.fits(labels.of(matcher.label)) for labels in self._alerts):
                there = {value for labels in self._alerts for value in labels.of(matcher.label) or ()} - MISSING
                has = (
                    f"{matcher.label} is {listed(sorted(there))}" if there else f"no alert has a label {matcher.label}"
                )
                return f": no rule has {matcher}; {has}"
        return f": no rule has all of {route.said} and what the routes above it ask for"

    def _receivers(self) -> Iterator[Finding]:
        users: dict[str, list[Route]] = {}
        for route in self._root.walk():
            users.setdefault(route.receiver, []).append(route)
        for name in users:
            receiver = self._manager.receivers[name]
            rows = self._rows_at(receiver) if not receiver.integrations else ()
            if not receiver.integrations and (rows or not tells_nobody(receiver)):
                yield Finding(
                    "receiver-empty", "defect", f"receiver {name}",
                    f"it has no integration, nobody is told what comes there ({listed(map(str, users[name]), 2)})",
                    "give it slack_configs, pagerduty_configs, …", receiver.spot, rows,
                )  # fmt: skip

    def _rows_at(self, receiver: Receiver) -> tuple[str, ...]:
        """The rows whose alerts come there."""
        return tuple(
            row for row, rules in self._whole.by_row.items()
            if any(one.sure and one.route.receiver == receiver.name
                   for rule in rules for one in self._whole.arrivals(rule))
        )  # fmt: skip
