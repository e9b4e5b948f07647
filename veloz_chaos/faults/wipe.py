"""A volume's content is gone, for good. There is nothing to take out: what mends it is the experiment's `on-abort`
procedure, and only an experiment that says `irreversible: true` may use it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Wipeable
from veloz_chaos.core.fault import Fault, Presence, Receipt
from veloz_chaos.errors import Refused


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Wipe(Fault[Wipeable]):
    needs: ClassVar = Wipeable
    on: ClassVar = "service"
    held: ClassVar = False
    irreversible: ClassVar = True
    volume: str

    def prepare(self, target: Wipeable, sign: str) -> Receipt:
        found = target.entries(self.volume)
        if not found:
            raise Refused(f"volume `{self.volume}` is empty: a wipe could not be told from that")
        return {"sign": sign, "entries": found}

    def inject(self, target: Wipeable, receipt: Receipt) -> None:  # noqa: ARG002
        target.wipe(self.volume)

    def in_place(self, target: Wipeable, receipt: Receipt) -> Presence:
        left = target.entries(self.volume)
        if left:
            return Presence(False, f"volume {self.volume} has {left} entries (before: {receipt['entries']})")
        return Presence(True, f"volume {self.volume} is empty (before: {receipt['entries']} entries)")


FAULT = Wipe
