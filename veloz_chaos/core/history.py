"""The journal folded into what `measure` asks of it. Live decisions and a judgement years later read the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from veloz_chaos.core import event as ev
from veloz_chaos.core.plan import Plan, PlannedRestore
from veloz_chaos.core.trace import Trace


@dataclass(frozen=True)
class Reported:
    """What the platform told of a fault's target; it had happened by `at`."""

    at: int
    what: str
    kind: str
    detail: str
    entry: int


@dataclass
class FaultRecord:
    """What became of one fault; instants in boot-time nanoseconds, entries are journal lines."""

    prepared: int = 0
    inject_began: int | None = None
    inject_returned: int | None = None
    failed: str = ""
    lost: str = ""
    revert_began: int | None = None
    revert_returned: int | None = None
    revert_error: str = ""
    by_hand: str = ""
    cleared: int | None = None
    presence: Trace = field(default_factory=Trace)
    evidence: str = ""
    #: why the latest look did not find it
    absence: str = ""
    reports: list[Reported] = field(default_factory=list)
    entries: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Value:
    answered: int
    value: Any
    entry: int


@dataclass
class StepRecord:
    """What became of one step; `entries`: the journal's lines of its beginning and its end."""

    began: int
    ended: int | None = None
    outcome: str = ""
    reason: str = ""
    confirmed: str = ""
    entries: tuple[int, ...] = ()
    procedure_began: int | None = None
    procedure: ev.ProcedureEnded | None = None


@dataclass
class History:
    run: str = ""
    plan: Plan | None = None
    traces: dict[str, Trace] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    values: dict[str, list[Value]] = field(default_factory=dict)
    faults: dict[str, FaultRecord] = field(default_factory=dict)
    #: the orders that probes placed, as lines of an order history
    probe_orders: list[dict[str, Any]] = field(default_factory=list)
    baseline_began: int | None = None
    baseline_ended: int | None = None
    refused: list[str] = field(default_factory=list)
    aborted: str = ""
    runner_failed: str = ""
    restored: list[ev.ServiceRestored] = field(default_factory=list)
    jumps: list[int] = field(default_factory=list)
    #: the workload's order history, relative to the run's folder; its hash is empty until the workload has ended
    orders_file: str = ""
    orders_sha256: str = ""
    workload_error: str = ""
    steps: dict[str, StepRecord] = field(default_factory=dict)
    #: what was run because the steps did not end as they should
    mended: list[ev.ProcedureEnded] = field(default_factory=list)
    ended: ev.RunEnded | None = None
    last_at: int = 0
    entries: int = 0

    def add(self, event: ev.Event) -> None:
        self.entries += 1
        if isinstance(event, ev.RunJudged):
            return  # what was said of the run is no part of it
        self.last_at = max(self.last_at, event.at)
        handle = _HANDLERS.get(type(event))
        if handle is not None:
            handle(self, event, self.entries)

    @property
    def struck(self) -> bool:
        """Something may have been done to the system."""
        return any(record.inject_began is not None for record in self.faults.values())

    @property
    def owed(self) -> PlannedRestore | None:
        """The `on-abort` procedure, if it must still run: a step struck, they did not all end well, and it has not
        succeeded since."""
        if self.plan is None or not self.struck or any(ended.succeeded for ended in self.mended):
            return None
        whole = all(step.name in self.steps and self.steps[step.name].outcome == "done" for step in self.plan.steps)
        return None if whole else self.plan.on_abort

    def trace(self, probe: str) -> Trace:
        return self.traces.setdefault(probe, Trace())

    def fault(self, name: str) -> FaultRecord:
        return self.faults.setdefault(name, FaultRecord())


def of(events: Iterable[ev.Event]) -> History:
    history = History()
    for event in events:
        history.add(event)
    return history


def _look(history: History, event: ev.LookTaken, entry: int) -> None:
    history.trace(event.probe).add(event.asked, event.answered, event.outcome, event.stalled, entry)
    if event.outcome != "shown":
        history.reasons[event.probe] = event.reason
    if event.value is not None:
        history.values.setdefault(event.probe, []).append(Value(event.answered, event.value, entry))
    if event.order is not None and event.fate is not None:
        history.probe_orders.append({"id": event.order, "at": event.answered, "outcome": event.fate})


def _presence(history: History, event: ev.PresenceLooked, entry: int) -> None:
    record = history.fault(event.fault)
    record.presence.add(event.asked, event.answered, event.outcome, False, entry)
    if event.outcome == "shown" or not record.evidence:
        record.evidence = event.evidence
    if event.outcome == "not-shown":
        record.absence = event.evidence


def _reported(history: History, event: ev.TargetReported, entry: int) -> None:
    history.fault(event.fault).reports.append(Reported(event.at, event.what, event.kind, event.detail, entry))


def _mark(name: str) -> Any:
    """Remember the instant of an event about a fault under the record's field `name`; the first one counts."""

    def handle(history: History, event: Any, entry: int) -> None:
        record = history.fault(event.fault)
        if getattr(record, name) is None or name in ("prepared", "cleared", "revert_returned"):
            setattr(record, name, event.at)
            record.entries[name] = entry
        record.by_hand = getattr(event, "by_hand", record.by_hand)

    return handle


def _note(name: str, source: str) -> Any:
    def handle(history: History, event: Any, entry: int) -> None:
        record = history.fault(event.fault)
        setattr(record, name, getattr(event, source))
        record.by_hand = getattr(event, "by_hand", record.by_hand)
        record.entries[name] = entry

    return handle


def _started(history: History, event: ev.RunStarted, entry: int) -> None:
    history.run, history.plan = event.run, event.plan


def _set(name: str, source: str) -> Any:
    def handle(history: History, event: Any, entry: int) -> None:
        setattr(history, name, getattr(event, source))

    return handle


def _ended(history: History, event: ev.RunEnded, entry: int) -> None:
    history.ended = event


def _restored(history: History, event: ev.ServiceRestored, entry: int) -> None:
    history.restored.append(event)


def _step_began(history: History, event: ev.StepBegan, entry: int) -> None:
    history.steps[event.step] = StepRecord(event.at, entries=(entry,))


def _step_ended(history: History, event: ev.StepEnded, entry: int) -> None:
    step = history.steps.setdefault(event.step, StepRecord(event.at))
    step.ended, step.outcome, step.reason, step.confirmed = event.at, event.outcome, event.reason, event.confirmed
    step.entries = (*step.entries, entry)


def _procedure_began(history: History, event: ev.ProcedureBegan, entry: int) -> None:
    if event.step in history.steps:
        history.steps[event.step].procedure_began = event.at


def _procedure_ended(history: History, event: ev.ProcedureEnded, entry: int) -> None:
    if not event.step:
        history.mended.append(event)
    elif event.step in history.steps:
        history.steps[event.step].procedure = event


def _workload_started(history: History, event: ev.WorkloadStarted, entry: int) -> None:
    history.orders_file = event.file


def _workload_ended(history: History, event: ev.WorkloadEnded, entry: int) -> None:
    history.orders_file, history.orders_sha256 = event.file, event.sha256
    history.workload_error = event.error


def _jumped(history: History, event: ev.ClockJumped, entry: int) -> None:
    history.jumps.append(event.at)


_HANDLERS: dict[type, Any] = {
    ev.RunStarted: _started,
    ev.BaselineBegan: _set("baseline_began", "at"),
    ev.BaselineEnded: _set("baseline_ended", "at"),
    ev.RunRefused: _set("refused", "reasons"),
    ev.LookTaken: _look,
    ev.FaultPrepared: _mark("prepared"),
    ev.InjectionBegan: _mark("inject_began"),
    ev.InjectionReturned: _mark("inject_returned"),
    ev.InjectionFailed: _note("failed", "error"),
    ev.PresenceLooked: _presence,
    ev.TargetReported: _reported,
    ev.FaultLost: _note("lost", "cause"),
    ev.RevertBegan: _mark("revert_began"),
    ev.RevertReturned: _mark("revert_returned"),
    ev.RevertFailed: _note("revert_error", "error"),
    ev.FaultCleared: _mark("cleared"),
    ev.ClockJumped: _jumped,
    ev.AbortRequested: _set("aborted", "cause"),
    ev.ServiceRestored: _restored,
    ev.StepBegan: _step_began,
    ev.StepEnded: _step_ended,
    ev.ProcedureBegan: _procedure_began,
    ev.ProcedureEnded: _procedure_ended,
    ev.WorkloadStarted: _workload_started,
    ev.WorkloadEnded: _workload_ended,
    ev.RunnerFailed: _set("runner_failed", "error"),
    ev.RunEnded: _ended,
}
