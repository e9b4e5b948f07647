"""An approval: who, of which plan, until when, and a signature of exactly that."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Approval(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    #: SHA-256 of the drill's plan
    plan: str
    #: as the allowed signers call the person
    by: str
    #: ISO 8601, in UTC; empty: as long as the plan's window, or for ever
    until: str = ""
    #: OpenSSH's, of `statement`
    signature: str = ""

    @property
    def statement(self) -> bytes:
        """What is signed."""
        return f"veloz-chaos approval 1\nplan {self.plan}\nby {self.by}\nuntil {self.until or '-'}\n".encode()


def same_person(one: str, other: str) -> bool:
    """A log-in name and an address with the same name before its @ are taken for one person's: rather too strict."""
    return one.split("@")[0].casefold() == other.split("@")[0].casefold()
