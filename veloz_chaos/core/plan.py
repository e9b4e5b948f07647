"""The plan: an experiment bound to an environment, every choice made and every limit looked up. A dry run prints it.

It is the first thing in a journal, and all that `measure` and `judge` know of what people wrote.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from veloz_chaos.core.alerts import PlannedAlert
from veloz_chaos.core.capability import Offer, Reference
from veloz_chaos.core.cluster import Cluster
from veloz_chaos.core.duration import Duration
from veloz_chaos.core.experiment import Clause, Detection, Manual, OrderLimits, Tier, While, names_in
from veloz_chaos.core.matrix import Limits
from veloz_chaos.core.model import Written
from veloz_chaos.core.session import Session
from veloz_chaos.core.workload import PlannedWorkload


class PlannedHold(Written):
    at_most: Duration
    until_decided: bool


def is_link(name: str) -> bool:
    """By its name alone, `from->to`: what a journal says is down may be of an older plan."""
    return "->" in name


class PlannedFault(Written):
    """One fault on one incarnation."""

    id: str
    kind: str
    arguments: dict[str, Any]
    on: str
    #: how many there were of it; 0 where nobody counted
    of: int = 0
    #: what the environment says a stand-in models; empty for the real thing
    models: str = ""
    reference: Reference
    #: of what kills: how the environment finds whoever takes its place
    selector: dict[str, Any] = Field(default_factory=dict)
    offer: Offer
    #: False: strikes once
    held: bool
    hold: PlannedHold | None
    #: strikes once, and for good: what mends it is the experiment's `on-abort` procedure
    irreversible: bool = False


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

    @property
    def by_hand(self) -> str:
        """As a shell takes it."""
        words = shlex.join(self.command).replace("'{python}'", "python3")
        return f"cd {shlex.quote(self.cwd)} && {words}" if self.cwd else words


class PlannedStep(Written):
    """One of them; it does the one thing that is given."""

    name: str
    #: probes: each must be shown once, by a look asked within the step
    check: list[str] = Field(default_factory=list)
    #: ids of faults: they strike at once
    inject: list[str] = Field(default_factory=list)
    #: ids of faults that an earlier step holds
    revert: list[str] = Field(default_factory=list)
    until: Literal["steady-state"] | list[Clause] | None = None
    procedure: PlannedRestore | None = None
    manual: Manual | None = None
    wait: Duration | None = None
    #: counts from its beginning; None: it takes what it takes
    within: Duration | None = None


class PlannedMeasure(Written):
    """A length between two steps (`from`, `to`), or what was lost when a step struck (`at`)."""

    from_: str | None = None
    to: str | None = None
    at: str | None = None
    #: stricter than the matrix, if it is given
    objective: Duration | None = None


class Occasion(Written):
    """What of a schedule a run was for: the entry, and when it was due (ISO 8601, in UTC)."""

    schedule: str
    entry: str
    due: str


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
    #: whose tokens the probes and the workload show
    sessions: dict[str, Session] = Field(default_factory=dict)
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
    #: in this order, instead of one strike
    steps: list[PlannedStep] = Field(default_factory=list)
    #: what mends the system if the steps do not end as they should
    on_abort: PlannedRestore | None = None
    measures: dict[str, PlannedMeasure] = Field(default_factory=dict)
    #: two runs with the same key exclude each other
    lock: str
    #: where the run holds a lease, and what undoes it is kept
    cluster: Cluster | None = None
    #: None: nobody's schedule asked for it
    occasion: Occasion | None = None
    warnings: list[str] = Field(default_factory=list)

    @property
    def held(self) -> bool:
        return any(fault.held for fault in self.faults)

    @property
    def longest_hold(self) -> timedelta:
        holds = [fault.hold.at_most for fault in self.faults if fault.hold is not None]
        return max(holds, default=timedelta(0))

    @property
    def longest(self) -> timedelta:
        """From its start until the system has recovered, if everything takes as long as it may."""
        if self.steps:
            return self.baseline + sum((step.within or step.wait or timedelta(0) for step in self.steps), timedelta(0))
        noticed = max(self.longest_hold, self.limits.detection or timedelta(0))
        return self.baseline + noticed + self.limits.recovery_or_give_up

    @property
    def occasional(self) -> frozenset[str]:
        """Probes that nothing but a `check` asks for: they look only while it goes on, for they may be costly."""
        checked = {name for step in self.steps for name in step.check}
        return frozenset(checked - set(self._always_looked_at()))

    def _always_looked_at(self) -> Iterator[str]:
        yield from (*self.steady_state, *self.keeps, *self.abort_when)
        yield from self.detection.signals if self.detection else ()
        windows = [(said.always, said.eventually, said.never) for said in self.while_.values()]
        listed = [clauses for window in windows for clauses in window if clauses]
        listed += [step.until for step in self.steps if isinstance(step.until, list)]
        yield from (name for clauses in listed for clause in clauses for name in names_in(clause))
