"""The link is cut: what is sent vanishes, or is answered by resets. In place when a ping meets what was asked."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Severable
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.core.undisturbed import round_trip
from veloz_chaos.errors import TargetError


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Partition(Fault[Severable]):
    needs: ClassVar = Severable
    on: ClassVar = "link"
    how: Literal["silent", "reset"] = "silent"
    connections: Literal["all", "new"] = "all"

    def prepare(self, target: Severable, sign: str) -> Receipt:
        if reason := target.cannot_sever(self.how, self.connections):
            raise TargetError(reason)
        target.arm(sign)
        usual = round_trip(target)
        return {
            "sign": sign, "undisturbed": usual.median, "silence": usual.silence.total_seconds(),
            "by_hand": target.by_hand("Severable", sign),
        }  # fmt: skip

    def inject(self, target: Severable, receipt: Receipt) -> None:
        target.sever(receipt["sign"], self.how, self.connections, expiry(receipt))

    def in_place(self, target: Severable, receipt: Receipt) -> Presence:
        passage = target.pass_through(1, timedelta(seconds=receipt["silence"]))
        usual = f"undisturbed answered after {receipt['undisturbed'] * 1000:.3g} ms"
        evidence = f"{passage.outcome} after {passage.seconds * 1000:.3g} ms ({usual})"
        return Presence(passage.outcome in self._cut(), evidence)

    def revert(self, target: Severable, receipt: Receipt) -> None:
        target.mend(receipt["sign"])

    def _cut(self) -> tuple[str, ...]:
        return ("silent",) if self.how == "silent" else ("reset", "refused")


FAULT = Partition
