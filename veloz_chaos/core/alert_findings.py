"""The alert of a run, judged: raised in time, as severe as the document says, to whom it says, over with the failure,
and alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from veloz_chaos.core.alert_chain import STRENGTHS, Chain, Step, chain, last_read
from veloz_chaos.core.alert_muting import muting
from veloz_chaos.core.alerts import CAUGHT, RULES, PlannedAlert, named, told_of
from veloz_chaos.core.coverage import READ, silence, unwatched, watched_until
from veloz_chaos.core.doubt import completed
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.finding import Finding, against
from veloz_chaos.core.history import History
from veloz_chaos.core.interval import Interval, Nanoseconds
from veloz_chaos.core.length import length as long
from veloz_chaos.core.measure import Measurement, struck
from veloz_chaos.core.plan import Plan
from veloz_chaos.core.trace import SHOWN, is_shown

RAISED, SEVERITY, CHANNELS, OVER, NOISE = (
    "alert: raised",
    "alert: severity",
    "alert: channels",
    "alert: resolved",
    "alert: noise",
)

EARLY = "it was there already when the fault struck: nobody knows what raised it"


def findings(plan: Plan, history: History, m: Measurement) -> Iterator[Finding]:
    """Nothing where no alert is expected, or nobody says where alerts are read."""
    alert = plan.alert
    if alert is None or m.began is None:
        return
    seen = chain(alert, history, m)
    if why := EARLY if seen.early else next(iter(unread(plan, history, struck(history) or 0)), ""):
        for title in (RAISED, SEVERITY, CHANNELS, OVER):
            yield Finding(title, "inconclusive", why)
    else:
        yield from _of_its_own(alert, plan, history, m, seen)
    yield _noise(plan, history, m, seen)


def _of_its_own(alert: PlannedAlert, plan: Plan, history: History, m: Measurement, seen: Chain) -> Iterator[Finding]:
    yield _raised(alert, plan, history, m, seen)
    if seen.raised is None:
        for title in (SEVERITY, CHANNELS, OVER):
            yield Finding(title, "inconclusive", "it was not raised")
    else:
        yield _severity(alert, seen)
        yield _channels(alert, plan, history, m, seen)
        yield _over(alert, plan, history, m, seen)


def _raised(alert: PlannedAlert, plan: Plan, history: History, m: Measurement, seen: Chain) -> Finding:
    assert m.began is not None
    limit = nanoseconds(alert.within)
    if seen.raised is not None:
        found = against(RAISED, seen.raised.at.since(m.began), limit, (seen.raised.entry,))
        return replace(found, reason=found.reason + _parts(seen, m.began))
    what = f"{alert.as_} was not raised within {long(limit)}"
    if seen.muted:
        return Finding(RAISED, "failed", f"{alert.as_} was muted by {', '.join(seen.muted)}", None, limit)
    if seen.firing is not None:
        what = f"{alert.as_} was firing, but no Alertmanager received it within {long(limit)}"
    elif seen.pending is not None:
        what = f"{alert.as_} was pending, but not firing within {long(limit)}"
    if plan.held and m.ended is not None and m.ended.at_least < m.began.at_most + limit and seen.pending is not None:
        return Finding(RAISED, "inconclusive", f"{what}: the fault was over before", None, limit)
    if why := _unwatched(alert, plan, history, m.began.at_least, m.began.at_most + limit):
        return Finding(RAISED, "inconclusive", why, None, limit)
    if _until(alert, history) <= m.began.at_most + limit:
        return Finding(RAISED, "inconclusive", f"the watch ended before the limit of {long(limit)}", None, limit)
    return Finding(RAISED, "failed", what, Interval(_until(alert, history) - m.began.at_most, math.inf), limit)


def _parts(seen: Chain, began: Interval) -> str:
    """`: pending after 1.2 s, firing 2.9 s later (the rule's `for`), received 0.1 s later`"""
    said: list[str] = []
    before = began
    words = (
        ("pending", seen.pending, ""),
        ("firing", seen.firing, " (the rule's `for`)"),
        ("received", seen.received, ""),
    )
    for word, step, why in words:
        if step is not None:
            took = step.at.since(before)
            said.append(f"{word} {long(took.at_most)} {'later' if said else 'after the fault'}{why}")
            before = step.at
    return ": " + ", ".join(said) if said else ""


def _severity(alert: PlannedAlert, seen: Chain) -> Finding:
    wrong = sorted(seen.severities - {alert.severity})
    if wrong:
        said = ", ".join(name or "none" for name in wrong)
        return Finding(SEVERITY, "failed", f"it says {said}; the document says {alert.severity}")
    return Finding(SEVERITY, "passed", alert.severity)


def _channels(alert: PlannedAlert, plan: Plan, history: History, m: Measurement, seen: Chain) -> Finding:
    """The strongest that this environment can show decides, and is named."""
    assert m.began is not None and seen.raised is not None
    limit = nanoseconds(alert.within)
    strength, steps = reached(alert, seen)
    if not strength:
        return Finding(
            CHANNELS, "inconclusive", "no Alertmanager and no catcher is looked at: nobody knows who was told"
        )
    wanted, told = set(alert.channels), set(steps) | set(seen.routed)
    if extra := told - wanted:
        how = "also" if wanted <= told else f"not {_and(wanted - told)}, but"
        return Finding(CHANNELS, "failed", f"{how} {_and(extra)}: the document says {_and(wanted)}")
    entries = tuple(step.entry for step in steps.values())
    unrouted = wanted - set(seen.routed)
    if alert.alertmanagers and unrouted:
        return Finding(CHANNELS, "failed", f"not routed to {_and(unrouted)}", None, limit, entries)
    missing = wanted - set(steps)
    tellers = [CAUGHT] if alert.catcher else alert.alertmanagers
    unheard = [why for name in tellers if (why := _silent(plan, history, name))]
    if missing and all(_asked_until(history, name) > m.began.at_most + limit for name in tellers):
        failed = [f"{count} to {name} failed" for name, count in sorted(seen.failing.items())]
        muted = [f"muted by {what}" for what in seen.muted]
        why = "; ".join([f"not {strength} to {_and(missing)}", *failed, *muted])
        return Finding(CHANNELS, "failed", why, None, limit, entries)
    if missing:
        open_ = unheard[0] if unheard else f"not yet {strength} to {_and(missing)} at the end of the watch"
        return Finding(CHANNELS, "inconclusive", open_)
    if len(unheard) == len(tellers):
        return Finding(CHANNELS, "inconclusive", f"{unheard[0]}: nobody knows who else was told")
    last = _latest(steps)
    found = against(CHANNELS, last.at.since(m.began), limit, entries)
    return replace(found, reason=f"{strength} to {_and(wanted)}: {found.reason}")


def reached(alert: PlannedAlert, seen: Chain) -> tuple[str, Mapping[str, Step]]:
    """The strongest proof that is to be had here, and what it shows."""
    if alert.catcher:
        return STRENGTHS[2], seen.delivered
    if seen.counted and seen.counted >= seen.routed.keys():
        return STRENGTHS[1], seen.notified
    return (STRENGTHS[0], seen.routed) if alert.alertmanagers else ("", {})


def _silent(plan: Plan, history: History, name: str) -> str:
    """Why nobody knows what it told at last: its looks stayed without an answer. What it told before it tells again."""
    return unwatched(plan, history, [name], _asked_until(history, name), watched_until(plan, history, [name]), READ)


def _asked_until(history: History, name: str) -> Nanoseconds:
    """All that had come by then was read."""
    look = last_read(history, name)
    return look.asked if look is not None else history.baseline_began or 0


def _latest(steps: Mapping[str, Step]) -> Step:
    return max(steps.values(), key=lambda step: step.at.at_most)


def _over(alert: PlannedAlert, plan: Plan, history: History, m: Measurement, seen: Chain) -> Finding:
    """Counted from the recovery, and from the end of a fault that is held."""
    limit = nanoseconds(alert.resolved)
    start = _restored(m)
    if start is None or math.isinf(start.at_most):
        return Finding(OVER, "inconclusive", "the system did not recover: it need not be over", None, limit)
    if seen.resolved is not None:
        early = _too_early(m, seen.resolved)
        return early or against(OVER, seen.resolved.at.since(start), limit, (seen.resolved.entry,))
    if not seen.holding:
        names = _and(set(seen.forgotten))
        why = f"{names} gave no answer, and had it no longer afterwards: begun anew, it may have forgotten it"
        return Finding(OVER, "inconclusive", why, None, limit)
    waited = max(seen.holding.values()) - start.at_most
    if waited > limit:
        return Finding(
            OVER, "failed", f"still there {long(waited)} after the recovery", Interval(waited, math.inf), limit
        )
    silent = [why for name in seen.holding if (why := _silent(plan, history, name))]
    return Finding(OVER, "inconclusive", silent[0] if silent else "still there at the end of the watch", None, limit)


def _too_early(m: Measurement, end: Step) -> Finding | None:
    """Over though the fault was surely still in place, and the system still broken by it: who was told believes it
    mended."""
    if m.ended is None or m.recovery is None:
        return None
    before = min(m.ended.at_least, m.recovery.at_least) - end.at.at_most
    if before <= 0:
        return None
    why = f"it was over at least {long(before)} before the fault, and the system was still broken"
    return Finding(OVER, "failed", why, entries=(end.entry,))


def _restored(m: Measurement) -> Interval | None:
    """The recovery, or the fault's end where that is later."""
    known = [i for i in (m.recovery or m.began, m.ended) if i is not None]
    if not known:
        return None
    return Interval(max(i.at_least for i in known), max(i.at_most for i in known))


def _noise(plan: Plan, history: History, m: Measurement, seen: Chain) -> Finding:
    assert plan.alert is not None and m.began is not None
    if seen.noise:
        entries = tuple(step.entry for step in seen.noise.values())
        return Finding(NOISE, "failed", f"also raised: {', '.join(sorted(seen.noise))}", entries=entries)
    if not completed(history):
        return Finding(NOISE, "inconclusive", "the run ended before all had been seen")
    if why := _unwatched(plan.alert, plan, history, m.began.at_least, m.end):
        return Finding(NOISE, "inconclusive", why)
    return Finding(NOISE, "passed", "no other alert came up")


def quiet(plan: Plan, history: History, m: Measurement) -> Iterator[Finding]:
    """Of a placebo: it raises nothing."""
    if plan.alert is None or m.began is None:
        return
    seen, title = chain(plan.alert, history, m), "placebo: no alert"
    told = [plan.alert.as_] if seen.raised or seen.pending else []
    if seen.early:
        yield Finding(title, "inconclusive", f"{plan.alert.as_} was there already when it began")
    elif told or seen.noise:
        reason = f"{', '.join([*told, *sorted(seen.noise)])} was raised though nothing was done"
        yield Finding(title, "failed", reason)
    elif why := _unwatched(plan.alert, plan, history, m.began.at_least, m.end):
        yield Finding(title, "inconclusive", why)
    else:
        yield Finding(title, "passed", "none was raised")


def _unwatched(alert: PlannedAlert, plan: Plan, history: History, since: Nanoseconds, until: Nanoseconds) -> str:
    """Why nobody knows what was raised in between; of several Alertmanagers one that answers is enough."""
    until = min(until, watched_until(plan, history, alert.sources))
    for group in alert.groups:
        gaps = [unwatched(plan, history, [name], since, until, READ) for name in group]
        if all(gaps):
            return gaps[0]
    return ""


def _until(alert: PlannedAlert, history: History) -> Nanoseconds:
    """So long was seen what is raised: when the last look of the last of them was answered well."""
    looks = (last_read(history, name) for name in alert.sources)
    return max((look.answered for look in looks if look is not None), default=0)


def _and(names: set[str]) -> str:
    return " and ".join(sorted(names)) or "nobody"


# --- before and during a run ---------------------------------------------------------------------------------------


def refusals(plan: Plan, history: History) -> list[str]:
    """Why its alert would prove nothing: it is there already, or muted beforehand."""
    alert = plan.alert
    if alert is None:
        return []
    reasons = []
    rules = _latest_value(history, RULES) or []
    for name in alert.sources:
        value = _latest_value(history, name)
        there = (one["labels"] for one in told_of(value))
        reasons += [f"alert {named(labels)} is there already" for labels in there if alert.mine(labels)]
        if isinstance(value, dict):
            reasons += [f"{what} would swallow {alert.as_}" for what in muting(alert, value, rules)]
    return list(dict.fromkeys(reasons))


def _latest_value(history: History, probe: str) -> Any:
    told = history.values.get(probe)
    return told[-1].value if told else None


def unanswered(plan: Plan, history: History, began: int) -> list[str]:
    """Nobody who tells of alerts answered in the baseline."""
    alert = plan.alert
    if alert is None:
        return []

    return [
        f"{group[0]} gave no answer in the baseline: {history.reasons.get(group[0], 'it was never looked at')}"
        for group in alert.groups
        if not any(history.trace(name).had(SHOWN, began) for name in group)
    ]


def unread(plan: Plan, history: History, instant: Nanoseconds) -> list[str]:
    """Nobody who tells of alerts was heard just before an instant: it may have come in that silence."""
    return [
        f"{group[0]} gave no answer just before the strike: {history.reasons.get(group[0], 'it was not looked at')}"
        for group in (plan.alert.groups if plan.alert is not None else ())
        if not any(_heard_before(plan, history, name, instant) for name in group)
    ]


def _heard_before(plan: Plan, history: History, name: str, instant: Nanoseconds) -> bool:
    return any(map(is_shown, history.trace(name).inside(instant - silence(plan.probes[name]), instant)))


def raised_decided(plan: Plan, history: History, m: Measurement, now: int) -> bool:
    """Nothing that needs the fault is open."""
    return plan.alert is None or _all_told(plan, plan.alert, m, chain(plan.alert, history, m), now)


def decided(plan: Plan, history: History, m: Measurement, now: int) -> bool:
    """Neither is its end."""
    if plan.alert is None:
        return True
    seen = chain(plan.alert, history, m)
    return _all_told(plan, plan.alert, m, seen, now) and _all_over(plan, plan.alert, m, seen, now)


def _all_told(plan: Plan, alert: PlannedAlert, m: Measurement, seen: Chain, now: int) -> bool:
    """Everybody was told, or the limit has passed."""
    if m.began is None or seen.early or now > m.began.at_most + nanoseconds(alert.within) + _one_look(plan):
        return True
    strength, steps = reached(alert, seen)
    return seen.raised is not None and (not strength or set(alert.channels) <= set(steps))


def _all_over(plan: Plan, alert: PlannedAlert, m: Measurement, seen: Chain, now: int) -> bool:
    """It is over, was never there, or its limit has passed; of a system that is still broken it need not be over."""
    start = _restored(m)
    if start is None or math.isinf(start.at_most) or seen.early:
        return True
    if now > start.at_most + nanoseconds(alert.resolved) + _one_look(plan):
        return True
    return seen.raised is None or seen.resolved is not None


def _one_look(plan: Plan) -> int:
    assert plan.alert is not None
    return max(nanoseconds(plan.probes[n].every) + nanoseconds(plan.probes[n].timeout) for n in plan.alert.sources)
