"""Links of a container, disturbed in its own network namespace by a helper container; no proxy has to be in the way.

`to: host:port` is another service as the container names it; `inbound: port` is the container's own port as the outside
reaches it, through `address`; `to: dns` is its name servers. What the container says to itself is never touched. Looks
are traffic of ours from within the same namespace (or, inbound, from here).
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Link, Reference, Resolvable
from veloz_chaos.mechanisms import docker_api, helper_container
from veloz_chaos.mechanisms.contained_link import (
    DNS,
    ContainedLink,
    ContainedNames,
    Ping,
    parts,
    require_host_port,
    written,
)
from veloz_chaos.mechanisms.docker_api import Place, Wanted
from veloz_chaos.mechanisms.helper_container import OnDocker


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """The container by exactly one of name; label; project and service. The link by `to` or `inbound`.

    `ping` says how the other end is made to answer: an HTTP GET of `path`, a line, or PostgreSQL's request for TLS;
    `lookup` (of `to: dns`) is a name that has an address; `address` (of `inbound`) is host:port as seen from here.
    """

    name: str | None = None
    label: str | None = None
    project: str | None = None
    service: str | None = None
    to: str | None = None
    inbound: int | None = Field(default=None, ge=1, le=65535)
    address: str | None = None
    lookup: str | None = None
    ping: Ping = "http"
    path: str = "/"
    host: str | None = None
    context: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.project is None) != (self.service is None):
            raise ValueError("project and service belong together; write both")
        if sum(way is not None for way in (self.name, self.label, self.service)) != 1:
            raise ValueError("write exactly one of name, label, and project with service")
        if (self.to is None) == (self.inbound is None):
            raise ValueError("write exactly one of to and inbound")
        if self.host and self.context:
            raise ValueError("write host or context, not both")
        for text in (self.address, self.to if self.to != DNS else None):
            if text is not None:
                require_host_port(text)
        if self.inbound is not None and self.address is None:
            raise ValueError("inbound is looked at from here: write address: host:port as well")
        if (self.to == DNS) != (self.lookup is not None):
            raise ValueError("to: dns goes with lookup: a name that has an address, and with nothing else")
        return self

    @property
    def place(self) -> Place:
        return Place(self.host, self.context)

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.name, self.label, self.project, self.service)


class ContainerLink(OnDocker, ContainedLink):
    """One link of one start of one container."""


class ContainerNames(OnDocker, ContainedNames):
    """What one start of one container is told by its name servers."""


def find(name: str, selector: Selector) -> list[Link | Resolvable]:
    """The link of each container that matches. Raises Missing, with what is there instead."""
    found = docker_api.matching(docker_api.client(selector.place), selector.wanted)
    return [_made(Reference(backend="docker-link", name=name, identity=_identity(one, selector))) for one in found]


def system(selector: Selector) -> dict[str, str]:
    """Which engine that is."""
    return docker_api.system(selector.place)


def reopen(reference: Reference) -> Link | Resolvable:
    """The same link of the same start again. Raises Gone."""
    made = _made(reference)
    made.beside.state()
    return made


def _made(reference: Reference) -> ContainerLink | ContainerNames:
    return ContainerNames(reference) if "lookup" in reference.identity else ContainerLink(reference)


def _identity(container: dict[str, Any], selector: Selector) -> dict[str, Any]:
    identity = helper_container.identity(container, selector.place)
    if selector.lookup is not None:
        return {**identity, "lookup": selector.lookup}
    if selector.inbound is not None:
        identity |= {"port": selector.inbound, "address": selector.address}
    else:
        host, port = parts(str(selector.to))
        identity |= {"to": host, "port": port}
    return {**identity, "ping": written(selector.ping, selector.path)}
