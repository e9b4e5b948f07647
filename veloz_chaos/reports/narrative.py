"""A run told as it happens, one line for each thing worth one: `3.421 s  engine-connected not shown: refused`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from veloz_chaos.core import drill
from veloz_chaos.core import event as ev
from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.length import length
from veloz_chaos.core.plan import Plan, PlannedFault, is_link
from veloz_chaos.core.steps import failed

#: Characters of a line, unless every look is wanted in full; what undoes a fault by hand is never cut.
_LONGEST = 110
_OUTCOMES = {"shown": "shown", "not-shown": "not shown", "unanswered": "no answer"}


class Narrator:
    """Folds the events of one run; only changes are told, unless `every` look is wanted."""

    def __init__(self, *, every: bool = False) -> None:
        self._every = every
        self._start: int | None = None
        self._plan: Plan | None = None
        #: of a drill: what a person is -> who that is
        self._roles: Mapping[str, str] = {}
        self._last: dict[str, str] = {}

    def tell(self, event: ev.Event) -> str | None:
        """The event's line, None if it is not worth one."""
        if self._start is None:
            self._start = event.at
        text = self.say(event)
        return text and f"{(event.at - self._start) / SECOND:8.3f} s  {text}"

    def say(self, event: ev.Event) -> str | None:
        """The same without its time."""
        text = self._text(event)
        return text if text is None or self._every else _short(text)

    def _text(self, event: ev.Event) -> str | None:
        if isinstance(event, ev.RunStarted):
            self._plan = event.plan
            return f"run {event.run}: {event.plan.title} on {event.plan.environment}"
        if isinstance(event, ev.LookTaken):
            return self._look(event)
        if isinstance(event, ev.PresenceLooked):
            return self._presence(event)
        if isinstance(event, ev.RunApproved):
            self._roles = drill.roles_of(event.document)
        if isinstance(event, ev.StepEnded) and self._plan is not None and event.confirmed:
            return _step_ended(event, drill.instead(self._plan, self._roles, event.step, event.confirmed))
        tell = _TOLD.get(type(event))
        return tell(event, self._name(getattr(event, "fault", ""))) if tell else None

    def _look(self, event: ev.LookTaken) -> str | None:
        before, self._last[event.probe] = self._last.get(event.probe), event.outcome
        if before == event.outcome and not self._every:
            return None
        if before is None and not self._every and self._is_expected(event):
            return None
        reason = f": {event.reason}" if event.reason and event.outcome != "shown" else ""
        return f"{event.probe} {_OUTCOMES[event.outcome]}{reason}"

    def _is_expected(self, event: ev.LookTaken) -> bool:
        """In the baseline the steady state is shown and nothing else is said of it."""
        steady = self._plan is not None and event.probe in self._plan.steady_state
        return event.outcome == "shown" if steady else event.outcome == "not-shown"

    def _presence(self, event: ev.PresenceLooked) -> str | None:
        key = f"in place: {event.fault}"
        before, self._last[key] = self._last.get(key, "not-shown"), event.outcome
        if before == event.outcome and not self._every:
            return None
        words = {"shown": "in place", "not-shown": "not in place", "unanswered": "can't be told"}
        return f"{self._name(event.fault)}: {words[event.outcome]}: {event.evidence}"

    def _name(self, fault: str) -> str:
        return fault_name(self._plan, fault)


def fault_name(plan: Plan | None, fault: str) -> str:
    """`kill on engine`, or the bare id where the plan does not know it."""
    found: PlannedFault | None = next((f for f in plan.faults if f.id == fault), None) if plan else None
    return f"{found.kind} on {found.on}" if found else fault


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST or "undo it with" in text else text[: _LONGEST - 1] + "…"


def _ended(event: ev.RunEnded, _: str) -> str:
    links = [name for name in event.down if is_link(name)]
    services = [name for name in event.down if not is_link(name)]
    down = f"; still down: {', '.join(services)}" if services else ""
    down += f"; not recovered from: {', '.join(links)}" if links else ""
    by = "" if event.by == "runner" else f" by the {event.by}"
    return f"{event.cause}{by}{down}"


_WHAT = {
    "died": "died",
    "out-of-memory": "ran out of memory",
    "started": "was started again",
    "replaced": "was replaced, and what took its place serves",
}


def _reported(event: ev.TargetReported, name: str) -> str:
    detail = f" ({event.detail})" if event.detail else ""
    return f"{name}: the {event.kind} {_WHAT.get(event.what, f'is {event.what}')}{detail}"


def _restored(event: ev.ServiceRestored, _: str) -> str:
    outcome = "succeeded" if event.succeeded else f"failed: {event.output}"
    return f"restoring {event.service} by {event.procedure} {outcome}"


def _step_ended(event: ev.StepEnded, meant: str = "") -> str:
    """`meant`: who was to confirm it, if somebody else did."""
    by = f" by {event.confirmed}" if event.confirmed else ""
    by += f" ({meant} was to confirm it)" if meant else ""
    return f"step {event.step} {event.outcome}{by}" + (f": {event.reason}" if event.reason else "")


def _procedure_ended(event: ev.ProcedureEnded, _: str) -> str:
    output = event.output[-_LONGEST:]
    said = f"{event.procedure} succeeded" if event.succeeded else failed(event.procedure, output, event.status)
    return said + ("" if event.by == "runner" else f" ({event.by})")


def _approved(event: ev.RunApproved, _: str) -> str:
    by = ", ".join(one.by for one in event.approvals) or "nobody (none is needed)"
    return f"plan {event.sha256[:12]} approved by {by}; run by {event.person}"


def _go(event: ev.GoAnswered, _: str) -> str:
    return f"{'go' if event.go else 'NO-GO'} for {event.name} by {event.by or 'nobody: none was said in time'}"


_TOLD: dict[type, Callable[[Any, str], str]] = {
    ev.RunApproved: _approved,
    ev.GoAsked: lambda event, _: f"go or no-go for {event.name}?",
    ev.GoAnswered: _go,
    ev.BaselineBegan: lambda *_: "looking at the steady state",
    ev.BaselineEnded: lambda *_: "the steady state holds",
    ev.RunRefused: lambda event, _: "refused: " + "; ".join(event.reasons),
    ev.InjectionBegan: lambda _, name: f"{name}: injecting",
    ev.InjectionFailed: lambda event, name: f"{name}: injection failed: {event.error}",
    ev.TargetReported: _reported,
    ev.FaultLost: lambda event, name: f"{name}: lost: {event.cause}",
    ev.RevertBegan: lambda event, name: f"{name}: taking it out" + ("" if event.by == "runner" else f" ({event.by})"),
    ev.RevertFailed: lambda event, name: f"{name}: NOT TAKEN OUT: {event.error}; undo it with: {event.by_hand}",
    ev.FaultCleared: lambda event, name: f"{name}: gone" + (f"; {event.note}" if event.note else ""),
    ev.LoopStalled: lambda event, _: f"the runner itself stood still for {length(event.at - event.since)}",
    ev.ClockJumped: lambda *_: "the clock jumped: the machine slept",
    ev.AbortRequested: lambda event, _: f"aborting: {event.cause}",
    ev.ServiceRestored: _restored,
    ev.StepBegan: lambda event, _: f"step {event.step}",
    ev.StepEnded: _step_ended,
    ev.ProcedureBegan: lambda event, _: f"{event.procedure} is run" + ("" if event.step else ", to mend the system"),
    ev.ProcedureEnded: _procedure_ended,
    ev.RunnerFailed: lambda event, _: f"our own bug: {event.error}",
    ev.RunEnded: _ended,
}
