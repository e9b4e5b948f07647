"""One fault in our hand: the target it is on, and the receipt that takes it out again.

All of it blocks (for a bounded time) and knows no loop: the runner calls it in threads, guardian and `revert` directly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from veloz_chaos.core import event as ev
from veloz_chaos.core.capability import Reference, Target
from veloz_chaos.core.fault import Fault, Presence, Receipt
from veloz_chaos.core.plan import PlannedFault
from veloz_chaos.engine.clock import moment, now
from veloz_chaos.errors import Gone, TargetError

#: After a revert the fault must stay gone for so long before it is closed.
CLEAN = 2_000_000_000
#: A revert has its own clock; after this it is reported as failed. Nanoseconds.
REVERT_PATIENCE = 30_000_000_000
#: If the effect is still unmeasurable (the upstream died) so long after a revert that worked, the platform's word is
#: taken that nothing of ours is left. Nanoseconds.
UNMEASURED = 5_000_000_000
#: Between two attempts, and between two looks at whether the effect is there. Seconds.
PAUSE = 0.05

Emit = Callable[[ev.Event], None]


class Backends(Protocol):
    """What of the registry is needed here."""

    def fault(self, name: str) -> type[Fault[Any]]: ...
    def backend(self, name: str) -> Any: ...


@dataclass
class Hand:
    id: str
    fault: Fault[Any]
    target: Target
    receipt: Receipt = field(default_factory=dict)

    def prepare(self, sign: str, expires: float) -> None:
        """`expires`: seconds from the injection after which whatever helps the fault must have ended by itself."""
        self.receipt = {**self.fault.prepare(self.target, sign), "expires": expires}

    def inject(self) -> None:
        self.fault.inject(self.target, self.receipt)

    def removed(self) -> bool:
        """The platform's word that nothing of ours is left: all there is when what the fault hurt died meanwhile."""
        try:
            return not self.target.leftovers()
        except TargetError as error:
            return isinstance(error, Gone)

    def remains(self) -> str:
        """In words; empty if nothing does, or if that can't be told."""
        with suppress(TargetError):
            return self.target.remains()
        return ""

    def look(self) -> ev.PresenceLooked:
        """Is it in place? A target that cannot be asked leaves the look unanswered; one that is gone took it along."""
        asked = now()
        try:
            presence = self.fault.in_place(self.target, self.receipt)
        except Gone as error:
            presence = Presence(False, f"the target is gone: {error}")
        except TargetError as error:
            presence = Presence(None, str(error))
        outcomes: dict[bool | None, ev.Outcome] = {True: "shown", False: "not-shown", None: "unanswered"}
        return ev.PresenceLooked(
            fault=self.id,
            asked=asked,
            answered=now(),
            outcome=outcomes[presence.shown],
            evidence=presence.evidence,
            **moment(),
        )


def signed(run: str, number: int) -> str:
    """The mark of a plan's n-th fault (from 1) on whatever is created for it."""
    return f"vc-{run}-{number}"


def take(planned: PlannedFault, backends: Backends) -> Hand:
    """Raises Gone if the incarnation the plan names is no longer there."""
    return Hand(planned.id, _fault(backends, planned.kind, planned.arguments), _reopen(backends, planned.reference))


def pick_up(prepared: ev.FaultPrepared, backends: Backends) -> Hand:
    """From a journal, on any machine that reaches the target."""
    fault = _fault(backends, prepared.kind, prepared.arguments)
    return Hand(prepared.fault, fault, _reopen(backends, prepared.reference), prepared.receipt)


def _fault(backends: Backends, kind: str, arguments: dict[str, Any]) -> Fault[Any]:
    made: Fault[Any] = backends.fault(kind).__pydantic_validator__.validate_python(arguments)  # type: ignore[attr-defined]
    return made


def _reopen(backends: Backends, reference: Reference) -> Target:
    target: Target = backends.backend(reference.backend).reopen(reference)
    return target


def take_out(hand: Hand, by: ev.By, emit: Emit, by_hand: str) -> bool:
    """Revert, look, again until it has stayed gone for CLEAN; every error is kept. Says whether it is closed."""
    emit(ev.RevertBegan(fault=hand.id, by=by, **moment()))
    began = now()
    clean_since: int | None = None
    error = _attempt(hand, by, emit)
    worked = now()
    while now() < began + REVERT_PATIENCE:
        look = hand.look()
        emit(look)
        if look.outcome == "not-shown" and not error:
            clean_since = clean_since or look.asked
            if look.answered - clean_since >= CLEAN:
                return _close(hand, by, emit, hand.remains())
        else:
            clean_since, failed, error = None, error, _attempt(hand, by, emit)
            worked = now() if failed else worked
        if clean_since is None and not error and look.asked - worked > UNMEASURED and hand.removed():
            return _close(hand, by, emit, f"its effect can't be measured any more: {look.evidence}")
        time.sleep(PAUSE)
    emit(ev.RevertFailed(fault=hand.id, by=by, error=error or "its effect is still there", by_hand=by_hand, **moment()))
    return False


def _close(hand: Hand, by: ev.By, emit: Emit, note: str) -> bool:
    emit(ev.FaultCleared(fault=hand.id, by=by, note=note, **moment()))
    return True


def _attempt(hand: Hand, by: ev.By, emit: Emit) -> str:
    """One attempt; the error's text, empty if it went well. A target that is gone took the fault along."""
    try:
        hand.fault.revert(hand.target, hand.receipt)
        note = ""
    except Gone as error:
        note = str(error)
    except TargetError as error:
        return str(error)
    emit(ev.RevertReturned(fault=hand.id, by=by, note=note, **moment()))
    return ""
