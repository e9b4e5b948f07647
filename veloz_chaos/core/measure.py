"""From looks to intervals: when the fault began and ended, was noticed, hurt, and was overcome.

Pure: the same journal gives the same measurement for ever. The rules, with their reasons, are in docs/architecture.md;
each interval holds the truth as long as every answer tells the state at some instant between asked and answered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.history import History
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.plan import Plan, PlannedFault
from veloz_chaos.core.presence import ended_early, fault_began, fault_ended, hull, last_of
from veloz_chaos.core.trace import NOT_SHOWN, Look, Trace, is_shown


@dataclass(frozen=True)
class Signal:
    """One way of noticing. `at` reaches to infinity if it was never shown."""

    name: str
    at: Interval
    shown: Look | None
    #: a look that lost it again while the system was still broken
    lost: Look | None


@dataclass(frozen=True)
class Outage:
    """A stretch without a full hold: the bad looks of all steady-state probes, and each probe's last one."""

    first: int
    last_bad: dict[str, Look]
    #: each probe's latest answer that was bad (looks overlap: not always its last bad look's)
    answered: dict[str, int] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """When the last bad look was asked."""
        return max(look.asked for look in self.last_bad.values())


@dataclass(frozen=True)
class Measurement:
    """All instants are boot-time intervals, all lengths are floored at 0. None: did not happen, or cannot be told."""

    in_place: bool
    began: Interval | None
    ended: Interval | None
    #: why the fault ended before we took it out; empty if it did not
    early: str
    #: until then every held fault was surely in place
    surely_until: int | None = None
    signals: tuple[Signal, ...] = ()
    impact: Interval | None = None
    outages: tuple[Outage, ...] = ()
    recovery: Interval | None = None
    #: nobody was hurt, as what was struck was replaced, by the platform's word; infinite if not yet
    replaced: Interval | None = None
    #: journal entries of the looks that decide
    entries: dict[str, list[int]] = field(default_factory=dict)
    end: int = 0

    @property
    def detection(self) -> Interval | None:
        """Per end the minimum over the signals; at most infinite if none was shown."""
        if not self.signals:
            return None
        return Interval(min(s.at.at_least for s in self.signals), min(s.at.at_most for s in self.signals))

    @property
    def detected(self) -> bool:
        return any(signal.shown for signal in self.signals)

    @property
    def time_to_detect(self) -> Interval | None:
        return self.detection.since(self.began) if self.detection and self.began else None

    @property
    def time_to_detect_from_impact(self) -> Interval | None:
        return self.detection.since(self.impact) if self.detection and self.impact else None

    @property
    def recovery_counts_from(self) -> Interval | None:
        """What strikes once counts from its beginning, what is held from its end."""
        return self.ended or self.began

    @property
    def time_to_recover(self) -> Interval | None:
        start = self.recovery_counts_from
        if self.recovery and not self.outages and not self.replaced:
            return Interval(0, 0)
        return self.recovery.since(start) if self.recovery and start else None

    @property
    def time_to_impact(self) -> Interval | None:
        return self.impact.since(self.began) if self.impact and self.began else None

    @property
    def relapses(self) -> int:
        return max(0, len(self.outages) - 1)


def measure(history: History) -> Measurement:
    """Of a run that got as far as its injection; before that everything is None."""
    plan = history.plan
    start = struck(history)
    if plan is None or start is None:
        return Measurement(in_place=False, began=None, ended=None, early="", end=history.last_at)
    faults = _begun(plan, history)
    began = hull([fault_began(fault, history.fault(fault.id)) for fault in faults])
    if plan.placebo:
        began = Interval(start, start)
    held = [fault for fault in faults if fault.held]
    ends = [fault_ended(fault, history.fault(fault.id)) for fault in held] if began else []
    ended = last_of(ends)
    since = began.at_least if began else start
    bad = bad_looks(history, plan.steady_state, since)
    outages = tuple(cluster(bad, nanoseconds(plan.hold)))
    recovery, decisive = recovered(history, outages)
    if not outages and isinstance(plan.impact, list):
        recovery = ended  # the conditions show the impact; what never broke is back when the fault is gone
    judged = not (held or outages or plan.impact or plan.steps)
    replacement = replaced(plan, history, began) if began and judged else None
    impact, first_bad = _impact(history, bad, start)
    until = _hurting_until(bool(held), ended, outages)
    signals = tuple(signal(history, name, since, until, plan) for name in _signals(plan))
    entries = {"recovery": decisive, "impact": first_bad, "detection": [s.shown.entry for s in signals if s.shown]}
    return Measurement(
        in_place=began is not None and not plan.placebo,
        began=began,
        ended=ended,
        early=next(filter(None, (ended_early(history.fault(f.id)) for f in held)), ""),
        surely_until=min((int(i.at_least) for i in ends if i), default=None) if ended else None,
        signals=signals,
        impact=impact,
        outages=outages,
        recovery=recovery or replacement,
        replaced=replacement,
        entries=entries,
        end=history.last_at,
    )


def _begun(plan: Plan, history: History) -> list[PlannedFault]:
    """All; but of steps those that came to be: what a later one would have done is not missing."""
    struck = (record.inject_began is not None for record in map(history.fault, (f.id for f in plan.faults)))
    return [fault for fault, began in zip(plan.faults, struck, strict=True) if began or not plan.steps]


def _signals(plan: Plan) -> Sequence[str]:
    return plan.detection.signals if plan.detection else ()


def struck(history: History) -> int | None:
    """The instant before which nothing can have been caused by us."""
    begun = [r.inject_began for r in history.faults.values() if r.inject_began is not None]
    if begun:
        return min(begun)
    return history.baseline_ended if history.plan and history.plan.placebo else None


def bad_looks(history: History, probes: Iterable[str], since: float) -> list[tuple[Look, str]]:
    """Every look that broke the steady state, in the order of asking; those under way at `since` count."""
    found = [(look, name) for name in probes for look in history.trace(name).answered_since(since) if look.bad]
    return sorted(found, key=lambda item: item[0].asked)


def cluster(bad: Sequence[tuple[Look, str]], hold: int) -> list[Outage]:
    """Bad looks less than a hold apart are one outage; what comes after a full hold is a relapse."""
    outages: list[Outage] = []
    last = -math.inf
    for look, name in bad:
        if look.asked - last > hold:
            outages.append(Outage(look.asked, {}))
        outages[-1].last_bad[name] = look
        outages[-1].answered[name] = max(look.answered, outages[-1].answered.get(name, 0))
        last = look.asked
    return outages


def _impact(history: History, bad: Sequence[tuple[Look, str]], start: int) -> tuple[Interval | None, list[int]]:
    """[asked of the last good look before the first bad one, answered of that], per end the minimum over the probes."""
    first: dict[str, Look] = {}
    for look, name in bad:
        first.setdefault(name, look)
    if not first:
        return None, []
    intervals = [_broke(history.trace(name), look, start) for name, look in first.items()]
    at_most = min(i.at_most for i in intervals)
    at_least = min(i.at_least for i in intervals)
    return Interval(at_least, at_most), [look.entry for look in first.values() if look.answered == at_most]


def _broke(trace: Trace, bad: Look, start: int) -> Interval:
    good = next((look.asked for look in trace.back_from(bad.asked) if is_shown(look)), start)
    return Interval(min(max(good, start), bad.answered), bad.answered)


def recovered(history: History, outages: Sequence[Outage]) -> tuple[Interval | None, list[int]]:
    """The start of the last stretch in which every probe holds: per probe [asked of its last bad look, answered of
    the first good one after it], for the system the maximum of each end; infinite while one is still broken.

    Looks overlap: only a look asked after every bad answer surely saw a later state than they did.
    """
    last: dict[str, Look] = {}
    answered: dict[str, int] = {}
    for outage in outages:
        last.update(outage.last_bad)
        answered |= {name: max(at, answered.get(name, 0)) for name, at in outage.answered.items()}
    if not last:
        return None, []
    good = {name: history.trace(name).first_answered(is_shown, at) for name, at in answered.items()}
    at_least = max(look.asked for look in last.values())
    slowest = [look.entry for look in last.values() if look.asked == at_least]
    if history.restored:
        return Interval(min(at_least, history.restored[0].at), math.inf), slowest
    at_most = max(math.inf if look is None else look.answered for look in good.values())
    return Interval(at_least, at_most), slowest + [g.entry for g in good.values() if g and g.answered == at_most]


def replaced(plan: Plan, history: History, began: Interval) -> Interval | None:
    """None if nobody was left who could have served meanwhile, or if the platform told of no death. An arrival bounds
    from above only; two that are said to be replaced by the same one are not both replaced."""
    struck = Counter(fault.on for fault in plan.faults)
    if any(fault.of <= struck[fault.on] for fault in plan.faults):
        return None
    reports = [history.fault(fault.id).reports for fault in plan.faults]
    if not all(any(report.what == "died" for report in each) for each in reports):
        return None
    found = [next((report for report in each if report.what == "replaced"), None) for each in reports]
    names = [report.detail for report in found if report and report.detail]
    whole = None not in found and len(set(names)) == len(names)
    return Interval(began.at_least, max(report.at for report in found if report) if whole else math.inf)


def signal(history: History, name: str, since: float, until: float, plan: Plan) -> Signal:
    """[asked of the last look that did not show it, answered of the first that did]; [last asked, inf) if never."""
    trace = history.trace(name)
    shown = min(filter(is_shown, trace.answered_since(since)), key=lambda look: look.answered, default=None)
    upto = shown.asked if shown else math.inf
    missed = next((look.asked for look in trace.back_from(upto) if look.outcome == NOT_SHOWN), None)
    at_least = since if missed is None else max(since, missed)
    if shown is None:
        return Signal(name, Interval(at_least, math.inf), None, None)
    lost = _lost_again(history, trace, shown, until, plan)
    return Signal(name, Interval(min(at_least, shown.answered), shown.answered), shown, lost)


def _hurting_until(held: bool, ended: Interval | None, outages: Sequence[Outage]) -> float:
    """Until then the fault was surely at work: in place, or (what strikes once) its first outage not yet over."""
    if held:
        return ended.at_least if ended else math.inf
    return broken_until(outages) or 0


def broken_until(outages: Sequence[Outage]) -> int | None:
    """Asked of the earliest last-broken look of the first outage: until then each probe it broke was broken."""
    return min(look.asked for look in outages[0].last_bad.values()) if outages else None


def _lost_again(history: History, trace: Trace, shown: Look, until: float, plan: Plan) -> Look | None:
    """A later look that no longer showed it, taken while a steady-state probe was surely still broken."""
    for look in trace.inside(shown.answered, until):
        if look.outcome == NOT_SHOWN and any(_broken_around(history.trace(p), look) for p in plan.steady_state):
            return look
    return None


def _broken_around(trace: Trace, look: Look) -> bool:
    """The probe's looks just before and just after are bad, and none between them is good."""
    before = next((item for item in trace.back_from(look.asked) if item.answered <= look.asked), None)
    after = next((item for item in trace.since(look.answered)), None)
    if before is None or after is None or not (before.bad and after.bad):
        return False
    return not any(map(is_shown, trace.inside(before.asked, after.answered)))
