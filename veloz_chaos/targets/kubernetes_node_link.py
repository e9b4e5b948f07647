"""What a node itself says to another place, disturbed in its own network namespace by a helper pod on it: cut off from
the API server, a node is lost to its cluster, while its pods serve on.

An incarnation is the object's uid, as of any node. The helper is spoken to by the API server through the kubelet, which
such a cut leaves open; where that ends too, the helper undoes it by itself. That a node may be cut off at all is said
in the cluster, by a label of the node's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Offer, Reference
from veloz_chaos.mechanisms import helper_node, kube_api, kube_nodes, kube_rights, pod_helpers
from veloz_chaos.mechanisms.contained_link import ContainedLink, Ping, offer, parts, require_host_port, written
from veloz_chaos.mechanisms.helper_node import OnNetwork
from veloz_chaos.mechanisms.kube_rights import Right

BACKEND = "kubernetes-node-link"
ALLOWED = "veloz-chaos/may-be-cut-off"


def _host_port(text: str) -> str:
    require_host_port(text)
    return text


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Selector(kube_nodes.Selector):
    """Exactly one of name and labels; `to`: host:port, as the node reaches it, such as the API server's.

    `ping` says how the other end is made to answer: an HTTP GET of `path` (an HTTPS server's refusal is an answer too),
    a line, or PostgreSQL's request for TLS. `helpers`: the namespace where helper pods may be made. `image`: theirs, as
    the nodes can pull it.
    """

    to: Annotated[str, AfterValidator(_host_port)]
    ping: Ping = "http"
    path: str = "/"
    helpers: Annotated[str, AfterValidator(pod_helpers.namespace)] | None = None
    image: str | None = None


class NodeLink(ContainedLink):
    """One link of one node."""

    beside: OnNetwork
    offers = (
        offer(
            "Severable",
            "NFQUEUE in the node's own network namespace, both ways; resets by iptables; by a helper pod on it",
            "all that the node itself says to the other end, over existing connections too: its kubelet, kube-proxy, "
            "pods in its network; other pods pass. Cut off from the API server for long it is called lost, "
            "and its pods are started elsewhere",
        ),
    )

    @staticmethod
    def place(reference: Reference) -> OnNetwork:
        return helper_node.beside(reference.identity)

    def offered(self) -> Sequence[Offer]:
        return () if self.lacks else self.offers

    @property
    def lacks(self) -> Mapping[str, str]:
        reason = self._forbidden()
        return {"Severable": reason} if reason else {}

    def cannot_sever(self, how: Literal["silent", "reset"], connections: Literal["all", "new"]) -> str:
        return super().cannot_sever(how, connections) or self._forbidden()

    def _forbidden(self) -> str:
        """Why it may not be cut off; empty if it may."""
        place, node = self.beside.cluster, self.beside.state()
        name = node["metadata"]["name"]
        if reason := kube_nodes.unfit(node, place, ALLOWED, "cut off"):
            return reason
        return kube_nodes.ours(name, kube_nodes.pods_on(place, name)) or self.beside.cannot("Severable")


def find(name: str, selector: Selector) -> list[NodeLink]:
    """The link of each node that matches. Raises Missing, with what is there instead."""
    host, port = parts(selector.to)
    where = {**kube_api.kept(selector.place), "helpers": selector.helpers, "image": selector.image}
    common = {"to": host, "port": port, "ping": written(selector.ping, selector.path)}
    common |= {key: value for key, value in where.items() if value}
    metas = [node["metadata"] for node in kube_nodes.matching(selector)]
    return [
        NodeLink(Reference(backend=BACKEND, name=name, identity={"node": meta["name"], "uid": meta["uid"], **common}))
        for meta in metas
    ]


def system(selector: Selector) -> dict[str, str]:
    """Which cluster that is."""
    return kube_api.system(selector.place)


def rights(selector: Selector, capability: str) -> list[Right]:
    """What an account needs for that; without a capability: to find what is meant."""
    if not capability:
        wanted = (("get", "nodes"), ("list", "nodes"), ("list", "pods"))
        found = [kube_rights.right(selector.place, None, verb, resource) for verb, resource in wanted]
        return [*found, *pod_helpers.to_look(selector.place, selector.helpers)]
    return pod_helpers.rights(selector.place, "", selector.helpers)


def reopen(reference: Reference) -> NodeLink:
    """The same link of the same node again. Raises Gone."""
    made = NodeLink(reference)
    made.beside.state()
    return made
