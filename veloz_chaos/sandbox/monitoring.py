"""The monitoring beside a sandbox: a real Prometheus, a real Alertmanager, and a catcher that the latter notifies.

They are processes of the supervisor like the services, and no programs of ours: what they are started with, how one
sees that they serve, and that all of it is watched.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import plain_http
from veloz_chaos.sandbox.settings import LOOPBACK, MONITORS, Settings

#: Its folder in the sandbox's directory, with the files that were filled in and all data.
FOLDER = "monitoring"
#: The names that the programs have, Debian's first.
PROMETHEUS = ("prometheus",)
ALERTMANAGER = ("prometheus-alertmanager", "alertmanager")
REMEDY = "apt-get install prometheus prometheus-alertmanager; or do without --monitoring and the flaws alert-…"
READY_PATHS = {"prometheus": "/-/ready", "alertmanager": "/-/ready", "catcher": "/api/notifications"}
LOOK_EVERY, ANSWERS_WITHIN = 0.05, 1.0


class Programs(NamedTuple):
    prometheus: str
    alertmanager: str


def programs() -> Programs | None:
    """Where they are, if both are installed."""
    prometheus, alertmanager = _first(PROMETHEUS), _first(ALERTMANAGER)
    return Programs(prometheus, alertmanager) if prometheus and alertmanager else None


def require() -> Programs:
    """Raises UsageError where one is not installed."""
    found = programs()
    if found is None:
        known = {"prometheus": PROMETHEUS, "alertmanager": ALERTMANAGER}
        missing = " and no ".join(name for name, names in known.items() if not _first(names))
        raise UsageError(f"there is no {missing} on PATH; {REMEDY}")
    return found


def _first(names: Sequence[str]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def command(name: str, settings: Settings) -> list[str]:
    """What one of them is started by. Raises UsageError."""
    folder, port = settings.directory / FOLDER, settings.ports[name]
    if name == "catcher":
        return catcher(port)
    if name == "alertmanager":
        return [
            require().alertmanager,
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / name}",
            *_web(settings, port),
            "--cluster.listen-address=",
            "--log.level=warn",
        ]
    return [
        require().prometheus,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / name}",
        "--storage.tsdb.retention.time=1d",
        *_web(settings, port),
        # told again so often; and for four times as long an alert is believed when nobody tells it any more
        "--rules.alert.resend-delay=5s",
        "--log.level=warn",
    ]


def _web(settings: Settings, port: int) -> list[str]:
    """From outside a container both are reached somewhere else: what stands in notifications is its own name then."""
    outside = [] if settings.contained else [f"--web.external-url=http://{LOOPBACK}:{port}"]
    return [f"--web.listen-address={settings.listen}:{port}", *outside]


def catcher(port: int) -> list[str]:
    """Ours: it listens to what the Alertmanager would have sent to Slack and PagerDuty."""
    return [sys.executable, "-m", "veloz_chaos", "catch", "--listen", f"{LOOPBACK}:{port}"]


async def until_ready(name: str, settings: Settings) -> None:
    """Waits for as long as it takes."""
    while await plain_http.get_status(settings.ports[name], READY_PATHS[name], ANSWERS_WITHIN) != 200:
        await asyncio.sleep(LOOK_EVERY)


def urls(ports: Mapping[str, int]) -> dict[str, str]:
    """Where each is reached; none where nothing is monitored."""
    return {name: f"http://{LOOPBACK}:{ports[name]}" for name in reversed(MONITORS) if name in ports}


def watches(targets: Any, rules: Any) -> bool:
    """By Prometheus's own word: every target answers, every rule was evaluated, and all is quiet."""
    scraped = targets["data"]["activeTargets"]
    evaluated = [rule for group in rules["data"]["groups"] for rule in group["rules"]]
    quiet = all(rule["health"] == "ok" and rule["state"] == "inactive" for rule in evaluated)
    return bool(scraped and evaluated) and all(one["health"] == "up" for one in scraped) and quiet
