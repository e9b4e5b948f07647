"""Connections are reset after they are first used: the request may have arrived, its answer never does."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Resettable
from veloz_chaos.core.duration import Duration
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.core.undisturbed import round_trip


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Reset(Fault[Resettable]):
    needs: ClassVar = Resettable
    on: ClassVar = "link"
    after: Duration = timedelta(0)

    def prepare(self, target: Resettable, sign: str) -> Receipt:
        target.arm(sign)
        usual = round_trip(target)
        return {
            "sign": sign, "undisturbed": usual.median, "silence": usual.silence.total_seconds(),
            "by_hand": target.by_hand("Resettable", sign),
        }  # fmt: skip

    def inject(self, target: Resettable, receipt: Receipt) -> None:
        target.reset(receipt["sign"], self.after, expiry(receipt))

    def in_place(self, target: Resettable, receipt: Receipt) -> Presence:
        passage = target.pass_through(1, 2 * self.after + timedelta(seconds=receipt["silence"]))
        evidence = f"{passage.outcome} after {passage.seconds * 1000:.3g} ms (asked: reset after {self.after})"
        return Presence({"reset": True, "answered": False}.get(passage.outcome), evidence)

    def revert(self, target: Resettable, receipt: Receipt) -> None:
        target.unreset(receipt["sign"])


FAULT = Reset
