"""The state of a run under way, and the few lines that show it on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from veloz_chaos.core import event as ev
from veloz_chaos.core.interval import Nanoseconds
from veloz_chaos.core.length import length
from veloz_chaos.core.plan import Plan

Style = Literal["title", "plain", "good", "bad", "unknown", "faint"]
Line = tuple[Style, str]
_WORDS = {"shown": "shown", "not-shown": "not shown", "unanswered": "no answer"}


@dataclass
class ProbeState:
    outcome: str
    reason: str
    looks: int


@dataclass
class Scene:
    """`began` and `ended` are when the fault was first and last known to be in place, in boot-time ns."""

    plan: Plan | None = None
    phase: str = "starting"
    started: int = 0
    began: int | None = None
    ended: int | None = None
    detected: int | None = None
    faults: dict[str, str] = field(default_factory=dict)
    probes: dict[str, ProbeState] = field(default_factory=dict)

    def add(self, event: ev.Event) -> None:
        if isinstance(event, ev.LookTaken):
            self._look(event)
            return
        if isinstance(event, ev.RunStarted):
            self.plan, self.started = event.plan, event.at
            self.faults = {fault.id: "prepared" for fault in event.plan.faults}
        self.phase = _PHASES.get(type(event), self.phase)
        if isinstance(event, ev.StepBegan):
            self.phase = self._step(event.step)
        if isinstance(event, ev.ProcedureBegan) and not event.step:
            self.phase = f"mending it by {event.procedure}"
        if isinstance(event, ev.InjectionBegan):
            self.began = self.began or event.at
        if isinstance(event, ev.PresenceLooked):
            self.faults[event.fault] = f"{_PRESENCE[event.outcome]}: {event.evidence}"
            if event.outcome == "shown" and self.phase == "injecting":
                self.phase = "in place, watching"
        if isinstance(event, ev.RevertBegan):
            self.ended = event.at

    def _step(self, name: str) -> str:
        step = next((one for one in self.plan.steps if one.name == name), None) if self.plan else None
        manual = step.manual if step else None
        return f"step {name}" + (f": {manual.do} ({manual.by})" if manual else "")

    def _look(self, event: ev.LookTaken) -> None:
        before = self.probes.get(event.probe)
        looks = before.looks + 1 if before else 1
        self.probes[event.probe] = ProbeState(event.outcome, event.reason, looks)
        signals = self.plan.detection.signals if self.plan and self.plan.detection else []
        if event.probe in signals and event.outcome == "shown" and self.began and self.detected is None:
            self.detected = event.answered

    def lines(self, now: int, width: int = 80) -> Iterator[Line]:
        if self.plan is None:
            yield "title", self.phase
            return
        yield "title", _cut(f"{self.plan.title} on {self.plan.environment}: {self.phase}", width)
        for fault in self.plan.faults:
            head = f"  {fault.kind} on {fault.on} ({fault.offer.mechanism})"
            yield "plain", _cut(f"{head} {self.faults.get(fault.id, '')}", width)
        yield "plain", _cut("  " + "   ".join(self._clocks(now)), width)
        yield from self._looks(width)

    def _clocks(self, now: int) -> Iterator[str]:
        """Since the fault began, against the row's limits."""
        assert self.plan is not None
        limits = self.plan.limits
        yield f"{length(_whole(now - self.started))} since the start"
        if self.began is None:
            return
        if self.plan.detection is not None:
            told = "detected" if self.detected else "undetected"
            yield f"{told} {_against((self.detected or now) - self.began, limits.detection)}"
        start = self.ended if self.plan.held else self.began
        if start is not None:
            yield f"recovery {_against(now - start, limits.recovery)}"

    def _looks(self, width: int) -> Iterator[Line]:
        assert self.plan is not None
        size = max(map(len, self.plan.probes), default=0)
        for name in self.plan.probes:
            state = self.probes.get(name)
            style, word = (self._style(name, state), _WORDS[state.outcome]) if state else ("faint", "not looked")
            reason = state.reason if state and state.outcome != "shown" else ""
            count = f"{state.looks:6d}" if state else "     0"
            yield style, _cut(f"  {name:{size}}  {word:10}{count}  {reason}".rstrip(), width)

    def _style(self, name: str, state: ProbeState) -> Style:
        """A steady state that holds is good; what is not part of it is no news until it is shown."""
        assert self.plan is not None
        if state.outcome == "unanswered":
            return "unknown"
        if name in self.plan.steady_state:
            return "good" if state.outcome == "shown" else "bad"
        return "plain" if state.outcome == "shown" else "faint"


def _against(since: int, limit: timedelta | None) -> str:
    return f"{length(_whole(since))} / {'—' if limit is None else length(limit)}"


def _whole(value: Nanoseconds) -> Nanoseconds:
    """To tenths of a second, so that the clock does not flicker."""
    return round(value / 1e8) * 1e8


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split("\n"))
    return text if len(text) <= width else text[: width - 1] + "…"


_PRESENCE = {"shown": "in place", "not-shown": "not in place", "unanswered": "can't be told"}
_PHASES: dict[type, str] = {
    ev.BaselineBegan: "looking at the steady state",
    ev.BaselineEnded: "preparing",
    ev.InjectionBegan: "injecting",
    ev.FaultLost: "the fault was lost",
    ev.RevertBegan: "taking it out",
    ev.RevertFailed: "NOT taken out",
    ev.FaultCleared: "watching the recovery",
    ev.AbortRequested: "aborting",
    ev.ServiceRestored: "restoring",
    ev.RunEnded: "ended",
}
