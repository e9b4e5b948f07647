"""The files that Prometheus and Alertmanager of a sandbox are started with: those of environments/monitoring/ with this
sandbox's places, and what a flaw makes of them.

The templates are valid as they are, for processes on the usual ports: each `127.0.0.1:PORT` of a service becomes the
place where it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from veloz_chaos.sandbox.monitoring import FOLDER
from veloz_chaos.sandbox.settings import MONITOR_PORTS, PORTS, Settings

NAMES = ("prometheus.yml", "rules.yml", "alertmanager.yml")
_USUAL = {port: name for name, port in {**PORTS, **MONITOR_PORTS}.items()}
_PLACE = re.compile(r"\b127\.0\.0\.1:(\d+)")
Document = dict[str, Any]


def leave(settings: Settings, templates: Path) -> None:
    """Write them into the sandbox's directory."""
    folder = settings.directory / FOLDER
    folder.mkdir(exist_ok=True)
    places = {name: f"{settings.host(name)}:{port}" for name, port in settings.ports.items()}
    for name in NAMES:
        text = with_places((templates / name).read_text(), places)
        (folder / name).write_text(with_flaws(name, text, settings.flaws))


def with_places(text: str, places: Mapping[str, str]) -> str:
    def present(found: re.Match[str]) -> str:
        name = _USUAL.get(int(found[1]))
        return places[name] if name else found[0]

    return _PLACE.sub(present, text)


def with_flaws(name: str, text: str, flaws: tuple[str, ...]) -> str:
    spoil = [SPOILT[flaw, name] for flaw in flaws if (flaw, name) in SPOILT]
    if not spoil:
        return text
    document = yaml.safe_load(text)
    for change in spoil:
        change(document)
    return yaml.safe_dump(document, sort_keys=False, width=120)


# --- what the flaws change, in every row's rule alike --------------------------------------------------------------

SWAPPED_SEVERITIES = {"critical": "high", "high": "critical", "warning": "info", "info": "warning"}
SWAPPED_RECEIVERS = {"slack": "pagerduty", "pagerduty": "slack", "slack-and-pagerduty": "slack"}
#: Raised with any alert of the table, and about nothing that is wrong.
STORM = {"OrderBacklog": "warning", "QuoteGaps": "warning", "SlowQueries": "high"}


def _rules(document: Document) -> list[Document]:
    return [rule for group in document["groups"] for rule in group["rules"]]


def _swap_severities(document: Document) -> None:
    for rule in _rules(document):
        rule["labels"]["severity"] = SWAPPED_SEVERITIES[rule["labels"]["severity"]]


def _follow_severities(document: Document) -> None:
    """The routes know the wrong words, so that every channel is right."""
    pattern = re.compile(r'(?<=severity=")\w+')
    for route in document["route"]["routes"]:
        route["matchers"] = [
            pattern.sub(lambda found: SWAPPED_SEVERITIES[found[0]], matcher) for matcher in route["matchers"]
        ]


def _swap_receivers(document: Document) -> None:
    for route in (document["route"], *document["route"]["routes"]):
        route["receiver"] = SWAPPED_RECEIVERS[route["receiver"]]


def _rename_metrics(document: Document) -> None:
    """As an exporter's author does, and nobody else hears of it."""
    for rule in _rules(document):
        rule["expr"] = rule["expr"].replace("veloz_", "trading_")


def _hold(document: Document) -> None:
    for rule in _rules(document):
        rule["keep_firing_for"] = "1h"


def _add_storm(document: Document) -> None:
    any_of_ours = 'count(ALERTS{alertstate="firing", failure!=""}) > 0'
    for name, severity in STORM.items():
        summary = {"summary": f"{name}: raised with whatever else is raised"}
        rule = {"alert": name, "expr": any_of_ours, "labels": {"severity": severity}, "annotations": summary}
        document["groups"][-1]["rules"].append(rule)


SPOILT: Mapping[tuple[str, str], Callable[[Document], None]] = {
    ("alert-wrong-severity", "rules.yml"): _swap_severities,
    ("alert-wrong-severity", "alertmanager.yml"): _follow_severities,
    ("alert-wrong-channel", "alertmanager.yml"): _swap_receivers,
    ("alert-never-fires", "rules.yml"): _rename_metrics,
    ("alert-never-resolves", "rules.yml"): _hold,
    ("alert-storm", "rules.yml"): _add_storm,
}
