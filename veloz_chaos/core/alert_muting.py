"""What would keep an alert that is yet to come from being told: silences and inhibitions, as Alertmanager has them.

Only what is sure counts: of the alert to come no more is known than the labels that the row and the environment say,
and those that its rule attaches; of several rules one that is still told is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from veloz_chaos.core.alerts import PlannedAlert, named
from veloz_chaos.core.linting_labels import Fit, Labels, Matcher
from veloz_chaos.core.linting_routes import mutes
from veloz_chaos.core.linting_setup import Inhibition, braced


def muting(alert: PlannedAlert, value: Mapping[str, Any], rules: Sequence[Mapping[str, Any]] = ()) -> Iterator[str]:
    """What would swallow it, by what the probes alertmanager and prometheus-rules have told."""
    kinds = list(_kinds(alert, rules))
    for silence in value.get("silences", ()):
        if all(kind.fits(_matchers(silence["matchers"])) is Fit.YES for kind in kinds):
            yield f"silence {silence['id']} ({silence['comment']})"
    for said in value.get("inhibitions", ()):
        one = Inhibition(_matchers(said["source"]), _matchers(said["target"]), tuple(said["equal"]))
        for source in _sources(one, kinds, value["alerts"]):
            yield f"the inhibition of {braced(one.target)} by {braced(one.source)}, while {named(source)} is active,"


def _kinds(alert: PlannedAlert, rules: Sequence[Mapping[str, Any]]) -> Iterator[Labels]:
    """What is known of it beforehand; it may have any other label."""
    known = {**alert.labels, "severity": alert.severity}
    said = [{**known, **_static(rule["labels"]), "alertname": rule["name"]} for rule in rules]
    wanted = [labels for labels in said if labels["severity"] == alert.severity]
    unread = [known | {"alertname": name} for name in alert.names] or [known | {"failure": alert.row}]
    for labels in wanted or said or unread:
        yield _labels(labels, others=True)


def _static(labels: Mapping[str, str]) -> dict[str, str]:
    """What Prometheus does not fill in only then."""
    return {name: value for name, value in labels.items() if "{{" not in value}


def _sources(
    one: Inhibition, kinds: Sequence[Labels], there: Sequence[Mapping[str, Any]]
) -> Iterator[Mapping[str, str]]:
    """The alerts that are there and mute it. A silenced one, or one that is muted itself, does so too."""
    sure = all(kind.fits(one.target) is Fit.YES for kind in kinds)
    for other in there if sure else ():
        source = _labels(other["labels"])
        fits = source.fits(one.source)
        if fits is Fit.YES and all(mutes(one, kind, source, fits) is Fit.YES for kind in kinds):
            yield other["labels"]


def _labels(known: Mapping[str, str], *, others: bool = False) -> Labels:
    return Labels({name: frozenset({value}) for name, value in known.items()}, others)


def _matchers(told: Sequence[Sequence[str]]) -> tuple[Matcher, ...]:
    return tuple(Matcher(*one) for one in told)
