"""The steps of an experiment: when each one's condition came to be, whether it is decided, what it is worth.

Each is an expectation of its own. A condition is met by a look asked within its step; when it came to be is told by all
looks, as a recovery is: [asked of the last that was against it, answered of the first for it], of several conditions
the maximum of each end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from veloz_chaos.core.coverage import unwatched
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.experiment import AnyOf, Clause, names_in
from veloz_chaos.core.finding import Finding, against
from veloz_chaos.core.history import History, StepRecord
from veloz_chaos.core.interval import Interval, Nanoseconds
from veloz_chaos.core.length import length as long
from veloz_chaos.core.measure import Measurement
from veloz_chaos.core.plan import Plan, PlannedStep
from veloz_chaos.core.presence import fault_began, hull, last_of, unforeseen_end
from veloz_chaos.core.trace import NOT_SHOWN, SHOWN, UNANSWERED, Look

#: Characters of a procedure's output that a reason quotes: its end.
_QUOTED = 160


@dataclass(frozen=True)
class Met:
    """When a condition came to be (until infinity: it is not met), and the journal entries that say so."""

    at: Interval
    entries: tuple[int, ...]

    @property
    def yet(self) -> bool:
        return not math.isinf(self.at.at_most)


def conditions(step: PlannedStep, plan: Plan) -> Sequence[Clause]:
    """What the step looks for."""
    return plan.steady_state if step.until == "steady-state" else step.until or step.check


def patience(step: PlannedStep, plan: Plan) -> int:
    """The longest look of its conditions: so long beyond its limit a late end still shows."""
    probes = [plan.probes[name] for clause in conditions(step, plan) for name in names_in(clause)]
    return max((nanoseconds(p.every) + nanoseconds(p.timeout) for p in probes), default=0)


# --- conditions ----------------------------------------------------------------------------------------------------


def met(step: PlannedStep, plan: Plan, history: History, upto: float = math.inf) -> Met:
    """By the looks told of before the journal's entry `upto`."""
    began = history.steps[step.name].began
    find = _shown_once if step.check else _came_to_be
    found = [find(clause, plan, history, began, upto) for clause in conditions(step, plan)]
    at = Interval(max(one.at.at_least for one in found), max(one.at.at_most for one in found))
    return Met(at, tuple(entry for one in found for entry in one.entries)[:4])


def _shown_once(clause: Clause, plan: Plan, history: History, began: int, upto: float) -> Met:  # noqa: ARG001
    """A check: the first look of the step that shows it tells all; one that does not, that it did not hold."""
    (name,) = names_in(clause)
    looks = [look for look in history.trace(name).since(began) if look.entry < upto]
    shown = min((look for look in looks if look.outcome == SHOWN), key=lambda look: look.answered, default=None)
    if shown is not None:
        return Met(Interval(shown.asked, shown.answered), (shown.entry,))
    return Met(
        Interval(max((look.asked for look in looks), default=began), math.inf), tuple(x.entry for x in looks[:1])
    )


def _came_to_be(clause: Clause, plan: Plan, history: History, began: int, upto: float) -> Met:
    if isinstance(clause, AnyOf):
        found = [_came_to_be(text, plan, history, began, upto) for text in clause.any_of]
        return min(found, key=lambda one: (one.at.at_most, one.at.at_least))
    (name,) = names_in(clause)
    wanted, against_it = _readings(clause.startswith("not "), steady=name in plan.steady_state)
    trace, since = history.trace(name), history.baseline_began or 0
    last = next((look for look in trace.back_from(math.inf) if look.entry < upto and against_it(look)), None)
    at_least = last.asked if last else since
    over = max(last.answered, _latest_answer(name, history, last, against_it, upto)) if last else since
    first = next((look for look in trace.since(over) if look.entry < upto and wanted(look)), None)
    fresh = any(look.entry < upto and wanted(look) for look in trace.since(max(began, over)))
    if first is None or not fresh:
        return Met(Interval(max(at_least, since), math.inf), (last.entry,) if last else ())
    return Met(Interval(min(at_least, first.answered), first.answered), (first.entry,))


def _latest_answer(name: str, history: History, last: Look, against_it: Callable[[Look], bool], upto: float) -> int:
    """Looks overlap: one asked before the last may have been answered after it."""
    under_way = history.trace(name).answered_since(last.answered)
    return max((x.answered for x in under_way if x.entry < upto and against_it(x)), default=last.answered)


def _readings(negated: bool, *, steady: bool) -> tuple[Callable[[Look], bool], Callable[[Look], bool]]:
    """Which looks are for a condition, which against it. No answer is not what was to be shown; it breaks a steady
    state, but of anything else it says nothing to the contrary."""
    if not negated:
        return (lambda look: look.outcome == SHOWN), (lambda look: look.bad)
    no = (NOT_SHOWN, UNANSWERED) if steady else (NOT_SHOWN,)
    return (lambda look: look.outcome in no), (lambda look: look.outcome == SHOWN)


# --- is it decided? ------------------------------------------------------------------------------------------------


def decided(step: PlannedStep, plan: Plan, history: History, now: int) -> Literal["done", "failed", ""]:
    """Of a step under way that looks for something. One that comes only after its limit has failed."""
    began, limit = history.steps[step.name].began, _limit(step)
    found = met(step, plan, history)
    if found.at.since(Interval(began, began)).at_least > limit and (found.yet or not step.check):
        return "failed"
    if found.yet and _held(step, plan, history, now, found.at.at_most):
        return "done"
    over = step.check and _no_look_will_show(step, plan, history, began + limit, now)
    return "failed" if over or now > began + limit + patience(step, plan) + _hold(step, plan) else ""


def _hold(step: PlannedStep, plan: Plan) -> int:
    return nanoseconds(plan.hold) if step.until == "steady-state" else 0


def _held(step: PlannedStep, plan: Plan, history: History, now: int, since: Nanoseconds) -> bool:
    """A steady state that is back has held for a while, every probe of it to within its last period."""
    until = since + _hold(step, plan)
    if step.until != "steady-state":
        return True
    lately = (until - nanoseconds(plan.probes[name].every) for name in plan.steady_state)
    answered = (history.trace(name).last_answer() or 0 for name in plan.steady_state)
    return now >= until and all(a >= b for a, b in zip(answered, lately, strict=True))


def _no_look_will_show(step: PlannedStep, plan: Plan, history: History, until: Nanoseconds, now: int) -> bool:
    """A probe that has not shown it looks no more within the limit, and all its looks have ended."""
    for name in step.check:
        looks, probe = list(history.trace(name).since(history.steps[step.name].began)), plan.probes[name]
        if any(look.outcome == SHOWN for look in looks) or not looks:
            continue
        under_way = probe.every < probe.timeout and now < looks[-1].asked + nanoseconds(probe.timeout)
        if looks[-1].asked + nanoseconds(probe.every) > until and not under_way:
            return True
    return False


def _limit(step: PlannedStep) -> Nanoseconds:
    return math.inf if step.within is None else nanoseconds(step.within)


# --- what it is worth ----------------------------------------------------------------------------------------------


def instant(step: PlannedStep, plan: Plan, history: History, m: Measurement) -> Interval | None:
    """When it was done: an injection when it struck, a condition when it came to be. None: it was not."""
    record = history.steps.get(step.name)
    if record is None or record.ended is None or record.outcome != "done":
        return None
    if step.inject:
        faults = [fault for fault in plan.faults if fault.id in step.inject]
        return hull([fault_began(fault, history.fault(fault.id)) for fault in faults])
    if step.until == "steady-state":
        found = met(step, plan, history, record.entries[-1]).at
        return last_of([found, m.recovery]) if m.recovery is not None else found  # a relapse moves it
    if conditions(step, plan):
        return met(step, plan, history, record.entries[-1]).at
    return Interval(record.ended, record.ended)


def findings(plan: Plan, history: History, m: Measurement) -> Iterator[Finding]:
    """One for each step, also for those that were not run."""
    for step in plan.steps:
        record = history.steps.get(step.name)
        if record is None:
            yield Finding(title(step), "inconclusive", f"not run: {_why_not_run(plan, history)}")
        elif record.ended is None:
            yield Finding(title(step), "inconclusive", "the run ended in the midst of it", entries=record.entries)
        elif record.outcome == "aborted":
            yield Finding(title(step), "inconclusive", f"broken off: {record.reason}", entries=record.entries)
        else:
            yield _finding(step, plan, history, m, record, record.ended)


def title(step: PlannedStep) -> str:
    return f"step {step.name}"


def _why_not_run(plan: Plan, history: History) -> str:
    ended = [step.name for step in plan.steps if step.name in history.steps]
    if not ended:
        return "the run had ended before"
    last = history.steps[ended[-1]]
    return f"`{ended[-1]}` " + ("failed before it" if last.outcome == "failed" else "was not ended")


def _finding(
    step: PlannedStep, plan: Plan, history: History, m: Measurement, record: StepRecord, ended: int
) -> Finding:
    if conditions(step, plan):
        return _of_conditions(step, plan, history, m, record)
    limit = None if step.within is None else nanoseconds(step.within)
    length = Interval(ended - record.began, ended - record.began)
    if step.inject:
        return _of_injection(step, plan, history, record, limit)
    if step.procedure is not None:
        return _of_procedure(step, record, length, limit)
    if record.outcome == "failed":
        return Finding(title(step), "failed", record.reason, length, limit, record.entries)
    said = f"confirmed by {record.confirmed}" if record.confirmed else record.reason or "done"
    return _in_time(step, length, limit, record.entries, said)


def _in_time(
    step: PlannedStep, length: Interval, limit: Nanoseconds | None, entries: tuple[int, ...], said: str
) -> Finding:
    if limit is None:
        return Finding(title(step), "passed", said, length, None, entries)
    found = against(title(step), length, limit, entries)
    return found if found.verdict != "passed" else Finding(title(step), "passed", said, length, limit, entries)


def _of_conditions(step: PlannedStep, plan: Plan, history: History, m: Measurement, record: StepRecord) -> Finding:
    found = met(step, plan, history, record.entries[-1])
    at = _with_relapses(step, plan, found.at, m)
    length, limit = at.since(Interval(record.began, record.began)), _limit(step)
    entries = found.entries or record.entries
    if not math.isinf(at.at_most):
        judged = _in_time(step, length, limit, entries, "shown" if step.check else "came to be")
        why = _unproven(step, plan, history, record, at.at_most)
        return replace(judged, verdict="inconclusive", reason=why) if why and judged.verdict == "passed" else judged
    not_met = "relapsed, and did not recover" if found.yet else record.reason or "not met"
    if length.at_least > limit:
        return Finding(title(step), "failed", f"{not_met} within {long(limit)}", length, limit, entries)
    if found.yet:
        return Finding(title(step), "inconclusive", f"{not_met} by the end of the watch", length, limit, entries)
    if step.check and all(_looked(name, history, record) for name in step.check):
        return Finding(title(step), "failed", record.reason or "not shown", length, limit, entries)
    return Finding(title(step), "inconclusive", "not looked at until its limit had passed", length, limit, entries)


def _with_relapses(step: PlannedStep, plan: Plan, found: Interval, m: Measurement) -> Interval:
    """A steady state that was back and broke again came back only then, unless a later step may have broken it."""
    after = plan.steps[plan.steps.index(step) + 1 :]
    acted = any(one.inject or one.revert or one.procedure or one.manual or one.until == "steady-state" for one in after)
    if step.until != "steady-state" or acted or m.recovery is None:
        return found
    return last_of([found, m.recovery]) or found


def _unproven(step: PlannedStep, plan: Plan, history: History, record: StepRecord, since: Nanoseconds) -> str:
    """Why a condition that came to be in time is not surely met: a steady state must hold, and be seen to; and whoever
    ran the step may know better. Empty if it is."""
    if record.outcome == "failed":
        return f"it came to be, but the step did not end well: {record.reason or 'it failed'}"
    if step.until != "steady-state":
        return ""
    return unwatched(plan, history, plan.steady_state, since, since + nanoseconds(plan.hold))


def _looked(name: str, history: History, record: StepRecord) -> bool:
    return any(look.entry < record.entries[-1] for look in history.trace(name).since(record.began))


def _of_injection(
    step: PlannedStep, plan: Plan, history: History, record: StepRecord, limit: Nanoseconds | None
) -> Finding:
    faults = [fault for fault in plan.faults if fault.id in step.inject]
    began = hull([fault_began(fault, history.fault(fault.id)) for fault in faults])
    if began is None or record.outcome == "failed":
        return Finding(title(step), "inconclusive", record.reason or "not found in place", entries=record.entries)
    if why := unforeseen_end(plan, history, faults):
        return Finding(title(step), "inconclusive", f"it ended early: {why}", entries=record.entries)
    evidence = "; ".join(history.fault(fault.id).evidence for fault in faults)
    return _in_time(step, began.since(Interval(record.began, record.began)), limit, record.entries, evidence)


def _of_procedure(step: PlannedStep, record: StepRecord, length: Interval, limit: Nanoseconds | None) -> Finding:
    ended = record.procedure
    if ended is None or not ended.succeeded:
        return Finding(title(step), "failed", record.reason or "it did not end well", length, limit, record.entries)
    return _in_time(step, length, limit, record.entries, f"{ended.procedure} ended with 0")


def failed(procedure: str, output: str, status: int | None) -> str:
    """How it ended, and the end of what it wrote. `status`: None if it never began, or was killed."""
    said = quoted(output)
    if status is None or said == f"ended with {status}":
        return f"{procedure} failed: {said}"
    return f"{procedure} failed ({f'exit {status}' if status >= 0 else f'signal {-status}'}): {said}"


def quoted(output: str) -> str:
    """The end of what a procedure wrote, in one line."""
    text = " ".join(output.split())
    return text if len(text) <= _QUOTED else "…" + text[-_QUOTED:]


def missing(step: PlannedStep, plan: Plan, history: History) -> str:
    """Which of its conditions are not met, and what was seen instead."""
    began = history.steps[step.name].began
    find = _shown_once if step.check else _came_to_be
    told = []
    for clause in conditions(step, plan):
        if not find(clause, plan, history, began, math.inf).yet:
            names = names_in(clause)
            text = clause if isinstance(clause, str) else "any of " + ", ".join(clause.any_of)
            why = history.reasons.get(names[0], "") if not text.startswith("not ") else ""
            told.append(f"{text} was not shown" + (f": {why}" if why else ""))
    return "; ".join(told) or "not in time"
