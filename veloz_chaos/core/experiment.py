"""An experiment as people write it: the whole grammar, so that no file written today breaks later.

Names (services, links, probes, rows) are checked where they meet the environment and the matrix: in `plan`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_serializer, model_validator

from veloz_chaos.core.duration import Duration
from veloz_chaos.core.model import Name, Written, only_key

Tier = Literal["development", "staging", "production"]
Percent = Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]?|100)%$")]
Count = Annotated[int, Field(ge=1, le=1000)]


class BlastRadius(Written):
    """At most so many targets, at most such a share of what the selector matches."""

    count: Count = 1
    percent: Percent = "100%"
    last_replica: bool = False


class Parameter(Written):
    default: Any
    title: str = ""


class UntilDecided(Written):
    """Lifted as soon as every expectation that needs the fault is decided."""

    until: Literal["decided"]
    at_most: Duration


Hold = Duration | UntilDecided

_CALL_KEYS = {"service", "link", "pick", "for"}


class FaultCall(Written):
    """`kill: {service: engine, signal: KILL}`: the kind, what it hits, how long, and the fault's own arguments."""

    kind: Name
    service: Name | None = None
    link: Name | None = None
    pick: Literal["one", "all", "leader"] | Percent | Count = "one"
    for_: Hold | None = None
    arguments: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        if isinstance(value, dict) and "kind" in value:
            return value
        kind = only_key(value, "a fault", set())
        body = value[kind]
        if not isinstance(body, dict):
            raise ValueError(f"`{kind}` must be a mapping; write {kind}: {{service: …}} or {kind}: {{link: …}}")
        own = {key: item for key, item in body.items() if key not in _CALL_KEYS}
        return {"kind": kind, "arguments": own, **{key: body[key] for key in _CALL_KEYS if key in body}}

    @model_validator(mode="after")
    def _hits_one_thing(self) -> Self:
        if (self.service is None) == (self.link is None):
            raise ValueError(f"`{self.kind}` must name either a `service` or a `link`")
        return self

    @property
    def on(self) -> str:
        return self.service or self.link or ""

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        body = {"service": self.service, "link": self.link, "pick": self.pick, "for": _written(self.for_)}
        return {self.kind: {k: v for k, v in body.items() if v is not None} | self.arguments}


def _written(hold: timedelta | UntilDecided | None) -> Any:
    from veloz_chaos.core.duration import show

    return show(hold) if isinstance(hold, timedelta) else hold and hold.model_dump()


class AnyOf(Written):
    any_of: Annotated[list[str], Field(min_length=1)]


#: a probe's name, `not NAME`, or any-of
Clause = Annotated[str, StringConstraints(pattern=r"^(not )?[a-z0-9][a-z0-9._-]*$")] | AnyOf
Clauses = Annotated[list[Clause], Field(min_length=1)]


def names_in(clause: Clause) -> list[str]:
    """The probes of a clause."""
    return [text.removeprefix("not ") for text in ([clause] if isinstance(clause, str) else clause.any_of)]


class While(Written):
    always: Clauses | None = None
    eventually: Clauses | None = None
    never: Clauses | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.always is None and self.eventually is None and self.never is None:
            raise ValueError("a window needs `always`, `eventually` or `never`")
        return self


class Detection(Written):
    signals: Annotated[list[Name], Field(min_length=1)]
    #: masking is allowed: not being noticed is no failure
    optional: bool = False


class Recovery(Written):
    hold: Duration = timedelta(seconds=2)
    #: default 2 × hold
    settle: Duration | None = None


#: how many orders may meet it
Fate = Annotated[int, Field(ge=0)]


class OrderLimits(Written):
    lost: Fate = 0
    duplicated: Fate = 0
    resurrected: Fate = 0
    unresolved: Fate = 0
    divergent: Fate = 0
    cancelled_yet_filled: Fate = 0


class AlertExpectation(Written):
    """Severity and channels come from the matrix; so does the time, which may only be made shorter here."""

    within: Duration | None = None
    #: names of other alerts that the fault may raise
    also: list[str] = []


class Expect(Written):
    detection: Detection | None = None
    while_: dict[Name, While] = {}
    recovery: Recovery = Field(default_factory=Recovery)
    keeps: list[Name] = []
    impact: Literal["none"] | Annotated[list[str], Field(min_length=1)] | None = None
    orders: OrderLimits | None = None
    alert: bool | AlertExpectation = False
    may: list[Name] = []

    @model_validator(mode="before")
    @classmethod
    def _short_detection(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("detection"), list):
            return value | {"detection": {"signals": value["detection"]}}
        return value


class Manual(Written):
    do: str
    by: str
    within: Duration


class Step(Written):
    """A fault, a wait, a check, a procedure or something that a person does; exactly one of them."""

    name: Name
    check: list[Name] | None = None
    inject: list[FaultCall] | None = None
    revert: list[Name] | None = None
    until: Clauses | Literal["steady-state"] | None = None
    manual: Manual | None = None
    procedure: Name | None = None
    wait: Duration | None = None
    within: Duration | None = None
    #: of a manual step: only a drill has people for it; any other run leaves it out
    drills_only: bool = False

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        kinds = [self.check, self.inject, self.revert, self.until, self.manual, self.procedure, self.wait]
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("a step does exactly one of check, inject, revert, until, manual, procedure, wait")
        return self


class Measure(Written):
    """`{from: STEP, to: STEP}`: a length; `{at: STEP}`: what was lost when that step struck."""

    from_: Name | None = None
    to: Name | None = None
    at: Name | None = None

    @model_validator(mode="after")
    def _measures_one_thing(self) -> Self:
        if (self.from_ is None, self.to is None, self.at is None) not in ((False, False, True), (True, True, False)):
            raise ValueError("a measure is either {from: STEP, to: STEP} or {at: STEP}")
        return self


class Experiment(Written):
    kind: Literal["Experiment"]
    version: Literal[1]
    name: Name
    title: str
    #: a row of the response matrix
    failure: Name
    allowed_on: Annotated[list[Tier], Field(min_length=1)]
    blast_radius: BlastRadius = Field(default_factory=BlastRadius)
    parameters: dict[Name, Parameter] = {}
    steady_state: Annotated[list[Name], Field(min_length=1)]
    baseline: Duration = timedelta(seconds=3)
    workload: Name | None = None
    fault: FaultCall | None = None
    steps: Annotated[list[Step], Field(min_length=1)] | None = None
    irreversible: bool = False
    expect: Expect = Field(default_factory=Expect)
    measure: dict[Name, Measure] = {}
    objectives: dict[Name, Duration] = {}
    on_abort: Name | None = None
    abort_when: list[Name] = []

    @model_validator(mode="after")
    def _has_a_fault(self) -> Self:
        if (self.fault is None) == (self.steps is None):
            raise ValueError("an experiment has either a `fault` or `steps`")
        return self
