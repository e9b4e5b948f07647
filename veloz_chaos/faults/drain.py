"""A machine is emptied, as before its maintenance: it takes nobody new, and whoever may be disturbed is sent elsewhere.
In place when nobody is left there whom that concerns."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Drainable, Tenancy
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.errors import Gone, Refused, TargetError


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Drain(Fault[Drainable]):
    needs: ClassVar = Drainable
    on: ClassVar = "service"

    def prepare(self, target: Drainable, sign: str) -> Receipt:
        if not target.alive():
            raise Gone(f"{target.reference} is gone already")
        if reason := target.lacks.get("Drainable"):
            raise TargetError(reason)
        usual = target.tenancy()
        if not usual.open or not usual.left:
            raise Refused(f"{_told(usual)}: a drain could not be told from that")
        target.arm(sign)
        return {"sign": sign, "undisturbed": usual.left, "by_hand": target.by_hand("Drainable", sign)}

    def inject(self, target: Drainable, receipt: Receipt) -> None:
        target.drain(receipt["sign"], expiry(receipt))

    def in_place(self, target: Drainable, receipt: Receipt) -> Presence:
        now = target.tenancy()
        return Presence(not now.open and not now.left, f"{_told(now)} (undisturbed {receipt['undisturbed']})")

    def revert(self, target: Drainable, receipt: Receipt) -> None:
        target.undrain(receipt["sign"])


def _told(tenancy: Tenancy) -> str:
    return f"{tenancy.left} pods are there that can be moved, new ones are {'' if tenancy.open else 'not '}taken"


FAULT = Drain
