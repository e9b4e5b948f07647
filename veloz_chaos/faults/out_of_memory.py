"""The kernel kills the target at its own memory limit. In place when the kernel counted that and the target is dead."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Exhaustible
from veloz_chaos.core.duration import Duration
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.errors import Gone

#: A ramp must end well before a run gives up on finding the fault in place.
LONGEST = timedelta(seconds=8)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OutOfMemory(Fault[Exhaustible]):
    """`ramp`: how long the memory takes to rise to the limit."""

    needs: ClassVar = Exhaustible
    on: ClassVar = "service"
    held: ClassVar = False
    ramp: Duration = timedelta(seconds=2)

    @field_validator("ramp")
    @classmethod
    def _ends_in_time(cls, ramp: timedelta) -> timedelta:
        if ramp > LONGEST:
            raise ValueError(f"the ramp may take {LONGEST.total_seconds():g}s at the longest")
        return ramp

    def prepare(self, target: Exhaustible, sign: str) -> Receipt:
        if not target.alive():
            raise Gone(f"{target.reference} is dead already")
        target.arm(sign)
        return {"sign": sign, "kills": target.oom_kills()}

    def inject(self, target: Exhaustible, receipt: Receipt) -> None:
        target.exhaust(receipt["sign"], self.ramp, expiry(receipt))

    def in_place(self, target: Exhaustible, receipt: Receipt) -> Presence:
        if target.alive():
            return Presence(False, f"{target.reference} is alive")
        if receipt["kills"] is None:
            return Presence(True, f"{target.reference} is dead (emulated: no kernel count to ask)")
        counted = (target.oom_kills() or 0) - receipt["kills"]
        return Presence(counted > 0, f"{target.reference} is dead; the kernel counts {counted} kills for memory")


FAULT = OutOfMemory
