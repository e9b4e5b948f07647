"""A share of what is sent vanishes. In place when as many of our own pings are lost as that share makes likely, each
over a new connection."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.binomial import LEAST, enough, plausible
from veloz_chaos.core.capability import Lossy
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.core.size import Share, percent
from veloz_chaos.core.undisturbed import PATIENCE
from veloz_chaos.errors import Refused


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Loss(Fault[Lossy]):
    needs: ClassVar = Lossy
    on: ClassVar = "link"
    share: Share

    def prepare(self, target: Lossy, sign: str) -> Receipt:
        if self.share < LEAST:
            raise Refused(f"a loss of {percent(self.share)} cannot be seen; ask for {percent(LEAST)} or more")
        target.arm(sign)
        usual = target.pass_often(enough(self.share), PATIENCE)
        if lost := [passage.outcome for passage in usual if passage.outcome != "answered"]:
            told = f"{len(lost)} of {len(usual)} pings are {lost[0]} undisturbed"
            raise Refused(f"{target.reference}: {told}; mend the link first")
        slowest = max(passage.seconds for passage in usual)
        return {
            "sign": sign, "undisturbed": slowest, "silence": max(0.25, 10 * slowest),
            "by_hand": target.by_hand("Lossy", sign),
        }  # fmt: skip

    def inject(self, target: Lossy, receipt: Receipt) -> None:
        target.lose(receipt["sign"], self.share, expiry(receipt))

    def in_place(self, target: Lossy, receipt: Receipt) -> Presence:
        passages = target.pass_often(enough(self.share), timedelta(seconds=receipt["silence"]))
        sent = [passage for passage in passages if passage.outcome in ("answered", "silent")]
        lost = sum(passage.outcome == "silent" for passage in sent)
        if len(sent) < len(passages):
            return Presence(None, f"{len(passages) - len(sent)} of {len(passages)} pings were reset or refused")
        usual = f"undisturbed all answered within {receipt['undisturbed'] * 1000:.3g} ms"
        evidence = f"{lost} of {len(sent)} pings lost, asked {percent(self.share)} ({usual})"
        return Presence(lost > 0 and plausible(lost, len(sent), self.share), evidence)

    def revert(self, target: Lossy, receipt: Receipt) -> None:
        target.unlose(receipt["sign"])


FAULT = Loss
