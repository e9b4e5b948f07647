"""The run, always in this order: steady state, prepare, receipt on disk, inject, confirm, hold while looking, revert,
confirm it is gone, watch for recovery and relapse, restore if needed, end. An experiment's own steps take the place of
all from prepare to confirm.

Whatever goes wrong in between, what was injected is taken out: revert has its own clock and hears no Ctrl-C.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType

from veloz_chaos.core import event as ev
from veloz_chaos.core.session import planned
from veloz_chaos.engine import gate
from veloz_chaos.engine.clock import moment, now
from veloz_chaos.engine.look import Fate, lookers
from veloz_chaos.engine.run import RESTORED_WITHIN, Run, Stop
from veloz_chaos.engine.sessions import Sessions
from veloz_chaos.errors import Refused, UsageError

#: Whatever blocks has a thread: so many, and two for each fault, so that all strike at once on a small machine too.
THREADS = 8


async def execute(run: Run) -> None:
    """The whole run; every way out is in the journal. Raises UsageError for what a probe's own type refuses."""
    run.loop = asyncio.get_running_loop()
    run.loop.set_default_executor(ThreadPoolExecutor(THREADS + 2 * len(run.plan.faults), thread_name_prefix="run"))
    with _signals(run):
        tasks: list[asyncio.Task[None]] = []
        try:
            all_lookers = lookers(
                run.plan.probes,
                run.registry,  # type: ignore[arg-type]
                run.secrets,
                run.lag,
                run.emit,
                run.workload.counts if run.workload else lambda: None,
                Fate(run.plan.workload.place) if run.plan.workload else None,
            )
            run.lookers = [looker for looker in all_lookers if looker.name not in run.plan.occasional]
            run.occasional = {looker.name: looker for looker in all_lookers if looker.name in run.plan.occasional}
            await _steps(run, tasks)
        finally:
            for task in tasks:
                task.cancel()
            await run.deafen()
            await asyncio.gather(*tasks, *(looker.close() for looker in run.lookers), return_exceptions=True)


async def _look(run: Run, tasks: list[asyncio.Task[None]]) -> None:
    """From now on. Raises Refused for a login that fails, UsageError for a probe that cannot begin."""
    asked = [probe.arguments for probe in run.plan.probes.values()]
    sessions = Sessions(planned(run.plan.sessions, asked, None), run.secrets)
    await sessions.open()
    tasks.append(asyncio.create_task(sessions.keep()))
    await asyncio.gather(*(looker.open() for looker in run.lookers))
    tasks += [asyncio.create_task(looker.keep_looking()) for looker in run.lookers]
    tasks.append(asyncio.create_task(run.lag.watch(run.emit)))


async def _steps(run: Run, tasks: list[asyncio.Task[None]]) -> None:
    cause: str = "completed"
    down: list[str] = []
    if run.workload is not None:
        run.workload.listen()
    try:
        await _look(run, tasks)
        if run.workload is not None:
            run.emit(await run.workload.await_ready())
        await run.baseline()
        if not run.plan.placebo:
            if run.guardian is not None:
                await asyncio.to_thread(run.guardian.await_ready)
            whole = await _steps_of_its_own(run) if run.plan.steps else await _one_strike(run)
            cause = "completed" if whole else "failed"
        if cause == "completed":
            await run.watch()
        if run.workload is not None:
            run.workload.halt()
        down = await run.restore() if cause == "completed" else await _after_abort(run)
    except Refused as refusal:
        cause = _refuse(run, str(refusal))
        down = await _after_abort(run) if run.plan.steps and cause == "aborted" else []
    except Stop:
        cause = "aborted"
        down = await _after_abort(run)
    except UsageError as error:
        cause = _refuse(run, str(error))
        down = await _after_abort(run) if run.plan.steps and cause == "aborted" else []
    if run.workload is not None:
        run.emit(await run.workload.end(settle=cause == "completed"))
    await run.deafen()
    left = [hand.id for hand in run.hands if hand.fault.held and not run.history.fault(hand.id).cleared]
    if run.history.owed:
        left += [fault.id for fault in run.plan.faults if fault.irreversible] or ["on-abort"]
    run.emit(ev.RunEnded(cause=cause, by="runner", down=down, left=left, **moment()))


def _refuse(run: Run, why: str) -> str:
    """Before anything was touched that is a refusal; afterwards the run is aborted."""
    if any(record.inject_began is not None for record in run.history.faults.values()):
        run.emit(ev.AbortRequested(cause=why, **moment()))
        return "aborted"
    for hand in run.hands:
        run.emit(ev.FaultCleared(fault=hand.id, by="runner", note="it was never injected", **moment()))
    run.emit(ev.RunRefused(reasons=why.splitlines(), **moment()))
    return "refused"


async def _one_strike(run: Run) -> bool:
    """Prepare, inject, confirm, hold; and take out, whatever happened in between."""
    await gate.ask(run, gate.STRIKE, [fault.id for fault in run.plan.faults])
    hands = await run.prepare(run.plan.faults)
    await run.listen(hands)
    try:
        if await run.inject(hands):
            await run.hold()
    finally:
        await run.take_out(run.hands)
    return True


async def _steps_of_its_own(run: Run) -> bool:
    from veloz_chaos.engine import sequence  # only where there are steps

    return await sequence.take(run)


async def _after_abort(run: Run) -> list[str]:
    """A kill that was aborted leaves a service on its way back; wait for it, restore it if it stays dead."""
    if run.workload is not None:
        run.workload.halt()
    if not run.hands:
        return []
    run.stop = ""
    if run.history.owed:
        from veloz_chaos.engine import sequence

        await sequence.mend(run, run.history.owed)
    started = now()
    try:
        await run.until(lambda: not run.broken(), started + RESTORED_WITHIN)
        return await run.restore()
    except (Stop, UsageError):
        return sorted({fault.on for fault in run.plan.faults}) if run.broken() else []


@contextmanager
def _signals(run: Run) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP ask the run to end; a second one changes nothing, the revert goes on. One that comes
    too late for the run is for whoever heard them before.

    No handler of the loop: taking that away leaves an instant in which a signal does what nobody wants.
    """
    came: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        came.append(number)
        run.stop = run.stop or f"{signal.Signals(number).name} received"

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came and run.history.ended is not None and not run.history.aborted:
            signal.raise_signal(came[0])
