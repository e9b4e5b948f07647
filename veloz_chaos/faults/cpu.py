"""The target's CPU allowance is used up. In place when most of what was asked is measured to be in use."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Saturable
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.core.size import Share
from veloz_chaos.errors import Gone

#: The part of the asked load that must be seen in use. A machine that is busy elsewhere may not give the whole
#: allowance: then it counts that the allowance was wanted at every moment.
SEEN = 0.85
#: The part of it that must be used by us: else it was in use without us.
OURS = 0.1


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Cpu(Fault[Saturable]):
    needs: ClassVar = Saturable
    on: ClassVar = "service"
    load: Share = 1.0

    def prepare(self, target: Saturable, sign: str) -> Receipt:
        if not target.alive():
            raise Gone(f"{target.reference} is dead already")
        undisturbed = target.cpu_use(sign).share
        return {"sign": sign, "undisturbed": undisturbed, "by_hand": target.by_hand("Saturable", sign)}

    def inject(self, target: Saturable, receipt: Receipt) -> None:
        target.saturate(receipt["sign"], self.load, expiry(receipt))

    def in_place(self, target: Saturable, receipt: Receipt) -> Presence:
        use = target.cpu_use(receipt["sign"])
        usual = f"{use.ours:.2f} by us{', never enough' if use.full else ''}; undisturbed {receipt['undisturbed']:.0%}"
        taken = use.share >= SEEN * self.load or (use.full and self.load == 1)
        return Presence(
            taken and use.ours >= OURS * self.load * use.limit, f"{use.used:.2f} of {use.limit:g} CPUs in use, {usual}"
        )

    def revert(self, target: Saturable, receipt: Receipt) -> None:
        target.unsaturate(receipt["sign"])


FAULT = Cpu
