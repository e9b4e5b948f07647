"""Ask Prometheus what it raises: `value` is the list of {labels, state, since}, in the order of their labels."""

from __future__ import annotations

from dataclasses import replace

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.mechanisms import monitoring
from veloz_chaos.mechanisms.monitoring import Site


@dataclass(config=ConfigDict(extra="forbid"))
class PrometheusAlerts(Site):
    """`state` is pending or firing; `since` is Prometheus' own time. `error` as of the probe http, or `HTTP 503`, or
    that it is not Prometheus."""

    async def look(self, eye: Eye) -> Seen:
        seen = await self.get("/api/v1/alerts", eye)
        if why := monitoring.failed(seen):
            return replace(seen, error=why)
        try:
            return Seen(status=seen.status, value=monitoring.prometheus_alerts(seen.json))
        except monitoring.Unreadable as error:
            return replace(seen, error=str(error))


PROBE = PrometheusAlerts
