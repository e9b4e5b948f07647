"""What Prometheus and Alertmanager say of alerts, as plain data that changes only when something has happened."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.linting_alertmanager import inhibition, receiver
from veloz_chaos.core.linting_config import Gathering
from veloz_chaos.core.linting_setup import Inhibition
from veloz_chaos.core.linting_yaml import read
from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.errors import InvalidFile
from veloz_chaos.mechanisms import exposition, http
from veloz_chaos.mechanisms.monitoring_api import Server

PAGE = 16 << 20  # bytes of one answer
#: Attempts to notify, and those of them that failed. (`alertmanager_notifications_total` counts what was begun: it
#: rises, and no failure with it, while a channel that is dead is tried again and again.)
SENT, FAILED = "alertmanager_notification_requests_total", "alertmanager_notification_requests_failed_total"


class Unreadable(ValueError):
    """Not the API that it should be; says what came instead."""


@dataclass(config=ConfigDict(extra="forbid"))
class Site(Probe):
    """What looks at one of them: where it is, and what it wants to be shown; as `Place` in an environment's alerts."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    #: certificates to trust instead of the system's
    ca: str | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        http.check(self.url)

    async def open(self, eye: Eye) -> None:
        await Server.of(self, eye.fill).open()

    async def get(self, path: str, eye: Eye) -> Seen:
        return await Server.of(self, eye.fill).ask(path, most=PAGE)


def failed(seen: Seen) -> str:
    """Why an answer is none; empty if it is one."""
    return seen.error or ("" if seen.status == 200 else f"HTTP {seen.status}")


def prometheus_alerts(told: Any) -> list[dict[str, Any]]:
    """Of `/api/v1/alerts`. Raises Unreadable."""
    try:
        alerts = [
            {"labels": dict(one["labels"]), "state": str(one["state"]), "since": str(one.get("activeAt", ""))}
            for one in told["data"]["alerts"]
        ]
    except (TypeError, KeyError, ValueError):
        raise Unreadable("not Prometheus' list of alerts") from None
    return sorted(alerts, key=_order)


def prometheus_rules(told: Any) -> list[dict[str, Any]]:
    """The alerting ones of `/api/v1/rules`. Raises Unreadable."""
    try:
        return [
            {"name": str(one["name"]), "labels": dict(one.get("labels") or {})}
            for group in told["data"]["groups"]
            for one in group["rules"]
            if one["type"] == "alerting"
        ]
    except (TypeError, KeyError, ValueError):
        raise Unreadable("not Prometheus' list of rules") from None


def alertmanager_alerts(told: Any) -> list[dict[str, Any]]:
    """Of `/api/v2/alerts`. Raises Unreadable."""
    try:
        alerts = [
            {
                "labels": dict(one["labels"]),
                "state": str(one["status"]["state"]),
                "silenced": [str(name) for name in one["status"].get("silencedBy") or ()],
                "inhibited": [str(name) for name in one["status"].get("inhibitedBy") or ()],
                "receivers": sorted(str(receiver["name"]) for receiver in one["receivers"]),
                "since": str(one.get("startsAt", "")),
            }
            for one in told
        ]
    except (TypeError, KeyError, ValueError):
        raise Unreadable("not Alertmanager's list of alerts") from None
    return sorted(alerts, key=_order)


def _order(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    return sorted(one["labels"].items())


def silences(told: Any) -> list[dict[str, Any]]:
    """Those of `/api/v2/silences` that are active. Raises Unreadable."""
    try:
        return [
            {
                "id": str(one["id"]),
                "comment": str(one.get("comment", "")),
                "matchers": [[str(m["name"]), _operator(m), str(m["value"])] for m in one["matchers"]],
            }
            for one in told
            if one["status"]["state"] == "active"
        ]
    except (TypeError, KeyError, ValueError):
        raise Unreadable("not Alertmanager's list of silences") from None


def _operator(matcher: Mapping[str, Any]) -> str:
    equal, regex = matcher.get("isEqual", True), matcher.get("isRegex")
    return ("=~" if regex else "=") if equal else ("!~" if regex else "!=")


def counts(page: str, name: str, integrations: Collection[str]) -> dict[str, int]:
    """A counter by these integrations; one that is missing has none. Raises Unreadable."""
    found: dict[str, int] = {}
    try:
        for series, sample in exposition.labelled(page, name):
            integration = dict(series.labels).get("integration", "")
            found[integration] = found.get(integration, 0) + int(sample.value)
    except ValueError as error:
        raise Unreadable(str(error)) from None
    return {integration: count for integration, count in sorted(found.items()) if integration in integrations}


class Setup(NamedTuple):
    """What is looked at of Alertmanager's configuration."""

    #: name -> its integrations
    receivers: dict[str, list[str]]
    #: {source, target, equal}; a matcher is [label, operator, value]
    inhibitions: list[dict[str, Any]]


@lru_cache(maxsize=8)
def setup(config: str) -> Setup:
    """Raises Unreadable. An inhibition that Alertmanager can read and we can't is left out."""
    try:
        (root,) = read(config, "alertmanager.yml")
        receivers = [receiver(node) for node in root["receivers"].items()]
        inhibitions = Gathering().each(root["inhibit_rules"].items(), inhibition)
    except (InvalidFile, ValueError):
        raise Unreadable("its configuration can't be read") from None
    if not receivers:
        raise Unreadable("its configuration can't be read")
    return Setup({one.name: sorted({*one.integrations}) for one in receivers}, [_plain(one) for one in inhibitions])


def _plain(one: Inhibition) -> dict[str, Any]:
    source, target = ([[m.label, m.op, m.value] for m in side] for side in (one.source, one.target))
    return {"source": source, "target": target, "equal": list(one.equal)}
