"""Were we looking? What was not looked at cannot be said to have held: a stretch without looks proves nothing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.history import History
from veloz_chaos.core.interval import SECOND, Nanoseconds
from veloz_chaos.core.length import length as long
from veloz_chaos.core.plan import Plan, PlannedProbe
from veloz_chaos.core.trace import NOT_SHOWN, SHOWN, UNANSWERED, Trace

#: A stretch without looks longer than so many periods proves nothing.
GAP_PERIODS = 3
#: Which looks count as looking: those asked, those answered, those that read what they were to read.
ASKED, ANSWERED, READ = (SHOWN, NOT_SHOWN, UNANSWERED), (SHOWN, NOT_SHOWN), (SHOWN,)
Counts = tuple[int, ...]


def widest_gap(trace: Trace, start: Nanoseconds, end: Nanoseconds, counts: Counts = ASKED) -> Nanoseconds:
    """The longest stretch of [start, end] in which no look that counts was asked, in ns."""
    looks = trace.asked_in(start, end)
    edges = [start, *(look.asked for look in looks if look.outcome in counts), max(start, end)]
    return max(b - a for a, b in pairwise(edges))


def unwatched(
    plan: Plan, history: History, probes: Iterable[str], start: Nanoseconds, end: Nanoseconds, counts: Counts = ASKED
) -> str:
    """Why these probes' looks do not cover [start, end]; empty if they do."""
    for name in probes:
        period = nanoseconds(plan.probes[name].every)
        widest = widest_gap(history.trace(name), start, end, counts)
        if widest > GAP_PERIODS * period:
            starved = widest > GAP_PERIODS * period + nanoseconds(plan.probes[name].timeout)
            why = "the runner or the machine was starved" if starved else "look more often or give it more room"
            return f"{long(widest)} without a look of {name}, whose period is {long(period)}; {why}"
    return ""


def silence(probe: PlannedProbe) -> int:
    """So long what a probe told may be taken for what it would tell. Nanoseconds."""
    return max(GAP_PERIODS * nanoseconds(probe.every) + nanoseconds(probe.timeout), SECOND)


def watched_until(plan: Plan, history: History, probes: Iterable[str]) -> int:
    """So long somebody had to look at them: until the run ended, less the longest time-out, since looks may have been
    under way then."""
    return history.last_at - max((nanoseconds(plan.probes[name].timeout) for name in probes), default=0)
