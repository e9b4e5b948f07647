"""Plans to simulate and to write journals for: two steady-state probes, two signals, one fault; lengths in ms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from veloz_chaos.core.capability import Offer, Reference
from veloz_chaos.core.experiment import Detection, OrderLimits, While
from veloz_chaos.core.matrix import Limits
from veloz_chaos.core.plan import Plan, PlannedFault, PlannedHold, PlannedProbe

STEADY = ("healthy", "orders")
SIGNALS = ("down", "restarted")
FAULT = "f1"
REFERENCE = Reference(backend="fake", name="engine", identity={"pid": 7, "start": 12})


def ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)


def limits(detection: int | None = 1000, recovery: int | None = 2000, give_up: int = 60_000) -> Limits:
    return Limits(
        row="engine-crash",
        title="Engine Crash",
        detection=None if detection is None else ms(detection),
        recovery=None if recovery is None else ms(recovery),
        give_up=ms(give_up),
        manual_action="none",
    )


def fault(
    held: bool, *, at_once: bool = False, at_most: int = 3000, until_decided: bool = False, of: int = 0
) -> PlannedFault:
    """`kill` strikes once, `pause` is held."""
    capability = "Pausable" if held else "Killable"
    offer = Offer(capability=capability, mechanism="a signal", touches="the engine", undo="CONT", at_once=at_once)
    hold = PlannedHold(at_most=ms(at_most), until_decided=until_decided) if held else None
    kind = "pause" if held else "kill"
    return PlannedFault(
        id=FAULT, kind=kind, arguments={}, on="engine", of=of, reference=REFERENCE, offer=offer, held=held, hold=hold
    )


def plan(
    *,
    held: bool = False,
    at_once: bool = False,
    until_decided: bool = False,
    fault_for: int = 3000,
    of: int = 0,
    signals: Sequence[str] = ("down",),
    optional: bool = False,
    steady: Sequence[str] = ("healthy",),
    period: int = 100,
    timeout: int = 250,
    hold: int = 500,
    settle: int = 1000,
    limits: Limits = limits(),  # noqa: B008
    impact: Literal["none"] | list[str] | None = None,
    orders: OrderLimits | None = None,
    placebo: bool = False,
    while_: Mapping[str, Mapping[str, Any]] | None = None,
    keeps: Sequence[str] = (),
    may: Sequence[str] = (),
) -> Plan:
    look = PlannedProbe(type="http", arguments={}, ok="status == 200", every=ms(period), timeout=ms(timeout))
    names = dict.fromkeys((*STEADY, *SIGNALS, *steady, *signals, *keeps, "refused"))
    return Plan(
        experiment="engine-crash",
        title="The engine dies",
        environment="sandbox",
        tier="development",
        limits=limits,
        placebo=placebo,
        baseline=ms(1000),
        hold=ms(hold),
        settle=ms(settle),
        faults=[fault(held, at_once=at_once, at_most=fault_for, until_decided=until_decided, of=of)],
        probes=dict.fromkeys(names, look),
        steady_state=list(steady),
        detection=Detection(signals=list(signals), optional=optional) if signals else None,
        while_={name: While.model_validate(said) for name, said in (while_ or {}).items()},
        keeps=list(keeps),
        may=list(may),
        impact=impact,
        orders=orders,
        lock="sandbox",
    )
