"""Ask Prometheus what it raises: `value` is the list of {labels, state, since}, in the order of their labels."""

from __future__ import annotations

from dataclasses import field, replace

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.mechanisms import http, monitoring


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PrometheusAlerts(Probe):
    """`state` is pending or firing; `since` is Prometheus' own time. `error` as of the probe http, or `HTTP 503`, or
    that it is not Prometheus."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    #: certificates to trust instead of the system's
    ca: str | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        http.check(self.url)

    async def open(self, eye: Eye) -> None:
        await self._way(eye).open(self.url)

    async def look(self, eye: Eye) -> Seen:
        seen = await monitoring.get(self.url, "/api/v1/alerts", self.headers, self._way(eye), eye)
        if why := monitoring.failed(seen):
            return replace(seen, error=why)
        try:
            return Seen(status=seen.status, value=monitoring.prometheus_alerts(seen.json))
        except monitoring.Unreadable as error:
            return replace(seen, error=str(error))

    def _way(self, eye: Eye) -> http.Way:
        return http.Way(self.ca and eye.fill(self.ca), self.verify)


PROBE = PrometheusAlerts
