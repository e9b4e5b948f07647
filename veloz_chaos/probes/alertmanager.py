"""Ask Alertmanager what it has, whom it tells, and how often it has told: four requests at once, one answer.

`value`: `alerts` ({labels, state, silenced, inhibited, receivers, since}), `receivers` (name -> its integrations) and
`inhibitions` ({source, target, equal}) as the running configuration has them, `sent` and `failed` (attempts to notify,
and those that failed, by integration), `silences` (the active ones). A matcher is [label, operator, value].
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.mechanisms import monitoring
from veloz_chaos.mechanisms.monitoring import Site

PATHS = ("/api/v2/alerts", "/api/v2/silences", "/api/v2/status", "/metrics")


@dataclass(config=ConfigDict(extra="forbid"))
class Alertmanager(Site):
    """`error` as of the probe http, or `HTTP 503`, or that it is not Alertmanager."""

    async def look(self, eye: Eye) -> Seen:
        alerts, silences, status, page = answers = await asyncio.gather(*(self.get(path, eye) for path in PATHS))
        for seen in answers:
            if why := monitoring.failed(seen):
                return replace(seen, error=why)
        try:
            setup = monitoring.setup(status.json["config"]["original"])
            used = {integration for integrations in setup.receivers.values() for integration in integrations}
            value = {
                "alerts": monitoring.alertmanager_alerts(alerts.json),
                "receivers": setup.receivers,
                "inhibitions": setup.inhibitions,
                "sent": monitoring.counts(page.text, monitoring.SENT, used),
                "failed": monitoring.counts(page.text, monitoring.FAILED, used),
                "silences": monitoring.silences(silences.json),
            }
        except (TypeError, KeyError):
            return Seen(status=status.status, error="not Alertmanager's status")
        except monitoring.Unreadable as error:
            return Seen(status=status.status, error=str(error))
        return Seen(status=alerts.status, value=value)


PROBE = Alertmanager
