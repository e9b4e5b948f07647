"""The way of an alert, from the fault to whoever is told: each step an interval of our own looks.

Prometheus' and Alertmanager's own times are in the journal and never used. While one of them does not answer nothing is
seen of it, and the step's interval is so much wider.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise, takewhile
from typing import Any

from veloz_chaos.core.alerts import CAUGHT, PROMETHEUS, PlannedAlert, named, told_of
from veloz_chaos.core.coverage import GAP_PERIODS
from veloz_chaos.core.history import History, Value
from veloz_chaos.core.interval import Interval, Nanoseconds
from veloz_chaos.core.measure import Measurement
from veloz_chaos.core.trace import Look, is_shown

#: The states of an alert that somebody is told of.
_TOLD = ("firing", "active")
#: How surely a channel was reached.
STRENGTHS = ("routed", "notified", "delivered")


@dataclass(frozen=True)
class Step:
    at: Interval
    entry: int


@dataclass(frozen=True)
class Chain:
    """None: not seen. All instants are boot-time ns."""

    pending: Step | None = None
    firing: Step | None = None
    received: Step | None = None
    #: channel -> the strongest that was seen of it
    routed: Mapping[str, Step] = field(default_factory=dict)
    notified: Mapping[str, Step] = field(default_factory=dict)
    delivered: Mapping[str, Step] = field(default_factory=dict)
    #: channels whose notifications are counted where they leave
    counted: frozenset[str] = frozenset()
    #: integration -> attempts to notify that failed meanwhile
    failing: Mapping[str, int] = field(default_factory=dict)
    #: its end: the last one, if it came back
    resolved: Step | None = None
    #: who had it when they were last heard, and when that was
    holding: Mapping[str, Nanoseconds] = field(default_factory=dict)
    #: who no longer had it when they were heard again after a silence: they may have begun anew
    forgotten: tuple[str, ...] = ()
    #: it was there already when the fault struck: nobody can tell what raised it
    early: bool = False
    severities: frozenset[str] = frozenset()
    #: what silenced or inhibited it
    muted: tuple[str, ...] = ()
    #: other alerts that came up
    noise: Mapping[str, Step] = field(default_factory=dict)
    #: as far along the way as somebody looks: received by an Alertmanager, or else firing
    raised: Step | None = None


def chain(alert: PlannedAlert, history: History, m: Measurement) -> Chain:
    """Of a run whose fault was in place; empty else."""
    if m.began is None:
        return Chain()
    since = _from(history, m.began)
    prometheus = history.values.get(PROMETHEUS, []) if alert.prometheus else []
    managers = {name: history.values.get(name, []) for name in alert.alertmanagers}
    received = _earliest(rise(history, name, lambda value: bool(_mine(alert, value)), since) for name in managers)
    firing = rise(history, PROMETHEUS, lambda value: _has(alert, value, ("firing",)), since)
    told = [value for values in managers.values() for value in values if value.answered >= since]
    over, holding, forgotten = _ends(alert, history, since)
    return Chain(
        pending=rise(history, PROMETHEUS, lambda value: _has(alert, value, ("pending", "firing")), since),
        firing=firing,
        received=received,
        routed=_routed(alert, history, list(managers), since),
        notified=_notified(alert, history, managers, received, since),
        delivered=_delivered(alert, history, since),
        counted=_counted(alert, managers, since),
        failing=_failing(managers, since),
        resolved=None if holding or forgotten else over,
        holding=holding,
        forgotten=forgotten,
        early=any(alert.mine(one["labels"]) for one in _there(alert, history, since)),
        severities=frozenset(_severities(alert, prometheus, told, since)),
        muted=tuple(dict.fromkeys(_muted(alert, told))),
        noise=_noise(alert, history, list(managers), since),
        raised=received if alert.alertmanagers else firing,
    )


def _from(history: History, began: Interval) -> Nanoseconds:
    """When the fault was asked for: a slow one may raise its alert before it is wholly in place."""
    asked = [record.inject_began for record in history.faults.values() if record.inject_began is not None]
    return min([began.at_least, *asked])


def rise(history: History, probe: str, holds: Callable[[Any], bool], since: Nanoseconds) -> Step | None:
    """[asked of the last look whose answer was still another, answered of the first for which it holds]."""
    return next(_rises(history, probe, holds, since), None)


def _rises(history: History, probe: str, holds: Callable[[Any], bool], since: Nanoseconds) -> Iterator[Step]:
    """Each time it comes to hold, from `since` on. What held already then has not risen."""
    held = False
    for value in history.values.get(probe, ()):
        holding = holds(value.value)
        if holding and not held and value.answered >= since:
            yield _seen(history, probe, value, since)
        held = holding


def _seen(history: History, probe: str, value: Value, since: Nanoseconds) -> Step:
    asked = _asked_before(history, probe, value, since)
    return Step(Interval(min(asked, value.answered), value.answered), value.entry)


def _asked_before(history: History, probe: str, value: Value, since: Nanoseconds) -> Nanoseconds:
    """When the last look was asked that still had the answer before."""
    for look in history.trace(probe).back_from(value.answered):
        if look.entry < value.entry and is_shown(look):
            return max(look.asked, since)
    return since


def _earliest(steps: Iterator[Step | None]) -> Step | None:
    """Per end the earliest: it happened when the first of them saw it."""
    seen = [step for step in steps if step is not None]
    if not seen:
        return None
    first = min(seen, key=lambda step: step.at.at_most)
    return Step(Interval(min(step.at.at_least for step in seen), first.at.at_most), first.entry)


def _has(alert: PlannedAlert, value: Any, states: tuple[str, ...]) -> bool:
    return any(one["state"] in states and alert.mine(one["labels"]) for one in value)


def _mine(alert: PlannedAlert, value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those of the wanted alert that an Alertmanager does not mute."""
    return [one for one in value["alerts"] if alert.mine(one["labels"]) and one["state"] != "suppressed"]


def _routed(alert: PlannedAlert, history: History, managers: list[str], since: Nanoseconds) -> dict[str, Step]:
    def reached(value: Mapping[str, Any]) -> set[str]:
        names = {receiver for one in _mine(alert, value) for receiver in one["receivers"]}
        return alert.routed(names, value["receivers"])

    return _each_rise(history, managers, reached, since)


def _each_rise(
    history: History, probes: list[str], told: Callable[[Any], set[str]], since: Nanoseconds
) -> dict[str, Step]:
    """Of everything that these probes told of: when it came up first."""
    seen = {one for probe in probes for value in history.values.get(probe, ()) for one in told(value.value)}
    found = {
        one: _earliest(rise(history, probe, partial(_among, told, one), since) for probe in probes)
        for one in sorted(seen)
    }
    return {one: step for one, step in found.items() if step is not None}


def _among(told: Callable[[Any], set[str]], one: str, value: Any) -> bool:
    return one in told(value)


def _notified(
    alert: PlannedAlert,
    history: History,
    managers: Mapping[str, list[Value]],
    received: Step | None,
    since: Nanoseconds,
) -> dict[str, Step]:
    """More attempts to notify a channel succeeded while the alert was there, in an Alertmanager that has it for that
    channel."""
    found: dict[str, Step] = {}
    for name, values in managers.items() if received is not None else ():
        for before, value in pairwise(values):
            if value.answered < since:
                continue
            own = _mine(alert, value.value) or _mine(alert, before.value)
            receivers = {receiver for one in own for receiver in one["receivers"]}
            for channel in alert.routed(receivers, value.value["receivers"]):
                wanted = alert.integrations(channel, receivers, value.value["receivers"])
                if channel not in found and any(_succeeded(before, value, i) for i in wanted):
                    found[channel] = _seen(history, name, value, since)
    return found


def _grew(before: Value, value: Value, what: str, integration: str) -> int:
    """A counter that is lower than before has begun anew."""
    old, new = before.value[what].get(integration, 0), value.value[what].get(integration, 0)
    return int(new - old if new >= old else new)


def _succeeded(before: Value, value: Value, integration: str) -> bool:
    return _grew(before, value, "sent", integration) > _grew(before, value, "failed", integration)


def _counted(alert: PlannedAlert, managers: Mapping[str, list[Value]], since: Nanoseconds) -> frozenset[str]:
    """The channels of which every integration is counted."""
    found: set[str] = set()
    for value in (value.value for values in managers.values() for value in values if value.answered >= since):
        receivers = {receiver for one in _mine(alert, value) for receiver in one["receivers"]}
        for channel in alert.routed(receivers, value["receivers"]):
            if alert.integrations(channel, receivers, value["receivers"]) <= value["sent"].keys():
                found.add(channel)
    return frozenset(found)


def _failing(managers: Mapping[str, list[Value]], since: Nanoseconds) -> dict[str, int]:
    counts: dict[str, int] = {}
    for values in managers.values():
        for before, value in pairwise(values):
            for integration in value.value["failed"] if value.answered >= since else ():
                if grown := _grew(before, value, "failed", integration):
                    counts[integration] = counts.get(integration, 0) + grown
    return counts


def _delivered(alert: PlannedAlert, history: History, since: Nanoseconds) -> dict[str, Step]:
    if not alert.catcher:
        return {}

    def caught(value: list[Mapping[str, Any]]) -> set[str]:
        mine = [one for one in value if one["action"] == "firing" and _told(alert, one)]
        return {alert.channel(one["name"], one["kind"]) for one in mine}

    return _each_rise(history, [CAUGHT], caught, since)


def _told(alert: PlannedAlert, one: Mapping[str, Any]) -> bool:
    """A notification names its alerts, or their failures."""
    return bool(set(alert.names) & set(one["alerts"])) if alert.names else alert.row in one["failures"]


def _ends(
    alert: PlannedAlert, history: History, since: Nanoseconds
) -> tuple[Step | None, dict[str, Nanoseconds], tuple[str, ...]]:
    """The latest of the last ends; who still has it; whose end is none, for they may have begun anew."""
    over: list[Step] = []
    holding: dict[str, Nanoseconds] = {}
    forgotten: list[str] = []
    for group in alert.groups:
        had = [name for name in group if rise(history, name, partial(_holds, alert), since) is not None]
        ends = {name: end for name in had if (end := _end(alert, history, name, since)) is not None}
        last = max((end.at.at_most for end in ends.values()), default=-1)
        for name in had:
            if name not in ends and not (_silent(history, name) and _heard(history, name) < last):
                holding[name] = _heard(history, name)
        over += ends.values()
        forgotten += [name for name, end in ends.items() if _returned(history, name, end)]
    if not over:
        return None, holding, ()
    latest = max(over, key=lambda step: step.at.at_most)
    anew = tuple(forgotten) if len(forgotten) == len(over) else ()
    return Step(Interval(max(step.at.at_least for step in over), latest.at.at_most), latest.entry), holding, anew


def _holds(alert: PlannedAlert, value: Any) -> bool:
    """Is it there? In Prometheus one that is only pending is not."""
    if isinstance(value, list):
        return _has(alert, value, ("firing",))
    return any(alert.mine(one["labels"]) for one in value["alerts"])


def _end(alert: PlannedAlert, history: History, name: str, since: Nanoseconds) -> Step | None:
    """The last one; None while it is there."""
    if _holds(alert, history.values[name][-1].value):
        return None
    *_, last = _rises(history, name, lambda value: not _holds(alert, value), since)
    return last


def last_read(history: History, name: str) -> Look | None:
    """The last look of it that was answered as it should be."""
    return next(filter(is_shown, history.trace(name).back_from(math.inf)), None)


def _heard(history: History, name: str) -> Nanoseconds:
    look = last_read(history, name)
    return look.answered if look is not None else 0


def _silent(history: History, name: str) -> bool:
    last = history.trace(name).last()
    return last is not None and not is_shown(last)


def _returned(history: History, name: str, end: Step) -> bool:
    """Did it tell of the end only after it had not answered for a while?"""
    before = (look for look in history.trace(name).back_from(end.at.at_most) if look.entry < end.entry)
    missed = sum(1 for _ in takewhile(lambda look: not is_shown(look), before))
    return missed >= GAP_PERIODS or any(
        value.entry == end.entry and _began_anew(before.value, value.value)
        for before, value in pairwise(history.values[name])
    )


def _began_anew(before: Any, value: Any) -> bool:
    """What an Alertmanager has sent only grows, until it starts again."""
    return isinstance(value, dict) and any(value["sent"].get(i, 0) < sent for i, sent in before["sent"].items())


def _there(alert: PlannedAlert, history: History, instant: Nanoseconds) -> Iterator[Mapping[str, Any]]:
    """What was last told before an instant, in whatever state."""
    for name in alert.sources:
        before = [value for value in history.values.get(name, ()) if value.answered < instant]
        if before:
            yield from told_of(before[-1].value)


def _severities(alert: PlannedAlert, prometheus: list[Value], told: list[Value], since: Nanoseconds) -> Iterator[str]:
    for value in prometheus:
        for one in value.value if value.answered >= since else ():
            if one["state"] == "firing" and alert.mine(one["labels"]):
                yield one["labels"].get("severity", "")
    for value in told:
        for one in value.value["alerts"]:
            if alert.mine(one["labels"]):
                yield one["labels"].get("severity", "")


def _muted(alert: PlannedAlert, told: list[Value]) -> Iterator[str]:
    for value in told:
        for one in value.value["alerts"]:
            if alert.mine(one["labels"]) and one["state"] == "suppressed":
                yield from (f"silence {silence}" for silence in one["silenced"])
                yield from ("an inhibition" for _ in one["inhibited"])


def _noise(alert: PlannedAlert, history: History, managers: list[str], since: Nanoseconds) -> dict[str, Step]:
    """Other alerts that came up, not muted; told by Alertmanagers, or by Prometheus where there is none to look at.
    What was there when the fault struck is none, though it be gone for a while: its teller may have begun anew."""
    there = [one["labels"] for one in _there(alert, history, since) if one["state"] in _TOLD]
    return _each_rise(history, managers or [PROMETHEUS], partial(_others, alert, there), since)


def _others(alert: PlannedAlert, before: Sequence[Mapping[str, str]], value: Any) -> set[str]:
    there = (one for one in told_of(value) if one["state"] in _TOLD)
    return {named(one["labels"]) for one in there if alert.noise(one["labels"]) and one["labels"] not in before}
