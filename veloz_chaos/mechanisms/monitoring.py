"""What Prometheus and Alertmanager say of alerts, as plain data that changes only when something has happened."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.mechanisms import exposition, http

PAGE = 16 << 20  # bytes of one answer
SENT, FAILED = "alertmanager_notifications_total", "alertmanager_notifications_failed_total"


class Unreadable(ValueError):
    """Not the API that it should be; says what came instead."""


async def get(url: str, path: str, headers: Mapping[str, str], way: http.Way, eye: Eye) -> Seen:
    """One request below a URL that may have a prefix."""
    whole = http.filled(url, eye.fill(url).rstrip("/") + path)
    told = {name: eye.fill(value) for name, value in headers.items()}
    return await http.ask(whole, http.get(url, whole, told), way, PAGE)


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
