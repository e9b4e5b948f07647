"""Alive to the scheduler, dead to its callers: frozen where it stands, its connections open, until it is resumed."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Pausable
from veloz_chaos.core.fault import Fault, Presence, Receipt
from veloz_chaos.errors import Refused


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Pause(Fault[Pausable]):
    needs: ClassVar = Pausable
    on: ClassVar = "service"

    def prepare(self, target: Pausable, sign: str) -> Receipt:
        if target.paused():
            raise Refused(f"{target.reference} is paused already; resume it first")
        target.arm(sign)
        return {"sign": sign, "by_hand": target.by_hand("Pausable", sign)}

    def inject(self, target: Pausable, receipt: Receipt) -> None:  # noqa: ARG002
        target.pause()

    def in_place(self, target: Pausable, receipt: Receipt) -> Presence:  # noqa: ARG002
        if not target.alive():
            return Presence(False, f"{target.reference} is gone")
        if target.paused():
            return Presence(True, f"{target.reference} is stopped")
        return Presence(False, f"{target.reference} runs")

    def revert(self, target: Pausable, receipt: Receipt) -> None:  # noqa: ARG002
        target.resume()


FAULT = Pause
