"""The link becomes narrow. In place when pings that need at least 300 ms at the asked rate pass no faster than that."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Passage, Throttleable
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.core.undisturbed import PATIENCE, round_trip
from veloz_chaos.errors import Refused

UNITS = {"B": 1, "KB": 1_000, "MB": 1_000_000}
RATE = r"(\d+(?:\.\d+)?)\s*(B|KB|MB)/s"
#: How long the pings take at the asked rate, at least; more of them than MOST would hurt by themselves.
LENGTH, MOST = 0.3, 20_000
#: A measured throughput counts as the asked one up to this much above it; undisturbed it must be TOLD times the rate.
TOLERANCE, TOLD = 1.25, 2.0


def parse_rate(written: Any) -> Any:
    """`10KB/s` is 10,000 bytes a second, as network people count."""
    match = re.fullmatch(RATE, written) if isinstance(written, str) else None
    if not match:
        raise ValueError("a rate is written as 500B/s, 10KB/s or 1MB/s")
    return round(float(match[1]) * UNITS[match[2]])


Rate = Annotated[
    int,
    Field(gt=0),
    BeforeValidator(parse_rate),
    PlainSerializer(lambda rate: f"{rate}B/s"),
    WithJsonSchema({"type": "string", "pattern": f"^{RATE}$"}),
]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Bandwidth(Fault[Throttleable]):
    """`rate` in bytes a second, each way."""

    needs: ClassVar = Throttleable
    on: ClassVar = "link"
    rate: Rate

    def prepare(self, target: Throttleable, sign: str) -> Receipt:
        target.arm(sign)
        round_trip(target)
        answer = target.pass_through(1, PATIENCE).received
        pings = math.ceil(LENGTH * self.rate / max(answer, 1))
        if pings > MOST:
            raise Refused(
                f"{_shown(self.rate)} cannot be measured with answers of {answer} bytes; ask for a lower rate"
            )
        undisturbed = target.pass_through(pings, PATIENCE)
        if undisturbed.outcome != "answered" or _throughput(undisturbed) < TOLD * self.rate:
            raise Refused(f"{_told(undisturbed)} undisturbed: {_shown(self.rate)} could not be told from that")
        return {
            "sign": sign, "pings": pings, "bytes": undisturbed.received, "undisturbed": _throughput(undisturbed),
            "by_hand": target.by_hand("Throttleable", sign),
        }  # fmt: skip

    def inject(self, target: Throttleable, receipt: Receipt) -> None:
        target.throttle(receipt["sign"], self.rate, expiry(receipt))

    def in_place(self, target: Throttleable, receipt: Receipt) -> Presence:
        """What arrived until then counts, should it take longer than three times what it ought to."""
        patience = min(3.0, 3 * receipt["bytes"] / self.rate)
        passage = target.pass_through(receipt["pings"], timedelta(seconds=patience))
        if not passage.received or passage.outcome in ("reset", "refused"):
            return Presence(None, f"no throughput to measure: {passage.outcome}")
        evidence = f"{_told(passage)} (undisturbed {_shown(receipt['undisturbed'])}, asked {_shown(self.rate)})"
        return Presence(_throughput(passage) <= TOLERANCE * self.rate, evidence)

    def revert(self, target: Throttleable, receipt: Receipt) -> None:
        target.unthrottle(receipt["sign"])


def _throughput(passage: Passage) -> float:
    return passage.received / max(passage.seconds, 1e-6)


def _told(passage: Passage) -> str:
    return f"{_shown(_throughput(passage))}, {passage.outcome}"


def _shown(rate: float) -> str:
    return f"{rate / 1000:.3g} KB/s"


FAULT = Bandwidth
