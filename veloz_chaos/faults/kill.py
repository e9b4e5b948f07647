"""The process, container or pod dies. Nothing to take out: what comes back is the system's own recovery."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Killable
from veloz_chaos.core.fault import Fault, Presence, Receipt
from veloz_chaos.errors import Gone

#: The signals that end a process unless it catches them.
Signal = Annotated[
    Literal["KILL", "TERM", "INT", "QUIT", "HUP", "ABRT", "SEGV", "BUS"],
    BeforeValidator(lambda name: name.upper().removeprefix("SIG") if isinstance(name, str) else name),
]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Kill(Fault[Killable]):
    needs: ClassVar = Killable
    on: ClassVar = "service"
    held: ClassVar = False
    signal: Signal = "KILL"

    def prepare(self, target: Killable, sign: str) -> Receipt:
        if not target.alive():
            raise Gone(f"{target.reference} is dead already")
        target.arm(sign)
        return {"sign": sign}

    def inject(self, target: Killable, receipt: Receipt) -> None:  # noqa: ARG002
        target.kill(self.signal)

    def in_place(self, target: Killable, receipt: Receipt) -> Presence:  # noqa: ARG002
        if target.alive():
            return Presence(False, f"{target.reference} is alive")
        return Presence(True, f"{target.reference} is dead")


FAULT = Kill
