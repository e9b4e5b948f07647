"""What the workload knows of itself: `json` holds the latest counts of its orders.

`{sent, accepted, refused, unknown, cancels, cancels_accepted, in_flight, refusal, doubt, lag: {p50_ms, p99_ms,
max_ms}}`, told every 100 ms by the process that places them.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Workload(Probe):
    """`error`: no workload (none runs, or it has told nothing yet)."""

    default_ok: ClassVar[str] = "error == '' && json.accepted > 0"

    async def look(self, eye: Eye) -> Seen:
        counts = eye.workload()
        return Seen(error="no workload") if counts is None else Seen(json=dict(counts))


PROBE = Workload
