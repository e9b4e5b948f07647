"""Names are not found, or nobody says. In place when a lookup of our own through the link is answered so."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Lookup, Resolvable
from veloz_chaos.core.effect import CONFIG, DnsEffect
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.core.undisturbed import PATIENCE
from veloz_chaos.errors import Refused


@dataclass(frozen=True, config=CONFIG)
class Dns(DnsEffect, Fault[Resolvable]):
    """The keys are those of the effect."""

    needs: ClassVar = Resolvable
    on: ClassVar[Literal["service", "link"]] = "link"

    def prepare(self, target: Resolvable, sign: str) -> Receipt:
        target.arm(sign)
        usual = target.look_up(self, PATIENCE)
        if usual.outcome != "answered":
            raise Refused(f"{target.reference} does not answer undisturbed ({usual.outcome}); mend the link first")
        if usual.rcode == self.answer:
            raise Refused(f"the name is answered {usual.rcode} undisturbed: the fault could not be told from that")
        return {
            "sign": sign, "undisturbed": _told(usual), "silence": max(0.25, 10 * usual.seconds),
            "by_hand": target.by_hand("Resolvable", sign),
        }  # fmt: skip

    def inject(self, target: Resolvable, receipt: Receipt) -> None:
        target.mislead(receipt["sign"], self, expiry(receipt))

    def in_place(self, target: Resolvable, receipt: Receipt) -> Presence:
        lookup = target.look_up(self, timedelta(seconds=receipt["silence"]))
        evidence = f"{_told(lookup)} (undisturbed {receipt['undisturbed']})"
        if self.answer == "none":
            return Presence({"silent": True, "answered": False}.get(lookup.outcome), evidence)
        if lookup.outcome != "answered":
            return Presence(None, f"no answer to measure: {evidence}")
        return Presence(lookup.rcode == self.answer, evidence)

    def revert(self, target: Resolvable, receipt: Receipt) -> None:
        target.unmislead(receipt["sign"])


def _told(lookup: Lookup) -> str:
    if lookup.outcome != "answered":
        return lookup.outcome
    return ", ".join(lookup.addresses) or lookup.rcode


FAULT = Dns
