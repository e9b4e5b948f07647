"""Ask Prometheus for the rules of a row's alert: `value` is the list of {name, labels} as the rules have them."""

from __future__ import annotations

from dataclasses import field, replace

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.mechanisms import monitoring
from veloz_chaos.mechanisms.monitoring import Site


@dataclass(config=ConfigDict(extra="forbid"))
class PrometheusRules(Site):
    """Those of these `names`, or else of the label `failure`. `error` as of the probe http, or `HTTP 503`, or that it
    is not Prometheus."""

    names: list[str] = field(default_factory=list)
    failure: str = ""

    async def look(self, eye: Eye) -> Seen:
        seen = await self.get("/api/v1/rules?type=alert", eye)
        if why := monitoring.failed(seen):
            return replace(seen, error=why)
        try:
            rules = monitoring.prometheus_rules(seen.json)
        except monitoring.Unreadable as error:
            return replace(seen, error=str(error))
        return Seen(status=seen.status, value=[one for one in rules if self._wanted(one["name"], one["labels"])])

    def _wanted(self, name: str, labels: dict[str, str]) -> bool:
        return name in self.names if self.names else labels.get("failure") == self.failure


PROBE = PrometheusRules
