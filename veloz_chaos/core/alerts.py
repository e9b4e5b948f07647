"""The alert that a failure must raise: which one it is, how severe, on which channels, and what was read of it.

What the probes of alerts read (`prometheus-alerts`, `prometheus-rules`, `alertmanager`, `caught`) is plain data in the
journal; here it is told apart: the wanted alert from the others, a receiver's integrations from the document's
channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from veloz_chaos.core.duration import Duration
from veloz_chaos.core.environment import Alerts, Place
from veloz_chaos.core.matrix import Alert
from veloz_chaos.core.model import Written

#: The probes that a plan adds for the alert; no environment can name one so.
ALERTS = "alerts:"
PROMETHEUS, ALERTMANAGER, CAUGHT = ALERTS + "prometheus", ALERTS + "alertmanager", ALERTS + "caught"
#: What tells beforehand which labels it will have; how often it is asked is enough for once before the fault.
RULES, SELDOM = ALERTS + "rules", timedelta(minutes=10)
#: So begins what a plan says of an alert that is expected where nobody says how alerts are read.
UNREAD = "alerts are not checked"
#: An alert that is not over so long after the recovery stays for good.
RESOLVED = timedelta(seconds=60)
Labels = Mapping[str, str]


class PlannedAlert(Written):
    """One row's alert in the words of the site."""

    row: str
    #: the document's name of it
    as_: str
    severity: str
    #: the document's channels -> the site's receivers; without any it is the integration of that name
    channels: dict[str, list[str]]
    #: from the fault in place to the notification
    within: Duration
    #: from the recovery to its end
    resolved: Duration
    #: without any: what carries the label `failure: ROW`
    names: list[str]
    #: what else the fault may raise
    also: list[str] = []
    #: of all alerts of this environment
    labels: dict[str, str] = {}
    #: the probes that look at it
    prometheus: bool
    alertmanagers: list[str]
    catcher: bool

    @property
    def groups(self) -> list[list[str]]:
        """The probes that tell what is raised; of each group one that answers is enough."""
        return [group for group in ([PROMETHEUS] if self.prometheus else [], self.alertmanagers) if group]

    @property
    def sources(self) -> list[str]:
        return [name for group in self.groups for name in group]

    @property
    def probes(self) -> list[str]:
        """All that look at it."""
        return [*self.sources, *([CAUGHT] if self.catcher else [])]

    def wanted(self, probe: str) -> dict[str, Any]:
        """What a probe is to look for, beside where."""
        return {} if probe != RULES else {"names": self.names} if self.names else {"failure": self.row}

    def elsewhere(self, labels: Labels) -> bool:
        """Of another environment. One that does not say of which may be of this one: Prometheus attaches its external
        labels only when it sends an alert."""
        return any(labels.get(name, value) != value for name, value in self.labels.items())

    def mine(self, labels: Labels) -> bool:
        if self.elsewhere(labels):
            return False
        if self.names:
            return labels.get("alertname") in self.names
        return labels.get("failure") == self.row

    def noise(self, labels: Labels) -> bool:
        return not (self.mine(labels) or self.elsewhere(labels)) and labels.get("alertname") not in self.also

    def channel(self, receiver: str, integration: str) -> str:
        """What the document calls it; the site's own words where the document has none."""
        for channel, names in self.channels.items():
            if receiver in names or f"{receiver}/{integration}" in names:
                return channel
        return integration if not self.channels.get(integration) else f"{receiver}/{integration}"

    def routed(self, receivers: Iterable[str], known: Mapping[str, list[str]]) -> set[str]:
        """The channels that these receivers reach, by their integrations in the running configuration."""
        return {self.channel(name, integration) for name in receivers for integration in known.get(name, ())}

    def integrations(self, channel: str, receivers: Iterable[str], known: Mapping[str, list[str]]) -> set[str]:
        return {i for name in receivers for i in known.get(name, ()) if self.channel(name, i) == channel}


def planned(row: str, alert: Alert, said: Alerts, within: timedelta, also: list[str]) -> PlannedAlert:
    return PlannedAlert(
        row=row,
        as_=alert.as_,
        severity=said.severities.get(alert.severity, alert.severity),
        channels={channel: said.channels.get(channel, []) for channel in alert.channels},
        within=within,
        resolved=RESOLVED,
        names=said.rules.get(row, []),
        also=also,
        labels=said.labels,
        prometheus=said.prometheus is not None,
        alertmanagers=[name for name, kind, _ in probes(said) if kind == "alertmanager"],
        catcher=said.catcher is not None,
    )


def probes(said: Alerts) -> Iterator[tuple[str, str, Place]]:
    """Name, type and place of each probe that looks at alerts."""
    if said.prometheus is not None:
        yield PROMETHEUS, "prometheus-alerts", said.prometheus
        yield RULES, "prometheus-rules", said.prometheus
    for number, place in enumerate(said.alertmanager, 1):
        yield (ALERTMANAGER if len(said.alertmanager) == 1 else f"{ALERTMANAGER}-{number}"), "alertmanager", place
    if said.catcher is not None:
        yield CAUGHT, "caught", said.catcher


def told_of(value: Any) -> Sequence[Mapping[str, Any]]:
    """The alerts in what a probe has told: Prometheus' list, or what an Alertmanager has; none in what it has not."""
    return value if isinstance(value, list) else value["alerts"] if value else ()


def named(labels: Labels) -> str:
    """`ContainerCrash (engine-crash)`"""
    more = labels.get("failure") or labels.get("instance")
    return labels.get("alertname", "an alert without a name") + (f" ({more})" if more else "")
