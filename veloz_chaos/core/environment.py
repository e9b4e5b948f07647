"""An environment as people write it: which services and links exist, how each is reached, and the ways of looking."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from veloz_chaos.core.duration import Duration
from veloz_chaos.core.experiment import Tier
from veloz_chaos.core.model import Name, Written, only_key

#: 8/s, 60/m
Rate = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?/(s|m)$")]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


def per_second(rate: str) -> float:
    number, unit = rate.split("/")
    return float(number) / {"s": 1, "m": 60}[unit]


class _Bound(Written):
    """One key names the backend or the probe type; its body is that kind's own."""

    type: str
    arguments: dict[str, Any] = {}


def _split(value: Any, what: str, known: set[str]) -> Any:
    if isinstance(value, dict) and "type" in value:
        return value
    kind = only_key(value, what, known)
    body = value[kind]
    if not isinstance(body, dict):
        raise ValueError(f"`{kind}` must be a mapping")
    return {**{key: value[key] for key in known if key in value}, "type": kind, "arguments": body}


class Service(_Bound):
    """`engine: {process: {pidfile: …}, restore: start-engine}`"""

    restore: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _kind(cls, value: Any) -> Any:
        return _split(value, "a service", {"restore"})


class LinkBinding(_Bound):
    """`{toxiproxy: {…}}`, or `{stand-in: {pause: {service: engine}}, models: silent partition}`"""

    models: str = ""

    @model_validator(mode="before")
    @classmethod
    def _kind(cls, value: Any) -> Any:
        return _split(value, "a link", {"models"})


class ProbeSpec(_Bound):
    ok: str | None = None
    #: what `keeps` compares and reports show
    value: str | None = None
    every: Duration = timedelta(milliseconds=500)
    timeout: Duration = timedelta(seconds=1)
    as_: Name | None = None
    writes: Literal["orders"] | None = None
    each: Name | None = None
    hold: Literal["any", "all"] = "all"
    replace: bool = False
    title: str = ""

    @model_validator(mode="before")
    @classmethod
    def _kind(cls, value: Any) -> Any:
        known = {"ok", "value", "every", "timeout", "as", "writes", "each", "hold", "replace", "title"}
        return _split(value, "a probe", known)


class Helpers(Written):
    node: bool = False


class Permit(Written):
    faults: list[Name] | None = None
    approvals: Annotated[int, Field(ge=0)] = 0
    helpers: Helpers = Field(default_factory=Helpers)


class Session(Written):
    login: dict[str, Any]
    token: str
    refresh: Duration | None = None
    header: str = "Authorization"


class Procedure(Written):
    command: Annotated[list[str], Field(min_length=1)]
    timeout: Duration = timedelta(minutes=5)
    cwd: str | None = None


class Alerts(Written):
    alertmanager: str | list[str] | None = None
    prometheus: str | None = None
    severities: dict[str, str] = {}
    channels: dict[str, list[str]] = {}


class EnvironmentPart(Written):
    """What a file that others use may say; the file itself is an Environment."""

    kind: Literal["Environment"]
    version: Literal[1]
    name: Name | None = None
    tier: Tier | None = None
    identity: dict[Key, str] = {}
    permit: Permit = Field(default_factory=Permit)
    uses: list[str] = []
    values: dict[Key, Any] = {}
    services: dict[Name, Service] = {}
    links: dict[Name, LinkBinding] = {}
    probes: dict[Name, ProbeSpec] = {}
    workloads: dict[Name, dict[str, Any]] = {}
    budget: dict[Key, Rate] = {}
    sessions: dict[Name, Session] = {}
    procedures: dict[Name, Procedure] = {}
    alerts: Alerts | None = None
    blackouts: list[dict[str, Any]] = []
    experiments: dict[Name, dict[Name, Any]] = {}


class Environment(EnvironmentPart):
    name: Name
    tier: Tier
