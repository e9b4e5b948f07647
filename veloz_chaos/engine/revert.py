"""Take out whatever a journal holds open: by the guardian when the runner is dead, or by hand, on any machine.

What can't be taken out is mended by the experiment's `on-abort` procedure, unless its steps all ended well. A journal
that can't be written keeps nobody from it, nor does whatever one of the faults raises.
"""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from veloz_chaos.core import event as ev
from veloz_chaos.core.address import is_loopback, split_address
from veloz_chaos.core.capability import Reference, Target
from veloz_chaos.core.history import of
from veloz_chaos.core.plan import PlannedRestore
from veloz_chaos.core.steps import failed
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine import procedure
from veloz_chaos.engine.clock import moment, now
from veloz_chaos.engine.hand import PAUSE, REVERT_PATIENCE, Backends, Hand, pick_up, signed, take_out
from veloz_chaos.engine.journal import Journal
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.errors import Gone, TargetError, Unavailable, UsageError
from veloz_chaos.mechanisms import proc


def revert(folder: Path, backends: Backends, by: ev.By, *, wait: bool = True) -> list[str]:
    """Newest first, everything tried. Returns what may still be in place, each with the command that undoes it.

    Raises BlockingIOError if the run is still alive and `wait` is False, UsageError for no journal.
    """
    journals.read(folder)
    journal = Journal.reopen(folder, wait=wait)
    pen = _Pen(journal)
    try:
        events = journals.read(folder)
        _end_procedures(events)
        _disarm(events, backends)
        prepared_faults = ev.open_faults(events)
        left = [_one(prepared, events, backends, by, pen) for prepared in prepared_faults]
        unmended = _mend(events, by, journal.secrets, pen)
        if not any(isinstance(event, ev.RunEnded) for event in events):
            open_still = [prepared.fault for prepared, text in zip(prepared_faults, left, strict=True) if text]
            open_still += _irreversible(events) if unmended else []
            pen(ev.RunEnded(cause="interrupted", by=by, left=open_still, **moment()), sync=True)
        return [text for text in [*left, unmended] if text] or pen.unwritten(folder) or _forget(events)
    finally:
        journal.close()


class _Pen:
    """Writes into the journal what can be written: no disk keeps a fault in place."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._failed = ""

    def __call__(self, event: ev.Event, *, sync: bool = False) -> None:
        try:
            self._journal.append(event, sync=sync)
        except OSError as error:
            self._failed = error.strerror or str(error)

    def unwritten(self, folder: Path) -> list[str]:
        """What is to be done before the journal, too, says that nothing is left."""
        if not self._failed:
            return []
        return [
            f"by its journal alone, which can't be written: {self._failed}; all was taken out: "
            f"mend that, then close it with: veloz-chaos revert {folder}"
        ]


def _end_procedures(events: list[ev.Event]) -> None:
    """What the dead runner left running on this machine: two restores at once would be worse than none."""
    started = events[0] if events else None
    ended = [(event.procedure, event.step) for event in events if isinstance(event, ev.ProcedureEnded)]
    for event in events:
        if not isinstance(event, ev.ProcedureBegan):
            continue
        if (event.procedure, event.step) in ended:
            ended.remove((event.procedure, event.step))
        elif isinstance(started, ev.RunStarted) and started.boot_id == proc.boot_id():
            procedure.end(event.pid, event.pid_start)


def _mend(events: list[ev.Event], by: ev.By, secrets: Secrets, pen: _Pen) -> str:
    """Run the procedure that is owed. What is left then, in words; empty if nothing is."""
    started = events[0] if events else None
    if not isinstance(started, ev.RunStarted) or started.plan.on_abort is None:
        return ""
    owed = of(events).owed
    if owed is None:
        return ""
    by_hand = owed.by_hand
    if started.host != socket.gethostname():
        return f"`{owed.procedure}` must be run on {started.host}: veloz-chaos revert there, or by hand: {by_hand}"
    outcome = _run(owed, by, secrets, pen)
    said = {"succeeded": outcome.succeeded, "status": outcome.status, "output": outcome.output}
    pen(ev.ProcedureEnded(procedure=owed.procedure, by=by, **said, **moment()), sync=True)
    if outcome.succeeded:
        return ""
    return f"{failed(f'`{owed.procedure}`', outcome.output, outcome.status)}; run it by hand: {by_hand}"


def _run(owed: PlannedRestore, by: ev.By, secrets: Secrets, pen: _Pen) -> procedure.Outcome:
    try:
        running = procedure.Running(secrets.fill_all(owed.command), owed.cwd)
    except OSError as error:
        return procedure.not_started(owed.command, error)
    except UsageError as error:
        return procedure.Outcome(False, str(error))
    about = {"procedure": owed.procedure, "pid": running.pid, "pid_start": running.start}
    pen(ev.ProcedureBegan(**about, by=by, **moment()), sync=True)
    return running.finish(owed.timeout)


def _irreversible(events: list[ev.Event]) -> list[str]:
    started = events[0]
    assert isinstance(started, ev.RunStarted)
    return [fault.id for fault in started.plan.faults if fault.irreversible] or ["on-abort"]


def _forget(events: list[ev.Event]) -> list[str]:
    """Nothing is left in place: nor is what the cluster keeps of it."""
    started = events[0] if events else None
    if not isinstance(started, ev.RunStarted) or started.plan.cluster is None:
        return []
    from veloz_chaos.engine import mirror

    note = mirror.remove(started.plan.cluster, started.run)
    return [note] if note else []


def _disarm(events: list[ev.Event], backends: Backends) -> None:
    """What stands ready for faults that were never injected, also where the runner died before it wrote a receipt."""
    injected = {event.fault for event in events if isinstance(event, ev.InjectionBegan)}
    ready = [
        (planned.reference, signed(started.run, number))
        for started in events[:1]
        if isinstance(started, ev.RunStarted)
        for number, planned in enumerate(started.plan.faults, start=1)
        if planned.id not in injected
    ]
    with ThreadPoolExecutor(max_workers=max(1, len(ready))) as threads:
        for reference, sign in ready:
            threads.submit(_disarm_one, reference, sign, backends)


def _disarm_one(reference: Reference, sign: str, backends: Backends) -> None:
    with suppress(TargetError):
        target: Target = backends.backend(reference.backend).reopen(reference)
        target.disarm(sign)


def _one(prepared: ev.FaultPrepared, events: list[ev.Event], backends: Backends, by: ev.By, pen: _Pen) -> str:
    """What is left of one fault, in words; empty if nothing is."""
    if _never_injected(prepared, events):
        return _close(prepared, by, pen, "it was never injected")
    try:
        _refuse_elsewhere(prepared, events)
        if take_out(_picked_up(prepared, backends), by, pen, prepared.by_hand):
            return ""
        return f"{prepared.kind} on {prepared.reference.name} may still be in place; undo it with: {prepared.by_hand}"
    except Gone as error:
        return _close(prepared, by, pen, str(error))
    except TargetError as error:
        why = str(error)
    except Exception as error:  # noqa: BLE001  # a plug-in's own bug, or one that is missing here: the others go on
        why = f"{type(error).__name__}: {error}"
    pen(ev.RevertFailed(fault=prepared.fault, by=by, error=why, by_hand=prepared.by_hand, **moment()), sync=True)
    return f"{prepared.kind} on {prepared.reference.name}: {why}; undo it with: {prepared.by_hand}"


def _picked_up(prepared: ev.FaultPrepared, backends: Backends) -> Hand:
    """A platform that does not answer is asked again for as long as a revert is tried."""
    end = now() + REVERT_PATIENCE
    while True:
        try:
            return pick_up(prepared, backends)
        except Unavailable:
            if now() > end:
                raise
        time.sleep(PAUSE)


def _never_injected(prepared: ev.FaultPrepared, events: list[ev.Event]) -> bool:
    """Certain only in the boot of the run: a machine that dies takes along the last lines, all but the receipts."""
    if any(isinstance(event, ev.InjectionBegan) and event.fault == prepared.fault for event in events):
        return False
    return any(isinstance(event, ev.RunStarted) and event.boot_id == proc.boot_id() for event in events)


def _close(prepared: ev.FaultPrepared, by: ev.By, pen: _Pen, why: str) -> str:
    """There is nothing to take out."""
    pen(ev.RevertBegan(fault=prepared.fault, by=by, **moment()))
    pen(ev.RevertReturned(fault=prepared.fault, by=by, note=why, **moment()))
    pen(ev.FaultCleared(fault=prepared.fault, by=by, **moment()), sync=True)
    return ""


def _refuse_elsewhere(prepared: ev.FaultPrepared, events: list[ev.Event]) -> None:
    """Another machine's processes, and what it reaches by its loopback, can't be seen from here: only their own machine
    can say that they are gone."""
    started = next(event for event in events if isinstance(event, ev.RunStarted))
    identity, elsewhere = prepared.reference.identity, started.host != socket.gethostname()
    local, api = identity.get("boot_id"), identity.get("api")
    if elsewhere and local is not None and local != proc.boot_id():
        raise Unavailable(f"its target is a process on {started.host}; run `veloz-chaos revert` there")
    if elsewhere and isinstance(api, str) and is_loopback(split_address(api)[0]):
        raise Unavailable(f"its proxy is reached at {api} on {started.host}; run `veloz-chaos revert` there")
