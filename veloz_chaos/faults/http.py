"""Requests are answered by somebody else than the service, late, or in part. In place when requests of our own fare so:
every one of them, or as many as the share makes likely."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from statistics import median
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from veloz_chaos.core.binomial import LEAST, enough, plausible
from veloz_chaos.core.capability import Answer, Answerable
from veloz_chaos.core.effect import CONFIG, HttpEffect
from veloz_chaos.core.fault import Fault, Presence, Receipt, expiry
from veloz_chaos.core.size import percent
from veloz_chaos.core.undisturbed import ASKS, PATIENCE
from veloz_chaos.errors import Refused

#: The part of a delay that must be seen; the rest is what two measurements differ by.
SEEN = 0.8
Sign = Callable[[HttpEffect, Answer, float], bool]


@dataclass(frozen=True, config=CONFIG)
class Http(HttpEffect, Fault[Answerable]):
    """The keys are those of the effect."""

    needs: ClassVar = Answerable
    on: ClassVar[Literal["service", "link"]] = "link"

    def prepare(self, target: Answerable, sign: str) -> Receipt:
        if self.share < LEAST:
            raise Refused(f"{percent(self.share)} of requests cannot be seen; ask for {percent(LEAST)} or more")
        usual = target.request(self, ASKS, PATIENCE)
        if silent := [answer.outcome for answer in usual if answer.outcome != "answered"]:
            raise Refused(f"{target.reference} does not answer undisturbed ({silent[0]}); mend the link first")
        seconds = [answer.seconds for answer in usual]
        slow = median(seconds) + SEEN * self.delay.total_seconds()
        if alike := [answer for answer in usual if self._fares_so(answer, slow)]:
            raise Refused(f"undisturbed answers are {_told(alike[0])}: the fault could not be told from that")
        if self.truncate is not None and self.status is None and len(usual[0].body) <= self.truncate:
            raise Refused(f"undisturbed answers have {len(usual[0].body)} bytes: {self.truncate} do not cut them off")
        return {
            "sign": sign, "undisturbed": _told(usual[0]), "slow": slow,
            "by_hand": target.by_hand("Answerable", sign),
        }  # fmt: skip

    def inject(self, target: Answerable, receipt: Receipt) -> None:
        target.answer(receipt["sign"], self, expiry(receipt))

    def in_place(self, target: Answerable, receipt: Receipt) -> Presence:
        answers = target.request(self, enough(self.share), PATIENCE + 2 * self.delay)
        hits = [answer for answer in answers if self._fares_so(answer, receipt["slow"])]
        heard = [answer for answer in answers if answer.outcome == "answered"]
        if not heard:
            return Presence(None, f"no answer to measure: {answers[0].outcome}")
        of = f"{len(hits)} of {len(heard)}, asked {percent(self.share)}: " if self.share < 1 else ""
        evidence = f"{of}{_told((hits or heard)[0])} (undisturbed {receipt['undisturbed']})"
        return Presence(bool(hits) and plausible(len(hits), len(heard), self.share), evidence)

    def revert(self, target: Answerable, receipt: Receipt) -> None:
        target.unanswer(receipt["sign"])

    def _fares_so(self, answer: Answer, slow: float) -> bool:
        """Does it show everything that the effect would do to it?"""
        return answer.outcome == "answered" and all(seen(self, answer, slow) for seen in SIGNS)


def _late(effect: HttpEffect, answer: Answer, slow: float) -> bool:
    return not effect.delay or answer.seconds >= slow


def _status(effect: HttpEffect, answer: Answer, _: float) -> bool:
    return effect.status in (None, answer.status)


def _headers(effect: HttpEffect, answer: Answer, _: float) -> bool:
    wait = {"retry-after": f"{effect.retry_after / timedelta(seconds=1):.0f}"} if effect.retry_after else {}
    wanted: Mapping[str, str] = {**wait, **{name.lower(): value for name, value in effect.headers.items()}}
    return all(answer.headers.get(name) == value for name, value in wanted.items())


def _body(effect: HttpEffect, answer: Answer, _: float) -> bool:
    return effect.body is None or answer.body == effect.body.encode()[: effect.truncate]


def _cut_off(effect: HttpEffect, answer: Answer, _: float) -> bool:
    return answer.complete if effect.truncate is None else not answer.complete and len(answer.body) <= effect.truncate


def _binance(effect: HttpEffect, answer: Answer, _: float) -> bool:
    return not effect.binance or "x-mbx-used-weight-1m" in answer.headers


def _limited(effect: HttpEffect, answer: Answer, _: float) -> bool:
    """A limiter is seen by what it tells with every answer, or by its refusal."""
    if effect.rate is None:
        return True
    return answer.headers.get("ratelimit-limit") == str(effect.limit[0]) or answer.status == 429


SIGNS: tuple[Sign, ...] = (_late, _status, _headers, _body, _cut_off, _binance, _limited)


def _told(answer: Answer) -> str:
    wait = f", retry-after {answer.headers['retry-after']}" if "retry-after" in answer.headers else ""
    broken = "" if answer.complete else ", broken off"
    return f"{answer.status}{wait} after {answer.seconds * 1000:.3g} ms, {len(answer.body)} bytes{broken}"


FAULT = Http
