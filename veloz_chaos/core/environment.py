"""An environment as people write it: which services and links exist, how each is reached, and the ways of looking."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from veloz_chaos.core.blackout import Blackout
from veloz_chaos.core.cluster import Cluster
from veloz_chaos.core.duration import Duration
from veloz_chaos.core.experiment import Tier
from veloz_chaos.core.matrix import Severity
from veloz_chaos.core.model import Name, Written, only_key
from veloz_chaos.core.session import Session
from veloz_chaos.core.workload import Rate, Workload

Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Bound(Written):
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


class Service(Bound):
    """`engine: {process: {pidfile: …}, restore: start-engine}`"""

    restore: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _kind(cls, value: Any) -> Any:
        return _split(value, "a service", {"restore"})


class LinkBinding(Written):
    """`{toxiproxy: {…}}`, also several ways (`{toxiproxy: {…}, http-proxy: {…}}`): the fault picks the one that can.

    Or `{stand-in: {pause: {service: engine}}, models: silent partition}`, where there is no way at all.
    """

    ways: Annotated[list[Bound], Field(min_length=1)]
    models: str = ""

    @model_validator(mode="before")
    @classmethod
    def _kinds(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "ways" in value:
            return value
        ways = [_split({name: value[name]}, "a link", set()) for name in value if name != "models"]
        if len(ways) > 1 and "stand-in" in value:
            raise ValueError("a stand-in stands alone: leave it out, or the others")
        return {"ways": ways} | ({"models": value["models"]} if "models" in value else {})

    @property
    def stand_in(self) -> dict[str, Any] | None:
        """The fault on a service that stands in for cutting this link; None where it can be reached."""
        return self.ways[0].arguments if self.ways[0].type == "stand-in" else None


def ways(binding: Service | LinkBinding) -> list[Bound]:
    """How a service or link is reached: each way one backend and its selector."""
    return binding.ways if isinstance(binding, LinkBinding) else [binding]


class ProbeSpec(Bound):
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
    #: whose they may be: a file of OpenSSH's allowed signers, beside the environment's
    signers: str | None = None
    helpers: Helpers = Field(default_factory=Helpers)


class Procedure(Written):
    command: Annotated[list[str], Field(min_length=1)]
    timeout: Duration = timedelta(minutes=5)
    cwd: str | None = None


class Place(Written):
    """Where an HTTP API is: a bare URL, or one with what it wants to be shown (`headers: {authorization: …}`)."""

    url: str
    headers: dict[str, str] = {}
    #: certificates to trust instead of the system's
    ca: str | None = None
    verify: bool = True

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value


class Alerts(Written):
    """Where alerts are read, and the site's own words for what the document says."""

    prometheus: Place | None = None
    #: several of one cluster: each is looked at
    alertmanager: list[Place] = []
    #: a `veloz-chaos catch` that the Alertmanager notifies
    catcher: Place | None = None
    every: Duration = timedelta(milliseconds=250)
    timeout: Duration = timedelta(seconds=2)
    #: the document's severity -> the site's label
    severities: dict[Severity, str] = {}
    #: the document's channel -> receivers of the site (`NAME`, or `NAME/integration`); by default its integration
    channels: dict[Name, list[str]] = {}
    #: row -> the names of its alerts; by default those that carry the label `failure: ROW`
    rules: dict[Name, list[str]] = {}
    #: what all alerts of this environment carry, where others are read at the same place: one that says something
    #: else is another environment's
    labels: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("alertmanager"), str | dict):
            return value | {"alertmanager": [value["alertmanager"]]}
        return value


class GrafanaPlace(Place):
    """A Grafana that shows each run as a region in its dashboards."""

    #: beside our own: veloz-chaos, the experiment, the environment, the verdict
    tags: list[str] = []


class Tell(Written):
    """Who hears of a run's start and of its verdict. That somebody can't be told changes nothing."""

    grafana: GrafanaPlace | None = None
    slack: Place | None = None
    webhook: Place | None = None


class EnvironmentPart(Written):
    """What a file that others use may say; the file itself is an Environment."""

    kind: Literal["Environment"]
    version: Literal[1]
    name: Name | None = None
    tier: Tier | None = None
    identity: dict[Key, str] = {}
    permit: Permit = Field(default_factory=Permit)
    #: the cluster that its runs are known to
    kubernetes: Cluster | None = None
    uses: list[str] = []
    values: dict[Key, Any] = {}
    services: dict[Name, Service] = {}
    links: dict[Name, LinkBinding] = {}
    probes: dict[Name, ProbeSpec] = {}
    workloads: dict[Name, Workload] = {}
    budget: dict[Key, Rate] = {}
    sessions: dict[Name, Session] = {}
    procedures: dict[Name, Procedure] = {}
    alerts: Alerts | None = None
    tell: Tell | None = None
    #: nothing starts in one, whoever starts it
    blackouts: list[Blackout] = []
    experiments: dict[Name, dict[Name, Any]] = {}


class Environment(EnvironmentPart):
    name: Name
    tier: Tier
