"""The plan: an experiment bound to an environment, every choice made and every limit looked up. A dry run prints it.

It is the first thing in a journal, and all that `measure` and `judge` know of what people wrote.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from veloz_chaos.core.alerts import PlannedAlert
from veloz_chaos.core.capability import Offer, Reference
from veloz_chaos.core.cluster import Cluster
from veloz_chaos.core.duration import Duration
from veloz_chaos.core.experiment import Detection, OrderLimits, Tier, While
from veloz_chaos.core.matrix import Limits
from veloz_chaos.core.model import Written
from veloz_chaos.core.workload import PlannedWorkload


class PlannedHold(Written):
    at_most: Duration
    until_decided: bool


class PlannedFault(Written):
    """One fault on one incarnation."""

    id: str
    kind: str
    arguments: dict[str, Any]
    on: str
    #: what the environment says a stand-in models; empty for the real thing
    models: str = ""
    reference: Reference
    offer: Offer
    #: False: strikes once
    held: bool
    hold: PlannedHold | None


class PlannedProbe(Written):
    """Secrets stay references (`${env:NAME}`) here; they are filled in when the probe looks."""

    type: str
    arguments: dict[str, Any]
    ok: str
    value: str | None = None
    every: Duration
    timeout: Duration
    title: str = ""
    #: each look places an order under an id of its own
    writes: Literal["orders"] | None = None


class PlannedRestore(Written):
    procedure: str
    command: list[str]
    timeout: Duration
    cwd: str | None


class Plan(Written):
    experiment: str
    title: str
    environment: str
    tier: Tier
    #: the files it was made from, and the SHA-256 of each
    sources: dict[str, str] = Field(default_factory=dict)
    limits: Limits
    parameters: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    placebo: bool = False
    baseline: Duration
    hold: Duration
    settle: Duration
    faults: list[PlannedFault]
    probes: dict[str, PlannedProbe]
    steady_state: list[str]
    workload: PlannedWorkload | None = None
    detection: Detection | None = None
    while_: dict[str, While] = Field(default_factory=dict)
    keeps: list[str] = Field(default_factory=list)
    #: None: not said; "none": masking is what is expected; else conditions over the phases of the order flow
    impact: Literal["none"] | list[str] | None = None
    #: how many orders may meet each fate; None: their fate is not judged
    orders: OrderLimits | None = None
    #: None: not expected, or nobody says where alerts are read
    alert: PlannedAlert | None = None
    may: list[str] = Field(default_factory=list)
    abort_when: list[str] = Field(default_factory=list)
    #: service -> what brings it back if it stays dead after the watch
    restores: dict[str, PlannedRestore] = Field(default_factory=dict)
    #: two runs with the same key exclude each other
    lock: str
    #: where the run holds a lease, and what undoes it is kept
    cluster: Cluster | None = None
    warnings: list[str] = Field(default_factory=list)

    @property
    def held(self) -> bool:
        return any(fault.held for fault in self.faults)

    @property
    def longest_hold(self) -> timedelta:
        holds = [fault.hold.at_most for fault in self.faults if fault.hold is not None]
        return max(holds, default=timedelta(0))
