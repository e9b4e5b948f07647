"""What a run leaves behind: past-tense events, a closed union, one JSON line each.

`at` is the boot-time clock in nanoseconds (it counts suspend), `wall` the time of day in seconds since 1970; `wall` is
for people, every measurement uses `at`. The first event of a journal holds the whole plan; together the events are
enough to revert, judge and report.
"""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticSerializationError

from veloz_chaos.core.approval import Approval
from veloz_chaos.core.capability import Reference, What
from veloz_chaos.core.journal_format import FORMAT as FORMAT
from veloz_chaos.core.plan import Plan

Outcome = Literal["shown", "not-shown", "unanswered"]
Fate = Literal["accepted", "refused", "unknown"]
By = Literal["runner", "guardian", "revert", "itself"]


def _plain(value: Any) -> Any:
    """The same as JSON can hold it, so that a value live and one read years later compare alike: what JSON has no word
    for becomes text (NaN too: `null` would say that nothing was read), half characters become U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, int) else str(value)


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    at: int
    wall: float


class RunStarted(_Event):
    event: Literal["run-started"] = "run-started"
    format: int = FORMAT
    run: str
    version: str
    boot_id: str
    host: str
    pid: int
    #: clock ticks since boot, from /proc/PID/stat: with the pid it names one incarnation of the runner
    pid_start: int
    plan: Plan


class RunApproved(_Event):
    """The run of a drill: its plan as it was signed, who signed it, and who runs it. All was checked just before."""

    event: Literal["run-approved"] = "run-approved"
    #: of `document`
    sha256: str
    #: one line of canonical JSON (core/drill.py)
    document: str
    executor: str
    person: str
    needed: int
    approvals: list[Approval]


class GoAsked(_Event):
    """Before a strike of a drill: nothing of it is prepared yet."""

    event: Literal["go-asked"] = "go-asked"
    name: str
    faults: list[str]
    deadline: int


class GoAnswered(_Event):
    event: Literal["go-answered"] = "go-answered"
    name: str
    go: bool
    #: empty: nobody answered in time
    by: str = ""


class BaselineBegan(_Event):
    event: Literal["baseline-began"] = "baseline-began"


class BaselineEnded(_Event):
    """The steady state held for the whole window."""

    event: Literal["baseline-ended"] = "baseline-ended"


class RunRefused(_Event):
    """Nothing was touched."""

    event: Literal["run-refused"] = "run-refused"
    reasons: list[str]


class LookTaken(_Event):
    """One attempt of a probe. Without an answer, `answered` is when we gave up."""

    event: Literal["look-taken"] = "look-taken"
    probe: str
    asked: int
    answered: int
    outcome: Outcome
    reason: str = ""
    #: our own loop stood still meanwhile: a time-out then says nothing
    stalled: bool = False
    #: only where it differs from the probe's last one
    value: Annotated[Any, BeforeValidator(_plain)] = None
    #: the id of the order that this look placed, of a probe that `writes: orders`
    order: str | None = None
    #: what became of it, by the workload's own conditions; None without a workload
    fate: Fate | None = None


class GuardianStarted(_Event):
    event: Literal["guardian-started"] = "guardian-started"
    pid: int
    pid_start: int


class FaultPrepared(_Event):
    """The receipt: on disk before the fault is injected."""

    event: Literal["fault-prepared"] = "fault-prepared"
    fault: str
    kind: str
    arguments: dict[str, Any]
    reference: Reference
    receipt: dict[str, Any]
    #: False: it strikes once, and there is nothing to take out
    held: bool
    #: how to undo it without us
    by_hand: str = ""
    #: the latest instant at which the guardian leaves it in place
    expires: int


class InjectionBegan(_Event):
    event: Literal["injection-began"] = "injection-began"
    fault: str


class InjectionReturned(_Event):
    event: Literal["injection-returned"] = "injection-returned"
    fault: str


class InjectionFailed(_Event):
    event: Literal["injection-failed"] = "injection-failed"
    fault: str
    error: str


class PresenceLooked(_Event):
    """Is the fault's effect there? Measured at the target."""

    event: Literal["presence-looked"] = "presence-looked"
    fault: str
    asked: int
    answered: int
    outcome: Outcome
    evidence: str


class TargetReported(_Event):
    """What the platform told of a fault's target of its own accord. `at` is when it reached us, by our clock: what it
    tells of had happened by then. The platform's own time is never used."""

    event: Literal["target-reported"] = "target-reported"
    fault: str
    what: What
    #: the platform's word for such a target
    kind: str = "target"
    detail: str = ""


class FaultLost(_Event):
    """The effect ended before we took it out: the target restarted, or somebody removed it."""

    event: Literal["fault-lost"] = "fault-lost"
    fault: str
    cause: str


class RevertBegan(_Event):
    event: Literal["revert-began"] = "revert-began"
    fault: str
    by: By


class RevertReturned(_Event):
    event: Literal["revert-returned"] = "revert-returned"
    fault: str
    by: By
    note: str = ""


class RevertFailed(_Event):
    event: Literal["revert-failed"] = "revert-failed"
    fault: str
    by: By
    error: str
    by_hand: str


class FaultCleared(_Event):
    """Looked for again and again until it had been gone for long enough: the fault is closed."""

    event: Literal["fault-cleared"] = "fault-cleared"
    fault: str
    by: By
    #: if its effect could not be looked for any more: what was relied on instead; else what remains, without effect
    note: str = ""


class LoopStalled(_Event):
    """The runner itself stood still from `since` to `at`."""

    event: Literal["loop-stalled"] = "loop-stalled"
    since: int


class ClockJumped(_Event):
    """The machine slept, or the boot-time clock ran ahead of the one that stops in sleep."""

    event: Literal["clock-jumped"] = "clock-jumped"
    since: int


class AbortRequested(_Event):
    event: Literal["abort-requested"] = "abort-requested"
    cause: str


class ServiceRestored(_Event):
    """The environment's own procedure brought a dead service back, or failed to; never counted as recovery."""

    event: Literal["service-restored"] = "service-restored"
    service: str
    procedure: str
    succeeded: bool
    output: str = ""


class WorkloadStarted(_Event):
    """The order flow's own process; `file` is its history, relative to the run's folder."""

    event: Literal["workload-started"] = "workload-started"
    name: str
    pid: int
    file: str


class WorkloadEnded(_Event):
    """The history is complete and on disk, or says why not."""

    event: Literal["workload-ended"] = "workload-ended"
    name: str
    file: str
    #: of the whole file
    sha256: str
    #: orders and cancels sent or due
    operations: int
    accepted: int
    refused: int
    unknown: int
    #: orders that may still be open
    left: int = 0
    #: what kept the history from being complete
    error: str = ""


class StepBegan(_Event):
    event: Literal["step-began"] = "step-began"
    step: str
    #: the latest instant at which a runner that does not hang has ended it
    deadline: int


class StepEnded(_Event):
    """`done`: the next one may begin. What it was like is judged from what was seen meanwhile."""

    event: Literal["step-ended"] = "step-ended"
    step: str
    outcome: Literal["done", "failed", "aborted"]
    reason: str = ""
    #: who said that a manual step is done
    confirmed: str = ""


class ProcedureBegan(_Event):
    """A command of the site's own: its process leads a group of its own."""

    event: Literal["procedure-began"] = "procedure-began"
    procedure: str
    #: empty: not one of the steps, but what is to happen when they do not end as they should
    step: str = ""
    by: By
    pid: int
    pid_start: int


class ProcedureEnded(_Event):
    event: Literal["procedure-ended"] = "procedure-ended"
    procedure: str
    step: str = ""
    by: By
    succeeded: bool
    #: None: it never began, or was killed
    status: int | None = None
    #: the end of what it wrote
    output: str = ""


class RunnerFailed(_Event):
    """Our own bug, or a world that does not let us go on."""

    event: Literal["runner-failed"] = "runner-failed"
    error: str


class RunEnded(_Event):
    event: Literal["run-ended"] = "run-ended"
    cause: Literal["completed", "aborted", "refused", "interrupted", "failed"]
    by: By
    #: services that are still down
    down: list[str] = Field(default_factory=list)
    #: faults that may still be in place
    left: list[str] = Field(default_factory=list)


class JudgedTime(BaseModel):
    """Detection or recovery as it was judged, in nanoseconds; the most is None where it never came."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    verdict: Literal["passed", "failed", "inconclusive"]
    #: both None: nothing was measured
    at_least: int | None = None
    at_most: int | None = None
    #: None: the document gives none
    limit: int | None = None


class RunJudged(_Event):
    """What was told when the run had ended, by the limits in its plan. Nothing is judged by it: `judge` says it again
    from what stands above. It is there so that thousands of runs can be listed without judging each again."""

    event: Literal["run-judged"] = "run-judged"
    verdict: str
    #: in one line
    reason: str
    detection: JudgedTime | None = None
    recovery: JudgedTime | None = None
    #: whatever else was measured, by its expectation: rto, rpo, …
    more: dict[str, JudgedTime] = Field(default_factory=dict)


Event = Annotated[
    RunStarted
    | RunApproved
    | GoAsked
    | GoAnswered
    | BaselineBegan
    | BaselineEnded
    | RunRefused
    | LookTaken
    | GuardianStarted
    | FaultPrepared
    | InjectionBegan
    | InjectionReturned
    | InjectionFailed
    | PresenceLooked
    | TargetReported
    | FaultLost
    | RevertBegan
    | RevertReturned
    | RevertFailed
    | FaultCleared
    | LoopStalled
    | ClockJumped
    | AbortRequested
    | ServiceRestored
    | WorkloadStarted
    | WorkloadEnded
    | StepBegan
    | StepEnded
    | ProcedureBegan
    | ProcedureEnded
    | RunnerFailed
    | RunEnded
    | RunJudged,
    Field(discriminator="event"),
]


@cache
def _adapter() -> TypeAdapter[Event]:
    """Built when something is read, which a run under way never does."""
    return TypeAdapter(Event)


def write(event: Event) -> str:
    """One line of JSON without its newline. Text that is no Unicode is mended: nothing may keep an event out."""
    try:
        return event.model_dump_json(exclude_defaults=False, by_alias=True)
    except PydanticSerializationError:
        return json.dumps(
            _plain(event.model_dump(mode="json", by_alias=True)), ensure_ascii=False, separators=(",", ":")
        )


def read(line: str | bytes) -> Event:
    """Raises ValueError (pydantic's) for anything that is not one event."""
    return _adapter().validate_json(line)


def open_faults(events: list[Event]) -> list[FaultPrepared]:
    """What may still be in place after these events, newest first: prepared, held and never cleared."""
    cleared = {event.fault for event in events if isinstance(event, FaultCleared)}
    return [e for e in reversed(events) if isinstance(e, FaultPrepared) and e.held and e.fault not in cleared]
