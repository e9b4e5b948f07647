"""Links of a pod, disturbed in its own network namespace by a helper pod on its node, or by a helper in the pod itself;
no proxy has to be in the way.

`to: host:port` is another service as the pod names it; `inbound: port` is the pod's own port as the outside reaches it,
through `address`; `to: dns` is its name servers. What the pod says to itself is never touched. Looks are traffic of
ours from within the same namespace (or, inbound, from here).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Link, Offer, Reference, Resolvable
from veloz_chaos.errors import Gone, Missing
from veloz_chaos.mechanisms import kube_api, kube_pods, kube_rights, pod_helpers
from veloz_chaos.mechanisms.beside_pod import Beside
from veloz_chaos.mechanisms.contained_link import (
    DNS,
    ContainedLink,
    ContainedNames,
    Ping,
    parts,
    require_host_port,
    written,
)
from veloz_chaos.mechanisms.kube_api import Place
from veloz_chaos.mechanisms.kube_find import found, require_one_way
from veloz_chaos.mechanisms.kube_pods import Wanted
from veloz_chaos.mechanisms.kube_rights import Right
from veloz_chaos.mechanisms.pod_helpers import Helpers, OnKubernetes


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """The pod by exactly one of selector (labels), owner and pod, in a namespace. The link by `to` or `inbound`.

    `ping` says how the other end is made to answer: an HTTP GET of `path`, a line, or PostgreSQL's request for TLS;
    `lookup` (of `to: dns`) is a name that has an address; `address` (of `inbound`) is host:port as seen from here.
    `helpers`: the namespace where helper pods may be made, or {in: pod}. `image`: theirs, as the nodes can pull it.
    """

    namespace: str
    selector: dict[str, str] = field(default_factory=dict)
    owner: str | None = None
    pod: str | None = None
    container: str | None = None
    to: str | None = None
    inbound: int | None = Field(default=None, ge=1, le=65535)
    address: str | None = None
    lookup: str | None = None
    ping: Ping = "http"
    path: str = "/"
    helpers: Helpers | None = None
    image: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        require_one_way(self.wanted)
        if (self.to is None) == (self.inbound is None):
            raise ValueError("write exactly one of to and inbound")
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
        return Place(self.context, self.kubeconfig)

    @property
    def wanted(self) -> Wanted:
        return Wanted(tuple(sorted(self.selector.items())), self.owner, self.pod)


class Helped(OnKubernetes):
    """Nothing of a link can be done where no helper may be."""

    @staticmethod
    def place(reference: Reference) -> Beside:
        return pod_helpers.beside(reference.identity, links=True)

    @property
    def lacks(self) -> Mapping[str, str]:
        return {one.capability: reason for one in self.offers if (reason := self.beside.cannot(one.capability))}


class PodLink(Helped, ContainedLink):
    """One link of one pod."""

    def offered(self) -> Sequence[Offer]:
        return [] if self.lacks else [self.beside.worded(one) for one in super().offered()]


class PodNames(Helped, ContainedNames):
    """What one pod is told by its name servers."""

    def offered(self) -> Sequence[Offer]:
        return [] if self.lacks else [self.beside.worded(one) for one in super().offered()]


def find(name: str, selector: Selector) -> list[Link | Resolvable]:
    """The link of each pod that matches. Raises Missing, with what is there instead."""
    pods = found(kube_api.client(selector.place), selector.namespace, selector.wanted)
    return [_made(Reference(backend="kubernetes-link", name=name, identity=_identity(pod, selector))) for pod in pods]


def system(selector: Selector) -> dict[str, str]:
    """Which cluster that is."""
    return kube_api.system(selector.place)


def rights(selector: Selector, capability: str) -> list[Right]:
    """What an account needs for that; without a capability: to find what is meant."""
    if not capability:
        found = kube_rights.to_find(selector.place, selector.namespace, selector.owner)
        return [*found, *pod_helpers.to_look(selector.place, selector.helpers)]
    return pod_helpers.rights(selector.place, selector.namespace, selector.helpers)


def reopen(reference: Reference) -> Link | Resolvable:
    """The same link of the same pod again, whichever of its containers have been started again meanwhile; also of one
    that is going, as long as a helper is beside it. Raises Gone."""
    made = _made(reference)
    try:
        made.beside.state()
    except Gone:
        if not made.beside.found():
            raise
    return made


def _made(reference: Reference) -> PodLink | PodNames:
    return PodNames(reference) if "lookup" in reference.identity else PodLink(reference)


def _identity(pod: Mapping[str, Any], selector: Selector) -> dict[str, Any]:
    container = kube_pods.chosen(pod, selector.container)
    if container is None:
        raise Missing(f"pod {kube_pods.name_of(pod)} has no container {selector.container}")
    identity = pod_helpers.identity(pod, container, selector.place, selector.helpers or "", selector.image or "")
    if selector.lookup is not None:
        return {**identity, "lookup": selector.lookup}
    if selector.inbound is not None:
        identity |= {"port": selector.inbound, "address": selector.address}
    else:
        host, port = parts(str(selector.to))
        identity |= {"to": host, "port": port}
    return {**identity, "ping": written(selector.ping, selector.path)}
