"""Answers come late. In place when one ping's round trip is longer than undisturbed by most of what was asked."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Delayable
from veloz_chaos.core.duration import Duration
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.core.undisturbed import round_trip
from veloz_chaos.errors import Refused

#: The part of the delay (without jitter) that must be seen; the rest is what two measurements differ by.
SEEN = 0.8


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Latency(Fault[Delayable]):
    needs: ClassVar = Delayable
    on: ClassVar = "link"
    delay: Duration
    jitter: Duration = timedelta(0)

    @model_validator(mode="after")
    def _jitter_within_delay(self) -> Latency:
        if self.delay <= timedelta(0) or self.jitter < timedelta(0):
            raise ValueError("delay must be longer than 0s and jitter not negative")
        if self.jitter > self.delay:
            raise ValueError("jitter may not be longer than delay: an answer cannot come before it is given")
        return self

    def prepare(self, target: Delayable, sign: str) -> Receipt:
        target.arm(sign)
        usual = round_trip(target)
        threshold = usual.median + SEEN * (self.delay - self.jitter).total_seconds()
        if threshold <= usual.slowest:
            raise Refused(
                f"undisturbed answers take up to {_ms(usual.slowest)}: {self._asked()} could not be told from them"
            )
        return {
            "sign": sign, "undisturbed": usual.median, "threshold": threshold,
            "by_hand": target.by_hand("Delayable", sign),
        }  # fmt: skip

    def inject(self, target: Delayable, receipt: Receipt) -> None:
        target.delay(receipt["sign"], self.delay, self.jitter, expiry(receipt))

    def in_place(self, target: Delayable, receipt: Receipt) -> Presence:
        patience = 2 * (self.delay + self.jitter) + timedelta(seconds=receipt["undisturbed"] + 0.5)
        passage = target.pass_through(1, patience)
        if passage.outcome != "answered":
            return Presence(None, f"no round trip to measure: {passage.outcome} after {_ms(passage.seconds)}")
        evidence = f"{_ms(passage.seconds)} (undisturbed {_ms(receipt['undisturbed'])}, asked {self._asked()})"
        return Presence(passage.seconds >= receipt["threshold"], evidence)

    def revert(self, target: Delayable, receipt: Receipt) -> None:
        target.undelay(receipt["sign"])

    def _asked(self) -> str:
        jitter = f" ± {_ms(self.jitter.total_seconds())}" if self.jitter else ""
        return f"+{_ms(self.delay.total_seconds())}{jitter}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds * 1000:.0f} ms"


FAULT = Latency
