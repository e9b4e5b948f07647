"""A fault: one way to hurt a target. One file in `faults/` each; the dataclass fields are its YAML keys.

`prepare` only looks and returns the receipt, which is on disk before `inject` runs. `revert` needs the receipt and a
reopened target, nothing else: it is safe twice, safe if inject never ran, safe if the target is gone. A fault knows no
clock, no loop and no SDK.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Generic, Literal, TypeVar

from veloz_chaos.core.capability import Target

T = TypeVar("T", bound=Target)
#: JSON: what revert and in_place need to know, the run's sign among it.
Receipt = dict[str, Any]

#: Seconds that a fault may outlive everything of ours where the receipt does not say: its longest hold is the engine's.
EXPIRES = 120.0


def expiry(receipt: Receipt) -> timedelta:
    """How long a fault may last that carries its own end to the target."""
    return timedelta(seconds=receipt.get("expires", EXPIRES))


@dataclass(frozen=True)
class Presence:
    """Is the effect there, measured at the target? `shown` None: the look got no answer."""

    shown: bool | None
    evidence: str


class Fault(ABC, Generic[T]):
    """Subclasses are frozen pydantic dataclasses that forbid extra keys."""

    needs: ClassVar[type[Target]]
    on: ClassVar[Literal["service", "link"]]
    #: False: strikes once (nothing to hold, nothing to take out).
    held: ClassVar[bool] = True
    irreversible: ClassVar[bool] = False

    @abstractmethod
    def prepare(self, target: T, sign: str) -> Receipt:
        """Look only. Raises Refused where the fault could not be told from what is there already."""

    @abstractmethod
    def inject(self, target: T, receipt: Receipt) -> None: ...

    @abstractmethod
    def in_place(self, target: T, receipt: Receipt) -> Presence:
        """Is the effect there? Never our own setting read back."""

    def revert(self, target: T, receipt: Receipt) -> None:
        """Take it out. Nothing to do for what strikes once."""

    def by_hand(self, target_reference: str, receipt: Receipt) -> str:  # noqa: ARG002
        """The exact command that undoes it without us; empty if there is nothing to undo.

        `prepare` asks the target for it, since only the backend knows its own tools.
        """
        return str(receipt.get("by_hand", ""))
