"""The steps of a run, each by itself; `execute` puts them in order.

One asyncio loop looks and waits; everything that blocks happens in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from veloz_chaos.core import alert_findings as alerts
from veloz_chaos.core import event as ev
from veloz_chaos.core.alerts import RULES
from veloz_chaos.core.capability import Report
from veloz_chaos.core.coverage import silence
from veloz_chaos.core.decide import hold_over, steps_over, watch_over
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.history import History
from veloz_chaos.core.plan import Plan, PlannedFault, PlannedProbe, PlannedRestore
from veloz_chaos.core.presence import died_under
from veloz_chaos.core.trace import NOT_SHOWN, SHOWN
from veloz_chaos.engine import procedure
from veloz_chaos.engine.clock import moment, now
from veloz_chaos.engine.guardian import Guardian
from veloz_chaos.engine.hand import Backends, Hand, signed, take, take_out
from veloz_chaos.engine.journal import Journal
from veloz_chaos.engine.look import Lag, Looker, longest
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.engine.survey import found_again
from veloz_chaos.engine.workload import Workload
from veloz_chaos.errors import Missing, Refused, TargetError, UsageError

if TYPE_CHECKING:
    from veloz_chaos.engine.mirror import Mirror
    from veloz_chaos.mechanisms.kube_lease import Lease

#: The effect must be found within this after the injection. Nanoseconds.
CONFIRM = 10_000_000_000
#: Beyond a fault's longest hold, the guardian takes the runner for hung. Nanoseconds.
GRACE = 60_000_000_000
#: Between two looks at whether a fault is there: while confirming, and while it is held. Seconds.
CONFIRM_EVERY, HELD_EVERY = 0.02, 0.5
#: How often the run asks itself whether it has seen enough. Seconds.
TICK = 0.025
#: An order accepted is told to the runner within this. Nanoseconds.
WORD_OF_MOUTH = 300_000_000
#: So long may a restored service take to hold its steady state again. Nanoseconds.
RESTORED_WITHIN = 60_000_000_000


class Stop(Exception):
    """The run is to end early; what it says is journalled by whoever raised it."""


@dataclass
class Run:
    """Everything one run touches. `history` is the journal so far."""

    plan: Plan
    id: str
    registry: Backends
    journal: Journal
    secrets: Secrets
    guardian: Guardian | None
    history: History
    lag: Lag = field(default_factory=Lag)
    stop: str = ""
    loop: asyncio.AbstractEventLoop | None = None
    hands: list[Hand] = field(default_factory=list)
    #: each ends the watch over one target
    unwatch: list[Callable[[], None]] = field(default_factory=list)
    lookers: Sequence[Looker] = ()
    #: probes that look only while a step checks them
    occasional: Mapping[str, Looker] = field(default_factory=dict)
    workload: Workload | None = None
    workload_died: str = ""
    lease: Lease | None = None
    mirror: Mirror | None = None
    lease_lost: str = ""
    #: how long somebody's go is waited for before each strike; None: nobody is asked
    go: timedelta | None = None

    def emit(self, event: ev.Event, *, sync: bool = False) -> None:
        """Into the journal, on the loop. Without a receipt and the word that it is used nothing is hurt: these raise if
        they can't be written. Anything else ends the run instead."""
        try:
            self.journal.append(event, sync=sync)
        except OSError as error:
            self.stop = self.stop or f"the journal can't be written: {error.strerror or error}"
            self.history.add(event)
            if isinstance(event, ev.FaultPrepared | ev.InjectionBegan):
                raise Refused(self.stop) from error

    def emit_from_thread(self, event: ev.Event) -> None:
        """The same from a thread, which goes on only when it is written."""

        async def emit() -> None:
            self.emit(event, sync=isinstance(event, ev.FaultCleared) or self._owes(event))

        assert self.loop is not None
        asyncio.run_coroutine_threadsafe(emit(), self.loop).result()

    def _owes(self, event: ev.Event) -> bool:
        """Does a procedure have to mend the system because of it? A machine that dies must not forget that."""
        return isinstance(event, ev.InjectionBegan) and self.plan.on_abort is not None

    # --- waiting -----------------------------------------------------------------------------------------------

    async def until(self, done: Callable[[], bool], deadline: int | None = None) -> bool:
        """Wait until `done`, or the deadline (boot-time ns), or a reason to stop (raises Stop). Says which."""
        pause = TICK
        while True:
            self._check()
            before = now()
            if done():
                return True
            if deadline is not None and before >= deadline:
                return False
            pause = max(TICK, 10 * (now() - before) / 1e9)
            left = pause if deadline is None else min(pause, max(0.001, (deadline - now()) / 1e9))
            await asyncio.sleep(left)

    def _check(self) -> None:
        looking = (*self.lookers, *self.occasional.values())
        broken = next((looker.broken for looker in looking if looker.broken), None)
        if broken is not None:
            raise broken
        if self.guardian is not None and not self.guardian.alive and not self.stop:
            self.stop = "the guardian died; without it no fault may stay"
        if not self.stop:
            self.stop = self._died() or self._dispossessed()
        if not self.stop:
            self.stop = self._alarm()
        if self.stop:
            self.emit(ev.AbortRequested(cause=self.stop, **moment()))
            raise Stop

    def _died(self) -> str:
        """A workload that died ends the run, once; after it the run only puts the system right."""
        if self.workload is None or self.workload_died:
            return ""
        self.workload_died = self.workload.death
        return f"the workload died: {self.workload_died}" if self.workload_died else ""

    def _dispossessed(self) -> str:
        """A lease that is lost ends the run, once: somebody else may be on the environment."""
        if self.lease is None or self.lease_lost:
            return ""
        self.lease_lost = self.lease.lost
        return self.lease_lost

    def _alarm(self) -> str:
        """An abort-when probe that is shown while a fault is (or may be) in place."""
        if not self.hands:
            return ""
        for name in self.plan.abort_when:
            last = self.history.trace(name).last()
            if last is not None and last.outcome == SHOWN:
                return f"{name} was shown"
        return ""

    # --- the steps ---------------------------------------------------------------------------------------------

    async def baseline(self) -> None:
        """Raises Refused unless the steady state holds, and no signal is shown, for the whole window."""
        await self.until(
            lambda: all(looker.looked.is_set() for looker in self.lookers), now() + longest(self._always())
        )
        began = now()
        self.emit(ev.BaselineBegan(**moment()))
        before = self.workload.placed("accepted") if self.workload else 0
        await self.until(lambda: bool(self._not_steady(began)), began + nanoseconds(self.plan.baseline))
        enough = now() + longest(self._always())
        await self.until(lambda: bool(self._not_steady(began)) or not self._unlooked(began), enough)
        reasons = self._not_steady(began) or self._unlooked(began) or await self._orderless(before)
        if reasons:
            raise Refused("\n".join(reasons))
        self.emit(ev.BaselineEnded(**moment()))

    def _always(self) -> dict[str, PlannedProbe]:
        seldom = self.plan.occasional | {RULES}
        return {name: probe for name, probe in self.plan.probes.items() if name not in seldom}

    def _not_steady(self, began: int) -> list[str]:
        broken = [
            f"{name} does not hold: {self.history.reasons.get(name, 'no answer')}"
            for name in self.plan.steady_state
            if any(look.bad for look in self.history.trace(name).since(began))
        ]
        signals = self.plan.detection.signals if self.plan.detection else []
        shown = [
            f"{name} is shown already, before anything was injected"
            for name in signals
            if self.history.trace(name).had(SHOWN, began)
        ]
        alarms = [
            f"{name} is shown: this run would be aborted at once"
            for name in self.plan.abort_when
            if self.history.trace(name).had(SHOWN, began)
        ]
        return broken + shown + alarms + alerts.refusals(self.plan, self.history)

    def _unlooked(self, began: int) -> list[str]:
        """A probe that never answered in a whole baseline says nothing of the steady state, and a signal may have been
        there all the time."""
        wanted = dict.fromkeys(self.plan.detection.signals if self.plan.detection else [], NOT_SHOWN)
        wanted |= dict.fromkeys(self.plan.steady_state, SHOWN)
        never = [
            f"{name} gave no answer in the baseline: {self.history.reasons.get(name, 'it was never looked at')}"
            for name, outcome in wanted.items()
            if not self.history.trace(name).had(outcome, began)
        ]
        return never + alerts.unanswered(self.plan, self.history, began)

    async def _orderless(self, before: int) -> list[str]:
        """A workload of which nothing was accepted in the baseline shows nothing of orders lost later."""
        flow = self.workload
        if flow is None:
            return []
        patience = now() + nanoseconds(flow.plan.timeout) + WORD_OF_MOUTH
        if await self.until(lambda: flow.placed("accepted") > before, patience):
            return []
        return [f"no order of {flow.plan.name} was accepted in the baseline: {flow.told()}"]

    async def prepare(self, faults: Sequence[PlannedFault]) -> list[Hand]:
        """Look only; then every receipt is on disk. Helpers start side by side; looks do not disturb each other."""
        first, hands = not self.hands, []
        await self._mirrored()
        armed = await asyncio.gather(*map(self._arm, faults), return_exceptions=True)
        try:
            for planned, hand in zip(faults, armed, strict=True):
                if isinstance(hand, BaseException):
                    raise hand
                await asyncio.to_thread(hand.prepare, self._sign(planned), _lifetime(planned) / 1e9)
                self.emit(self._receipt(planned, hand), sync=True)
                self.hands.append(hand)
                hands.append(hand)
        except TargetError as error:
            raise Refused(f"{planned.on}: {error}") from error
        await self._mirrored()
        reasons = self._not_steady(self._steady_since()) + self._unread() if first else []
        if reasons:
            raise Refused("\n".join(reasons))
        return hands

    def _unread(self) -> list[str]:
        """What a signal says is known only as long as it answers: in a silence before the strike it may have come."""
        signals = self.plan.detection.signals if self.plan.detection else []
        return [
            f"{name} gave no answer just before the strike: {self.history.reasons.get(name, 'it was not looked at')}"
            for name in signals
            if not self.history.trace(name).had(NOT_SHOWN, now() - silence(self.plan.probes[name]))
        ] + alerts.unread(self.plan, self.history, now())

    def _steady_since(self) -> int:
        """Steps may take their time before anything strikes: then it is the last moments that count."""
        began = self.history.baseline_began or 0
        return max(began, now() - nanoseconds(self.plan.baseline)) if self.plan.steps else began

    async def _mirrored(self) -> None:
        """What undoes the run is in the cluster, too. Raises Refused if it can't be."""
        if self.mirror is not None:
            await asyncio.to_thread(self.mirror.flush)

    async def _arm(self, planned: PlannedFault) -> Hand:
        hand = await asyncio.to_thread(take, planned, self.registry)
        await asyncio.to_thread(hand.target.arm, self._sign(planned))
        return hand

    def _sign(self, planned: PlannedFault) -> str:
        return signed(self.id, 1 + self.plan.faults.index(planned))

    def _receipt(self, planned: PlannedFault, hand: Hand) -> ev.FaultPrepared:
        return ev.FaultPrepared(
            fault=hand.id,
            kind=planned.kind,
            arguments=planned.arguments,
            reference=planned.reference,
            receipt=hand.receipt,
            held=planned.held,
            by_hand=hand.fault.by_hand(str(planned.reference), hand.receipt),
            expires=now() + _lifetime(planned),
            **moment(),
        )

    async def listen(self, hands: Sequence[Hand]) -> None:
        """From here on, hear what the platforms tell of the targets. One that can't be heard says nothing: no harm."""
        heard = [asyncio.to_thread(hand.target.watch, partial(self._told, hand)) for hand in hands]
        for end in await asyncio.gather(*heard, return_exceptions=True):
            if not isinstance(end, BaseException):
                self.unwatch.append(end)
            elif not isinstance(end, TargetError):
                raise end

    def _told(self, hand: Hand, report: Report) -> None:
        """In any thread, at once: `at` is when it reached us."""
        event = ev.TargetReported(fault=hand.id, what=report.what, kind=report.kind, detail=report.detail, **moment())
        assert self.loop is not None
        with suppress(RuntimeError):  # the loop is gone, and the run with it
            self.loop.call_soon_threadsafe(self._reported, hand, event)

    def _reported(self, hand: Hand, event: ev.TargetReported) -> None:
        """A target that died took along what was held on it; and who looks where the platform looks, looks now."""
        if self.history.ended is not None:
            return
        self.emit(event)
        record = self.history.fault(hand.id)
        if hand.fault.held and not record.lost and (cause := died_under(record)):
            self.emit(ev.FaultLost(fault=hand.id, cause=cause, **moment()))
        for looker in self.lookers:
            looker.prompt()

    async def deafen(self) -> None:
        """The end of all listening. Safe twice."""
        ends, self.unwatch = self.unwatch, []
        await asyncio.gather(*map(asyncio.to_thread, ends), return_exceptions=True)

    async def inject(self, hands: Sequence[Hand]) -> bool:
        """Strike all at once, and look for each as soon as its own strike is done; says whether all are in place.

        Whatever one of them meets, the others are waited for: nothing may be taken out while it is being put in.
        """
        self._check()
        struck = await asyncio.gather(*(self._strike(hand) for hand in hands), return_exceptions=True)
        for outcome in struck:
            if isinstance(outcome, BaseException):
                raise outcome
        found = all(struck)
        for looker in self.lookers if found else ():
            looker.struck()
        return found

    async def _strike(self, hand: Hand) -> bool:
        await asyncio.to_thread(self._inject_one, hand)
        return await self._confirm(hand)

    def _inject_one(self, hand: Hand) -> None:
        self.emit_from_thread(ev.InjectionBegan(fault=hand.id, **moment()))
        try:
            hand.inject()
        except TargetError as error:
            self.emit_from_thread(ev.InjectionFailed(fault=hand.id, error=str(error), **moment()))
        else:
            self.emit_from_thread(ev.InjectionReturned(fault=hand.id, **moment()))

    async def _confirm(self, hand: Hand) -> bool:
        if self.history.fault(hand.id).failed:
            return False
        deadline = now() + CONFIRM
        while now() < deadline:
            if await self._look_at(hand) == "shown":
                return True
            self._check()
            await asyncio.sleep(CONFIRM_EVERY)
        return False

    async def _look_at(self, hand: Hand) -> ev.Outcome:
        look = await asyncio.to_thread(hand.look)
        self.emit(look)
        return look.outcome

    async def hold(self) -> None:
        """Until everything that needs the fault is decided, its time is over, or it is gone by itself."""
        held = [hand for hand in self.hands if hand.fault.held]
        if not held:
            return
        watchers = [asyncio.create_task(self.still_there(hand)) for hand in held]
        deadline = now() + nanoseconds(self.plan.longest_hold)
        try:
            await self.until(lambda: self._lost() or hold_over(self.plan, self.history, now()), deadline)
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    async def still_there(self, hand: Hand) -> None:
        """Until two looks have not found it and none between them has, or somebody takes it out; one without an answer
        says nothing."""
        record, misses = self.history.fault(hand.id), 0
        while misses < 2:
            await asyncio.sleep(HELD_EVERY)
            outcome = await self._look_at(hand)
            if record.revert_began is not None:
                return
            misses = 0 if outcome == "shown" else misses + (outcome == "not-shown")
        cause = record.absence or "its effect is no longer there"
        if not record.lost:
            self.emit(ev.FaultLost(fault=hand.id, cause=cause, **moment()))

    def _lost(self) -> bool:
        return any(record.lost for record in self.history.faults.values())

    async def take_out(self, hands: Sequence[Hand]) -> None:
        """To the end, whoever wants it to stop."""
        reverting = asyncio.create_task(asyncio.to_thread(self._take_out_all, hands))
        while not reverting.done():
            try:
                await asyncio.shield(reverting)
            except asyncio.CancelledError:
                continue

    def _take_out_all(self, hands: Sequence[Hand]) -> None:
        """Blocking: revert has its own clock. Newest first on each target, all targets side by side."""
        of: dict[str, list[Hand]] = {}
        for hand in reversed(hands):
            if hand.fault.held and not self.history.fault(hand.id).cleared:
                of.setdefault(str(hand.target.reference), []).append(hand)
        with ThreadPoolExecutor(max_workers=max(1, len(of)), thread_name_prefix="revert") as threads:
            for done in [threads.submit(self._take_out, hands) for hands in of.values()]:
                done.result()

    def _take_out(self, hands: list[Hand]) -> None:
        for hand in hands:
            if not self.stop and self.history.fault(hand.id).presence.had(SHOWN, 0):
                self.emit_from_thread(hand.look())  # it ended after this look, and not earlier
            take_out(
                hand, "runner", self.emit_from_thread, hand.fault.by_hand(str(hand.target.reference), hand.receipt)
            )

    async def watch(self) -> None:
        """Until all that can be judged has been seen."""
        over = steps_over if self.plan.steps else watch_over
        await self.until(lambda: over(self.plan, self.history, now()))

    async def restore(self) -> list[str]:
        """What stayed dead is brought back by the environment's procedure; returns the services still down."""
        if not self.broken() and not await self._stayed_dead():
            return []
        for service, planned in self.plan.restores.items():
            outcome = await asyncio.to_thread(self._restored, planned)
            self.emit(
                ev.ServiceRestored(
                    service=service,
                    procedure=planned.procedure,
                    succeeded=outcome.succeeded,
                    output=outcome.output,
                    **moment(),
                )
            )
        deadline = now() + (RESTORED_WITHIN if self.plan.restores else 0)
        if await self.until(lambda: not self.broken(), deadline):
            return await self._stayed_dead(deadline)
        return sorted({fault.on for fault in self.plan.faults})

    def _restored(self, planned: PlannedRestore) -> procedure.Outcome:
        try:
            return procedure.run(self.secrets.fill_all(planned.command), planned.timeout, planned.cwd)
        except UsageError as error:
            return procedure.Outcome(False, str(error))

    async def _stayed_dead(self, deadline: int = 0) -> list[str]:
        """What a fault has killed and of which nothing lives, though its time to recover is over: the steady state need
        not look at it."""
        killed = {fault.on: fault for fault in self.plan.faults if fault.selector and self._struck(fault)}
        limit = nanoseconds(self.plan.limits.recovery) if self.plan.limits.recovery else RESTORED_WITHIN
        while dead := await asyncio.to_thread(lambda: [name for name, one in killed.items() if self._dead(one)]):
            if now() > max(deadline, max(self._struck(killed[name]) or 0 for name in dead) + limit):
                break
            await asyncio.sleep(HELD_EVERY)
        return sorted(dead)

    def _struck(self, fault: PlannedFault) -> int | None:
        return self.history.fault(fault.id).inject_began

    def _dead(self, fault: PlannedFault) -> bool:
        """Blocking. Of a platform that does not answer nobody knows."""
        try:
            return not any(target.alive() for target in found_again(fault, self.registry))
        except Missing:
            return True
        except TargetError:
            return False

    def broken(self) -> bool:
        """Is the steady state broken by each broken probe's very last look?"""
        for name in self.plan.steady_state:
            last = self.history.trace(name).last()
            if last is not None and last.bad:
                return True
        return False


def _lifetime(planned: PlannedFault) -> int:
    """Nanoseconds from the injection that a fault can be in place at the longest, with a runner that does not hang."""
    longest_hold = nanoseconds(planned.hold.at_most) if planned.hold else 0
    return longest_hold + CONFIRM + GRACE
