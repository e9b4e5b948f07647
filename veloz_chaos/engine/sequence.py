"""The steps of an experiment, one after the other; none after one that failed.

Held faults are taken out when their time is over, by a later step, or at the end, however that comes. What cannot be
taken out is mended by the environment's procedure, if the steps do not all end well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from veloz_chaos.core import event as ev
from veloz_chaos.core import steps
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.plan import PlannedRestore, PlannedStep
from veloz_chaos.engine import confirm, gate, procedure
from veloz_chaos.engine.clock import moment, now
from veloz_chaos.engine.hand import REVERT_PATIENCE, Hand
from veloz_chaos.engine.run import CONFIRM, Run, Stop
from veloz_chaos.errors import Refused, UsageError

#: What strikes or is taken out may take so long before the guardian takes the runner for hung. Nanoseconds.
_ARMING = 60_000_000_000


@dataclass
class _Held:
    """Faults of earlier steps that are in place, and what waits for their end."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    lifting: list[asyncio.Task[None]] = field(default_factory=list)


async def take(run: Run) -> bool:
    """False as soon as one of them fails. Raises Stop, or Refused where nothing was injected yet."""
    held = _Held()
    try:
        for step in run.plan.steps:
            if not await _one(run, step, held):
                return False
        return True
    finally:
        held.over.set()
        await asyncio.gather(*held.lifting, return_exceptions=True)
        await run.take_out(run.hands)


async def _one(run: Run, step: PlannedStep, held: _Held) -> bool:
    if step.inject:
        await gate.ask(run, step.name, step.inject)
    if step.manual is not None:
        confirm.place(run.journal.folder, step.name).unlink(missing_ok=True)  # nobody confirms what has not begun
    run.emit(ev.StepBegan(step=step.name, deadline=now() + _at_most(run, step), **moment()), sync=True)
    try:
        failure, who = await _kind(step)(run, step, held)
    except Stop:
        run.emit(ev.StepEnded(step=step.name, outcome="aborted", reason=run.stop, **moment()), sync=True)
        raise
    except (Refused, UsageError) as error:
        run.emit(ev.StepEnded(step=step.name, outcome="failed", reason=str(error), **moment()), sync=True)
        if not run.history.struck:
            raise
        return False
    outcome: Any = "failed" if failure else "done"
    run.emit(ev.StepEnded(step=step.name, outcome=outcome, reason=failure, confirmed=who, **moment()), sync=True)
    return not failure


def _at_most(run: Run, step: PlannedStep) -> int:
    """Nanoseconds; whoever takes longer hangs."""
    if step.inject:
        return _ARMING + CONFIRM
    if step.revert:
        return REVERT_PATIENCE * len(step.revert) + CONFIRM
    length = step.within or step.wait or timedelta(0)
    return nanoseconds(length) + nanoseconds(run.plan.hold) + steps.patience(step, run.plan)


#: Why it failed (empty if it did not), and who confirmed it.
_Ended = tuple[str, str]
_Take = Callable[[Run, PlannedStep, _Held], Coroutine[Any, Any, _Ended]]


def _kind(step: PlannedStep) -> _Take:
    kinds: Sequence[tuple[object, _Take]] = (
        (step.check, _check),
        (step.inject, _inject),
        (step.revert, _revert),
        (step.until, _until),
        (step.procedure, _procedure),
        (step.manual, _manual),
    )
    return next((kind for given, kind in kinds if given), _wait)


async def _inject(run: Run, step: PlannedStep, held: _Held) -> _Ended:
    hands = await run.prepare([fault for fault in run.plan.faults if fault.id in step.inject])
    await run.listen(hands)
    found = await run.inject(hands)
    longest = {fault.id: fault.hold.at_most for fault in run.plan.faults if fault.hold is not None}
    for hand in hands:
        if hand.fault.held:
            held.lifting.append(asyncio.create_task(_lift(run, hand, longest[hand.id], held)))
    return ("" if found else "its effect was not found at its target", "")


async def _lift(run: Run, hand: Hand, at_most: timedelta, held: _Held) -> None:
    """When its time is over, unless a step or the end of all steps comes first; until then, is it still there?"""
    looking = asyncio.create_task(run.still_there(hand))
    try:
        async with asyncio.timeout(at_most.total_seconds()):
            await held.over.wait()
    except TimeoutError:
        looking.cancel()
        if not run.history.fault(hand.id).revert_began:
            await run.take_out([hand])
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def _revert(run: Run, step: PlannedStep, held: _Held) -> _Ended:  # noqa: ARG001
    hands = [hand for hand in run.hands if hand.id in step.revert]
    mine = [hand for hand in hands if not run.history.fault(hand.id).revert_began]
    await run.take_out(mine)
    await run.until(lambda: all(_over(run, hand) for hand in hands), now() + REVERT_PATIENCE + CONFIRM)
    left = [hand.id for hand in hands if not run.history.fault(hand.id).cleared]
    return (f"{', '.join(left)} may still be in place" if left else "", "")


def _over(run: Run, hand: Hand) -> bool:
    record = run.history.fault(hand.id)
    return bool(record.cleared or record.revert_error)


async def _wait(run: Run, step: PlannedStep, held: _Held) -> _Ended:  # noqa: ARG001
    await run.until(lambda: False, now() + nanoseconds(step.wait or timedelta(0)))
    return "", ""


async def _check(run: Run, step: PlannedStep, held: _Held) -> _Ended:
    """Probes that nobody else asks for look only now."""
    own = [looker for name, looker in run.occasional.items() if name in step.check]
    await asyncio.gather(*(looker.open() for looker in own))
    looking = [asyncio.create_task(looker.keep_looking()) for looker in own]
    try:
        return await _until(run, step, held)
    finally:
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, *(looker.close() for looker in own), return_exceptions=True)


async def _until(run: Run, step: PlannedStep, held: _Held) -> _Ended:  # noqa: ARG001
    found = ""

    def decided() -> bool:
        nonlocal found
        found = steps.decided(step, run.plan, run.history, now())
        return bool(found)

    await run.until(decided)
    return (steps.missing(step, run.plan, run.history) if found == "failed" else "", "")


async def _manual(run: Run, step: PlannedStep, held: _Held) -> _Ended:  # noqa: ARG001
    assert step.manual is not None
    path = confirm.place(run.journal.folder, step.name)
    deadline = run.history.steps[step.name].began + nanoseconds(step.manual.within)
    if await run.until(path.exists, deadline):
        return "", await asyncio.to_thread(confirm.who, path)
    return f"nobody confirmed it within {step.manual.within.total_seconds():g} s", ""


# --- procedures ----------------------------------------------------------------------------------------------------


async def _procedure(run: Run, step: PlannedStep, held: _Held) -> _Ended:  # noqa: ARG001
    assert step.procedure is not None and step.within is not None
    running = await _begun(run, step.procedure, step.name)
    if isinstance(running, procedure.Running):
        outcome = await _finished(run, running, step.within)
    else:
        outcome = running
    _told(run, step.procedure, step.name, outcome)
    if run.stop:
        raise Stop
    name = step.procedure.procedure
    return ("" if outcome.succeeded else steps.failed(name, outcome.output, outcome.status), "")


async def _begun(run: Run, planned: PlannedRestore, step: str) -> procedure.Running | procedure.Outcome:
    """Its beginning is in the journal before anybody waits for it: who comes after a dead runner ends it first."""
    command = run.secrets.fill_all(planned.command)
    try:
        running = await asyncio.to_thread(procedure.Running, command, planned.cwd)
    except OSError as error:
        return procedure.not_started(command, error)
    about = {"procedure": planned.procedure, "step": step, "pid": running.pid, "pid_start": running.start}
    run.emit(ev.ProcedureBegan(**about, by="runner", **moment()), sync=True)
    return running


async def _finished(run: Run, running: procedure.Running, within: timedelta) -> procedure.Outcome:
    """A run that is to stop kills it."""
    finishing = asyncio.create_task(asyncio.to_thread(running.finish, within))
    try:
        await run.until(finishing.done)
    except BaseException as error:
        running.kill("killed: the run was broken off")
        outcome = await finishing
        if isinstance(error, Stop):
            return outcome
        raise
    return await finishing


def _told(run: Run, planned: PlannedRestore, step: str, outcome: procedure.Outcome) -> None:
    about: Mapping[str, Any] = {"procedure": planned.procedure, "step": step, "by": "runner"}
    said = {"succeeded": outcome.succeeded, "status": outcome.status, "output": outcome.output}
    run.emit(ev.ProcedureEnded(**about, **said, **moment()), sync=True)


async def mend(run: Run, planned: PlannedRestore) -> None:
    """The `on-abort` procedure, to its end: it hears no Ctrl-C."""
    try:
        running = await _begun(run, planned, "")
    except UsageError as error:
        _told(run, planned, "", procedure.Outcome(False, str(error)))
        return
    if isinstance(running, procedure.Running):
        finishing = asyncio.create_task(asyncio.to_thread(running.finish, planned.timeout))
        while not finishing.done():
            with suppress(asyncio.CancelledError):
                await asyncio.shield(finishing)
        running = finishing.result()
    _told(run, planned, "", running)
