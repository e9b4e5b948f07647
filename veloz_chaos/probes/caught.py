"""Ask a `veloz-chaos catch` what it was notified of since the run began; each look tells what is new since the last.

`value`: a list of {n, at, kind, name, action, alerts, failures, title}; `at` is the catcher's own time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.mechanisms import monitoring
from veloz_chaos.mechanisms.monitoring import Site

#: Of one look, so that a storm does not fill the journal.
MOST = 1000
#: No notification has a number like this: asked for what comes after it, a catcher says which was the last.
BEYOND = 10**17


@dataclass(config=ConfigDict(extra="forbid"))
class Caught(Site):
    """`error` as of the probe http, or `HTTP 503`, or that it is no catcher."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._last: int | None = None

    async def look(self, eye: Eye) -> Seen:
        """Looks that overlap may tell the same twice."""
        after = BEYOND if self._last is None else self._last
        seen = await self._told(after, eye)
        if self._last is not None and not seen.error and seen.json < after:  # it began anew
            seen = await self._told(0, eye)
        if not seen.error:
            self._last = seen.json
        return seen

    async def _told(self, after: int, eye: Eye) -> Seen:
        """`json` is the number of the last one that there is."""
        seen = await self.get(f"/api/notifications?after={after}", eye)
        if why := monitoring.failed(seen):
            return replace(seen, error=why)
        try:
            last, news = int(seen.json["last"]), [_one(one) for one in seen.json["notifications"]]
        except (TypeError, KeyError, ValueError):
            return replace(seen, error="not a veloz-chaos catch")
        return Seen(status=seen.status, json=last, value=news[:MOST])


def _one(told: Any) -> dict[str, Any]:
    return {
        "n": int(told["n"]),
        "at": int(told["at"]),
        "kind": str(told["kind"]),
        "name": str(told["name"]),
        "action": str(told["action"]),
        "alerts": [str(name) for name in told["alerts"]],
        "failures": [str(name) for name in told["failures"]],
        "title": str(told["title"])[:200],
    }


PROBE = Caught
