"""A volume of the target's own fills up. In place when no more is free than asked, or we hold all that was: what the
target frees for itself is free for a moment only, until the filler takes that too."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Fillable, Room
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.core.size import Size
from veloz_chaos.errors import Gone, Refused

#: So much of the volume more than asked may be free: it comes in blocks, and a target removes files meanwhile.
TOLERANCE = 0.01
#: The part of what was free (beyond what was asked) that we must hold otherwise.
SEEN = 0.98


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Disk(Fault[Fillable]):
    """`free`: bytes that are left."""

    needs: ClassVar = Fillable
    on: ClassVar = "service"
    volume: str
    free: Size = 0

    def prepare(self, target: Fillable, sign: str) -> Receipt:
        if not target.alive():
            raise Gone(f"{target.reference} is dead already")
        room = target.room(sign, self.volume)
        if room.free <= self._free_at_most(room):
            raise Refused(f"{_kb(room.free)} are free: {_kb(self.free)} could not be told from that")
        return {
            "sign": sign, "undisturbed": room.free, "size": room.size,
            "by_hand": target.by_hand("Fillable", sign),
        }  # fmt: skip

    def inject(self, target: Fillable, receipt: Receipt) -> None:
        target.fill(receipt["sign"], self.volume, self.free, expiry(receipt))

    def in_place(self, target: Fillable, receipt: Receipt) -> Presence:
        room = target.room(receipt["sign"], self.volume)
        usual = f"undisturbed {_kb(receipt['undisturbed'])}"
        evidence = f"{_kb(room.held)} of {_kb(room.size)} held, {_kb(room.free)} free ({usual})"
        full = room.free <= self._free_at_most(room) or room.held >= SEEN * (receipt["undisturbed"] - self.free)
        return Presence(room.held > 0 and full, evidence)

    def revert(self, target: Fillable, receipt: Receipt) -> None:
        target.empty(receipt["sign"], self.volume)

    def _free_at_most(self, room: Room) -> float:
        return self.free + TOLERANCE * room.size


def _kb(size: int) -> str:
    return f"{size / 1000:.0f} KB"


FAULT = Disk
