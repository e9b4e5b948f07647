"""The target's memory use nears its limit, and is kept there. In place when the use is measured to be that high."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Pressable, Use
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.core.size import Share
from veloz_chaos.errors import Gone, Refused

#: The use may be this much below what was asked, and must be further below it undisturbed.
TOLERANCE, TOLD = 0.03, 0.1
HIGHEST = 0.98


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Memory(Fault[Pressable]):
    needs: ClassVar = Pressable
    on: ClassVar = "service"
    upto: Share = 0.9

    @field_validator("upto")
    @classmethod
    def _below_the_limit(cls, upto: float) -> float:
        if upto > HIGHEST:
            raise ValueError(
                f"write {HIGHEST:.0%} at most: at the limit itself the kernel kills (that is out-of-memory)"
            )
        return upto

    def prepare(self, target: Pressable, sign: str) -> Receipt:
        if not target.alive():
            raise Gone(f"{target.reference} is dead already")
        target.arm(sign)
        usual = target.memory_use()
        if usual.share > self.upto - TOLD:
            raise Refused(f"{_told(usual)} are in use already: {self.upto:.0%} could not be told from that")
        return {
            "sign": sign, "undisturbed": usual.share, "undo": target.memory_settings(),
            "by_hand": target.by_hand("Pressable", sign),
        }  # fmt: skip

    def inject(self, target: Pressable, receipt: Receipt) -> None:
        target.press(receipt["sign"], self.upto, expiry(receipt))

    def in_place(self, target: Pressable, receipt: Receipt) -> Presence:
        use = target.memory_use()
        return Presence(use.share >= self.upto - TOLERANCE, f"{_told(use)} (undisturbed {receipt['undisturbed']:.0%})")

    def revert(self, target: Pressable, receipt: Receipt) -> None:
        target.release(receipt["sign"], receipt["undo"])


def _told(use: Use) -> str:
    limit = f"{use.limit / 2**20:.0f}" if use.limit < float("inf") else "unlimited"
    return f"{use.used / 2**20:.0f} of {limit} MiB"


FAULT = Memory
