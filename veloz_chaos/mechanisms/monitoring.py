"""What Prometheus and Alertmanager say of alerts, as plain data that changes only when something has happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.mechanisms import exposition, http

PAGE = 16 << 20  # bytes of one answer
SENT, FAILED = "alertmanager_notifications_total", "alertmanager_notifications_failed_total"


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
        await self._way(eye).open(self.url)

    async def get(self, path: str, eye: Eye) -> Seen:
        """One request below a URL that may have a prefix."""
        whole = http.filled(self.url, eye.fill(self.url).rstrip("/") + path)
        told = {name: eye.fill(value) for name, value in self.headers.items()}
        return await http.ask(whole, http.get(self.url, whole, told), self._way(eye), PAGE)

    def _way(self, eye: Eye) -> http.Way:
        return http.Way(self.ca and eye.fill(self.ca), self.verify)


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
                "matchers": [
                    {
                        "name": str(m["name"]),
                        "value": str(m["value"]),
                        "regex": bool(m.get("isRegex")),
                        "equal": bool(m.get("isEqual", True)),
                    }
                    for m in one["matchers"]
                ],
            }
            for one in told
            if one["status"]["state"] == "active"
        ]
    except (TypeError, KeyError, ValueError):
        raise Unreadable("not Alertmanager's list of silences") from None


def counts(page: str, name: str) -> dict[str, int]:
    """A counter by its integration. Raises Unreadable."""
    found: dict[str, int] = {}
    try:
        for series, sample in exposition.labelled(page, name):
            integration = dict(series.labels).get("integration", "")
            found[integration] = found.get(integration, 0) + int(sample.value)
    except ValueError as error:
        raise Unreadable(str(error)) from None
    return {integration: count for integration, count in sorted(found.items()) if count}


@lru_cache(maxsize=8)
def receivers(config: str) -> Mapping[str, list[str]]:
    """Receiver -> its integrations, in Alertmanager's configuration. Raises Unreadable."""
    import yaml

    try:
        told = yaml.safe_load(config)
        return {
            str(one["name"]): sorted(k.removesuffix("_configs") for k, v in one.items() if k.endswith("_configs") and v)
            for one in told["receivers"]
        }
    except (yaml.YAMLError, TypeError, KeyError, AttributeError):
        raise Unreadable("its configuration can't be read") from None
