"""A workload runs as fewer copies than it should, or as none. In place when no more serve than asked, and the platform
is not to start others: such as are ending may still be there, with their grace."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Replicas, Scalable
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.errors import Gone, Refused, TargetError


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Scale(Fault[Scalable]):
    """`to`: copies that are left."""

    needs: ClassVar = Scalable
    on: ClassVar = "service"
    to: Annotated[int, Field(ge=0)] = 0

    def prepare(self, target: Scalable, sign: str) -> Receipt:
        if not target.alive():
            raise Gone(f"{target.reference} is gone already")
        if reason := target.lacks.get("Scalable"):
            raise TargetError(reason)
        usual = target.replicas()
        if min(usual.desired, usual.ready) <= self.to:
            raise Refused(f"{_told(usual)}: {self.to} could not be told from that")
        target.arm(sign)
        return {"sign": sign, "undisturbed": usual.desired, "by_hand": target.by_hand("Scalable", sign)}

    def inject(self, target: Scalable, receipt: Receipt) -> None:
        target.scale(receipt["sign"], receipt["undisturbed"], self.to, expiry(receipt))

    def in_place(self, target: Scalable, receipt: Receipt) -> Presence:
        now = target.replicas()
        evidence = f"{_told(now)} (undisturbed {receipt['undisturbed']} are wanted)"
        return Presence(now.desired == self.to and now.ready <= self.to, evidence)

    def revert(self, target: Scalable, receipt: Receipt) -> None:
        target.unscale(receipt["sign"])


def _told(replicas: Replicas) -> str:
    return f"{replicas.there} are there, {replicas.ready} ready, {replicas.desired} wanted"


FAULT = Scale
