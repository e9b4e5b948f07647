"""When a fault began and ended, from looks at its effect; never from our own calls alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from veloz_chaos.core.history import FaultRecord, History, Reported
from veloz_chaos.core.interval import SECOND, Interval
from veloz_chaos.core.length import length as long
from veloz_chaos.core.plan import Plan, PlannedFault
from veloz_chaos.core.trace import NOT_SHOWN, Look, is_shown

#: For so long it may be out of sight in any case; so much is too long in any hold; in between, half of it. Nanoseconds.
SILENCES = (3 * SECOND // 2, 5 * SECOND)
#: Of `may`: the target may restart under the fault.
RESTARTED = "target-restarted"
#: What strikes as these do is in place as soon as its target is dead, which the platform may tell us of.
DEADLY = ("Killable", "Exhaustible")


def hull(intervals: Sequence[Interval | None]) -> Interval | None:
    """From the first that may have begun to the last that surely had; None unless all are known."""
    known = [interval for interval in intervals if interval is not None]
    if not known or len(known) < len(intervals):
        return None
    return Interval(min(i.at_least for i in known), max(i.at_most for i in known))


def last_of(intervals: Sequence[Interval | None]) -> Interval | None:
    """When the last of them had come; None unless all are known."""
    known = [interval for interval in intervals if interval is not None]
    if not known or len(known) < len(intervals):
        return None
    return Interval(max(i.at_least for i in known), max(i.at_most for i in known))


def fault_began(fault: PlannedFault, record: FaultRecord) -> Interval | None:
    """[max(inject begun, asked of the last look that did not find it), answered of the first that did].

    A mechanism that acts before its call returns (`at_once`), once a look confirmed it, began by that return; what
    kills, by the arrival of the platform's own report of the death. That may lower the at-most, and nothing else. What
    was found only while it was taken out, or could not be put in, was never in place as it was to be.
    """
    if record.inject_began is None or record.failed:
        return None
    first = record.presence.first_answered(is_shown, record.inject_began)
    if first is None or (record.revert_began is not None and first.asked >= record.revert_began):
        return None
    before = [look.asked for look in record.presence.since(record.inject_began) if _missed_before(look, first)]
    at_least = max([record.inject_began, *before])
    at_most = first.answered
    returned = record.inject_returned
    if fault.offer.at_once and returned is not None and at_least <= returned <= first.asked:
        at_most = min(at_most, returned)
    if fault.offer.capability in DEADLY:
        died = (report.at for report in record.reports if report.what == "died" and report.at >= at_least)
        at_most = min([at_most, *died])
    return Interval(at_least, at_most)


def _missed_before(look: Look, first: Look) -> bool:
    return look.outcome == NOT_SHOWN and look.asked < first.asked


def fault_ended(fault: PlannedFault, record: FaultRecord) -> Interval | None:
    """The same at the other end, whoever ended it: [asked of the last look that found it, answered of the first after
    it that did not]. That we began to take it out says nothing: it may have been gone by then. Seen again after a look
    that missed it (a busy target is as silent as a cut link), it ended anywhere in between."""
    last, gone = _last_shown(record), _gone(record)
    if last is None or gone is None:
        return None
    missed = record.presence.first_answered(lambda look: look.outcome == NOT_SHOWN, record.revert_began or last.asked)
    if missed is not None and missed.asked < last.asked:
        before = next((look for look in record.presence.back_from(missed.asked) if is_shown(look)), None)
        return Interval(before.asked if before else missed.asked, gone.answered)
    returned = record.revert_returned
    at_most = gone.answered
    if fault.offer.at_once and returned is not None and last.asked <= returned <= gone.asked:
        at_most = min(at_most, returned)
    return Interval(last.asked, at_most)


def ended_early(record: FaultRecord) -> str:
    """Why a held fault was gone before anybody took it out, or may have been; empty if it was not."""
    known = surely_ended_early(record)
    if known or _gone(record) is None or record.revert_began is None:
        return known
    return _out_of_sight(record, record.revert_began)


def surely_ended_early(record: FaultRecord) -> str:
    """The same where somebody saw that it was gone."""
    gone, cause = _gone(record), died_under(record) or _lost(record)
    if not cause and gone is not None and record.revert_began is not None and gone.answered < record.revert_began:
        return "its effect was gone before it was taken out"
    return cause


def _lost(record: FaultRecord) -> str:
    """What was found gone once somebody took it out was not lost."""
    return record.lost if record.entries.get("lost", 0) < record.entries.get("revert_began", math.inf) else ""


def unforeseen_end(plan: Plan, history: History, faults: Sequence[PlannedFault]) -> str:
    """Why one of them was surely gone before it was taken out, though its target did not restart as it may."""
    records = [history.fault(fault.id) for fault in faults if fault.held]
    unforeseen = [record for record in records if not (RESTARTED in plan.may and died_under(record))]
    return next(filter(None, map(surely_ended_early, unforeseen)), "")


def _out_of_sight(record: FaultRecord, until: int) -> str:
    """A look is taken every half a second, and one just before it is taken out; what nobody saw may have ended."""
    last = _last_shown(record)
    assert last is not None
    silence = until - last.answered
    if silence <= max(SILENCES[0], min(SILENCES[1], (until - (record.inject_began or until)) // 2)):
        return ""
    return f"as far as anybody could see: no look at it was answered for {long(silence)} before it was taken out"


def died_under(record: FaultRecord) -> str:
    """`the container restarted under the fault (exit 137, OOMKilled)`; empty unless the platform reported the target's
    death after the fault's call, and before we began to take it out or knew that it was lost."""
    died = next((report for report in record.reports if _under(report, record)), None)
    if died is None:
        return ""
    again = any(report.what == "started" and report.entry > died.entry for report in record.reports)
    oom = "OOMKilled" if any(report.what == "out-of-memory" for report in record.reports) else ""
    detail = ", ".join(filter(None, [died.detail, oom]))
    detail = f" ({detail})" if detail else ""
    return f"the {died.kind} {'restarted' if again else 'died'} under the fault{detail}"


def _under(report: Reported, record: FaultRecord) -> bool:
    begun, until = record.inject_began, record.revert_began
    if report.what != "died" or begun is None or report.at < begun:
        return False
    return (until is None or report.at < until) and report.entry < record.entries.get("lost", math.inf)


def _last_shown(record: FaultRecord) -> Look | None:
    looks = record.presence.back_from(math.inf)
    return next((look for look in looks if is_shown(look)), None)


def _gone(record: FaultRecord) -> Look | None:
    """The first look after the last one that found it."""
    last = _last_shown(record)
    return last and record.presence.first_answered(lambda look: look.outcome == NOT_SHOWN, last.asked + 1)
