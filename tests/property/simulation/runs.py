"""A whole run of a simulated system, as the engine would journal it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tests.property.simulation.looking import Gaze, Seen, looks, one_after_another
from tests.property.simulation.plans import FAULT
from tests.property.simulation.truth import Truth
from tests.property.simulation.writing import MS, prepared, started
from veloz_chaos.core import event as ev
from veloz_chaos.core.decide import watch_over
from veloz_chaos.core.history import History, of
from veloz_chaos.core.plan import Plan

#: Between two looks at whether the fault is there: until it is found, while it is held, after it was taken out.
CONFIRMING, HOLDING, CLEARING = 20 * MS, 200 * MS, 50 * MS
CLEAN = 300 * MS
PRESENCE_LATENCY = 30 * MS
BASELINE = 500 * MS


@dataclass(frozen=True)
class World:
    """`start` is when the looking begins, `end` when it stops; all of it moves together."""

    plan: Plan
    truth: Truth
    gaze: Gaze
    start: int
    end: int
    seed: int
    #: whatever else was journalled
    extra: tuple[ev.Event, ...] = field(default=())

    def shifted(self, by: int) -> World:
        stall = self.gaze.stall and (self.gaze.stall[0] + by, self.gaze.stall[1] + by)
        return replace(
            self,
            truth=self.truth.shifted(by),
            gaze=replace(self.gaze, stall=stall),
            start=self.start + by,
            end=self.end + by,
        )


def at(instant: int) -> Any:
    return {"at": instant, "wall": instant / 1e9}


def journal(world: World, cause: Any = "completed") -> list[ev.Event]:
    """The whole of it, ended at the world's end."""
    return [*unended(world), ev.RunEnded(cause=cause, by="runner", **at(world.end))]


def unended(world: World) -> list[ev.Event]:
    """Everything but the end, in the order in which it was written."""
    first = replace_clock(started(world.plan, 0), world.start - BASELINE)
    events = sorted([*_baseline(world), *_watching(world), *_fault(world), *world.extra], key=lambda event: event.at)
    return [first, *(event for event in events if event.at < world.end)]


def replace_clock(event: ev.RunStarted, instant: int) -> ev.RunStarted:
    return event.model_copy(update=at(instant))


def live(world: World, tick: int = 200 * MS) -> tuple[list[ev.Event], int | None]:
    """The run as the engine decides it: ended as soon as it has seen enough. Returns when; None: not by the end."""
    history, kept = History(), list[ev.Event]()
    due = _watch_begins(world)
    for event in unended(world):
        while event.at >= due:
            if watch_over(world.plan, history, due):
                return [*kept, ev.RunEnded(cause="completed", by="runner", **at(due))], due
            due += tick
        history.add(event)
        kept.append(event)
    return kept, None


def _watch_begins(world: World) -> int:
    if world.plan.placebo:
        return world.truth.fault.called
    cleared = [event.at for event in _fault(world) if isinstance(event, ev.FaultCleared)]
    return max([world.truth.fault.returned + 200 * MS, *cleared]) + 1


def history(world: World) -> History:
    return of(journal(world))


def _baseline(world: World) -> Iterator[ev.Event]:
    yield ev.BaselineBegan(**at(world.start))
    yield ev.BaselineEnded(**at(world.truth.fault.called - MS))


def _watching(world: World) -> Iterator[ev.Event]:
    for name, line in {**world.truth.steady, **world.truth.signals}.items():
        for seen in looks(line, world.gaze, world.start, world.end, f"{world.seed}:{name}"):
            yield ev.LookTaken(
                probe=name, asked=seen.asked, answered=seen.answered, outcome=seen.outcome, stalled=seen.stalled,
                **at(seen.answered),
            )  # fmt: skip
    if world.gaze.stall is not None:
        yield ev.LoopStalled(since=world.gaze.stall[0], **at(world.gaze.stall[1]))


def _fault(world: World) -> Iterator[ev.Event]:
    fault = world.truth.fault
    if world.plan.placebo:
        return
    yield prepared(world.plan.held, fault.called / MS)
    yield ev.InjectionBegan(fault=FAULT, **at(fault.called))
    yield ev.InjectionReturned(fault=FAULT, **at(fault.returned))
    yield from (_presence(seen) for seen in _confirming(world))
    if fault.revert_called is None or fault.revert_returned is None:
        return
    yield ev.RevertBegan(fault=FAULT, by="runner", **at(fault.revert_called))
    yield ev.RevertReturned(fault=FAULT, by="runner", **at(fault.revert_returned))
    clearing = list(_clearing(world, fault.revert_returned))
    yield from (_presence(seen) for seen in clearing)
    yield ev.FaultCleared(fault=FAULT, by="runner", **at(clearing[-1].answered + MS))


def _confirming(world: World) -> Iterator[Seen]:
    """Often until it is found, then now and then until it is taken out (or never again, if it strikes once)."""
    fault, found = world.truth.fault, False
    stop = world.end if fault.revert_called is None else fault.revert_called
    asked = fault.returned
    while asked < stop and not (found and not world.plan.held):
        [seen] = one_after_another(
            fault.there, 0, PRESENCE_LATENCY, asked, asked + 1, f"{world.seed}:{asked - fault.called}"
        )
        if seen.answered >= stop:
            return
        yield seen
        found = found or seen.outcome == "shown"
        asked = seen.answered + (HOLDING if found else CONFIRMING)


def _clearing(world: World, since: int) -> Iterator[Seen]:
    """Until it has been gone for CLEAN."""
    clean: int | None = None
    for seen in one_after_another(
        world.truth.fault.there, CLEARING, PRESENCE_LATENCY, since, world.end + 10**12, f"{world.seed}:clear"
    ):
        yield seen
        clean = (clean or seen.asked) if seen.outcome == "not-shown" else None
        if clean is not None and seen.answered - clean >= CLEAN:
            return


def _presence(seen: Seen) -> ev.PresenceLooked:
    return ev.PresenceLooked(
        fault=FAULT, asked=seen.asked, answered=seen.answered, outcome=seen.outcome, evidence="measured",
        **at(seen.answered),
    )  # fmt: skip
