"""What `lint alerts` looks at, from wherever each part is: the running servers of an environment, or files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from veloz_chaos.core import linting_routes
from veloz_chaos.core.environment import Alerts, Place
from veloz_chaos.core.linting_exports import Exports
from veloz_chaos.core.linting_setup import Alertmanager, Finding, Prometheus, Site
from veloz_chaos.core.linting_whole import Whole
from veloz_chaos.core.matrix import ResponseMatrix
from veloz_chaos.engine import linting_files, linting_live, linting_tools
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.errors import UsageError
from veloz_chaos.mechanisms.monitoring_api import PATIENCE, Server


@dataclass(frozen=True)
class Files:
    """What is given instead of running servers; nothing: they are asked."""

    rules: Sequence[str] = ()
    prometheus: Path | None = None
    alertmanager: Path | None = None
    metrics: Sequence[str] = ()

    @property
    def of_prometheus(self) -> bool:
        return bool(self.rules or self.prometheus)

    def any(self) -> bool:
        return bool(self.of_prometheus or self.alertmanager or self.metrics)


def gather(files: Files, alerts: Alerts, matrix: ResponseMatrix) -> tuple[Whole, list[Finding]]:
    """Everything, and what was found on the way. Raises UsageError, InvalidFile, Unavailable."""
    if files.metrics and not files.of_prometheus:
        raise UsageError("--metrics says what targets export where rules are files: add --rules or --prometheus-config")
    if not files.of_prometheus and alerts.prometheus is None:
        raise UsageError(
            "there are no rules to look at: give --rules or --prometheus-config, or an environment that says "
            "alerts: {prometheus: URL}"
        )
    return asyncio.run(_gathered(files, alerts, matrix))


async def _gathered(files: Files, alerts: Alerts, matrix: ResponseMatrix) -> tuple[Whole, list[Finding]]:
    secrets = Secrets()
    manager, found = await _manager(files, alerts, secrets)
    refused = asyncio.create_task(_refused_routes(files, manager))
    if files.of_prometheus:
        written = await asyncio.to_thread(linting_files.prometheus, files.prometheus, files.rules, files.metrics)
        prometheus, exports, found = written.prometheus, written.exports, [*found, *written.findings]
        found += await linting_tools.prometheus(files.prometheus, written.rules, prometheus.rules, prometheus.literals)
    else:
        asked = linting_routes.names(manager) if manager else []
        prometheus, exports = await _running(alerts, asked, secrets)
    site = Site(matrix, alerts.severities, alerts.channels, alerts.rules)
    return Whole(prometheus, exports, manager, site), [*found, *await refused]


async def _refused_routes(files: Files, manager: Alertmanager | None) -> list[Finding]:
    if files.alertmanager is None or manager is None:
        return []
    return await linting_tools.alertmanager(files.alertmanager, manager.literals)


async def _manager(files: Files, alerts: Alerts, secrets: Secrets) -> tuple[Alertmanager | None, list[Finding]]:
    if files.alertmanager is not None:
        return linting_files.manager(files.alertmanager), []
    if not alerts.alertmanager:
        return None, [Finding("routes-unread", "note", "Alertmanager", "its routes were not looked at: none is named",
                              "give --alertmanager-config, or alerts: {alertmanager: URL}")]  # fmt: skip
    servers = [_server("Alertmanager", place, alerts, secrets) for place in alerts.alertmanager]
    return await linting_live.manager(servers)


async def _running(alerts: Alerts, asked: Sequence[str], secrets: Secrets) -> tuple[Prometheus, Exports]:
    assert alerts.prometheus is not None
    server = _server("Prometheus", alerts.prometheus, alerts, secrets)
    prometheus = await linting_live.prometheus(server)
    return prometheus, await linting_live.exports(server, prometheus, asked)


def _server(what: str, place: Place, alerts: Alerts, secrets: Secrets) -> Server:
    """Looks are short; these questions are long, and asked once."""
    return Server.of(place, secrets.fill, what, max(PATIENCE, alerts.timeout.total_seconds()))
