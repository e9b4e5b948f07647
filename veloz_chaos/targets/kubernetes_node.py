"""A node of a cluster, emptied as before its maintenance: cordoned, and its pods evicted as far as budgets allow.

An incarnation is the object's uid: a node that is started again stays cordoned, so it stays the same. That it may be
drained at all is said in the cluster, by a label of the node's own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from veloz_chaos.core.capability import Drainable, Offer, Reference, Tenancy
from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms import kube_amend, kube_api, kube_nodes, kube_objects, kube_rights
from veloz_chaos.mechanisms.kube_api import OURS, SIGN, Conflict, Held, Json, path
from veloz_chaos.mechanisms.kube_rights import Right

Selector = kube_nodes.Selector
BACKEND = "kubernetes-node"
ALLOWED = "veloz-chaos/may-be-drained"
#: Put there by a kubelet for a pod that it has from a file: it would be back at once.
MIRROR = "kubernetes.io/config.mirror"
#: Seconds for all evictions, and between two attempts at one that a budget forbids, or that nobody answers.
PATIENCE, PAUSE = 30.0, 1.0


class Node(Drainable):
    """One node."""

    offers = (
        Offer(
            capability="Drainable",
            mechanism="cordoned, then the eviction of every pod that is not a DaemonSet's or the kubelet's own",
            touches="all those pods, of whatever namespace: they start again elsewhere, without what they kept in "
            "emptyDir; disruption budgets are respected",
            undo="uncordoned; the pods stay where they went",
        ),
    )

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        identity = reference.identity
        self.place = kube_api.meant(identity)
        self.name, self.uid = str(identity["node"]), str(identity["uid"])
        self.api = kube_api.client(self.place)
        self._lacks: Mapping[str, str] | None = None

    def offered(self) -> Sequence[Offer]:
        return () if self.lacks else self.offers

    @property
    def lacks(self) -> Mapping[str, str]:
        if self._lacks is None:
            reason = self._forbidden()
            self._lacks = {"Drainable": reason} if reason else {}
        return self._lacks

    def alive(self) -> bool:
        try:
            self._read()
        except Gone:
            return False
        return True

    def leftovers(self) -> list[str]:
        found = self._read()
        if sign := kube_amend.marks(found).get(SIGN):
            return [f"node {self.name} was cordoned by {sign}; open it again by: {self.by_hand('Drainable', sign)}"]
        return []

    def by_hand(self, capability: str, sign: str) -> str:
        return kube_amend.by_hand(self.place, None, "node", self.name, closed(None))

    def drain(self, sign: str, expires: timedelta) -> None:
        def change(found: Json) -> dict[str, Any]:
            if not kube_objects.schedulable(found):
                raise TargetError(f"node {self.name} has been cordoned by somebody else meanwhile")
            return closed(sign)

        kube_amend.amend(self.api, self._path, self.uid, change)
        deadline = time.monotonic() + PATIENCE
        with ThreadPoolExecutor(8) as threads:
            held = list(filter(None, threads.map(partial(self._evict, deadline=deadline), self._tenants())))
        if held:
            raise TargetError(f"node {self.name} can't be drained within {PATIENCE:g} s: {'; '.join(held)}")

    def undrain(self, sign: str) -> None:
        """Nothing to do for what is gone, or was never cordoned by that sign."""
        meanwhile = list[str]()

        def change(found: Json) -> dict[str, Any] | None:
            meanwhile.clear()
            if kube_amend.marks(found).get(SIGN) != sign:
                return None
            if kube_objects.schedulable(found):
                meanwhile.append(f"somebody else has uncordoned node {self.name} meanwhile")
            return closed(None)

        with suppress(Gone):
            kube_amend.amend(self.api, self._path, self.uid, change)
        if meanwhile:
            raise Gone(meanwhile[0])

    def tenancy(self) -> Tenancy:
        return Tenancy(kube_objects.schedulable(self._read()), len(self._tenants()))

    def _evict(self, pod: Json, deadline: float) -> str:
        """Why not; empty if it was accepted, or the pod is gone anyway."""
        meta = pod["metadata"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": meta["name"]}}
        body["deleteOptions"] = {"preconditions": {"uid": meta["uid"]}}
        while True:
            try:
                self.api.post(path("pods", meta["namespace"], meta["name"], "eviction"), body)
            except (Held, Unavailable) as error:  # or it may have been heard: to ask twice does no harm
                if time.monotonic() + PAUSE > deadline:
                    return f"pod {meta['namespace']}/{meta['name']}: {error}"
                time.sleep(PAUSE)
                continue
            except (Gone, Missing, Conflict):
                return ""
            except TargetError as error:
                return f"pod {meta['namespace']}/{meta['name']}: {error}"
            return ""

    def _tenants(self) -> list[Json]:
        """The pods that a drain would send away; such as are ending already it would not."""
        return [pod for pod in self._pods() if movable(pod) and not kube_objects.ending(pod)]

    def _pods(self) -> list[Json]:
        return kube_nodes.pods_on(self.place, self.name)

    def _forbidden(self) -> str:
        """Why it may not be drained; empty if it may."""
        node, pods = self._read(), self._pods()
        if reason := kube_nodes.unfit(node, self.place, ALLOWED, "drained"):
            return reason
        if bare := [told(pod) for pod in pods if movable(pod) and not kube_objects.controller(pod)]:
            return (
                f"node {self.name} has pods that nobody would start elsewhere: {', '.join(bare)}; take them away first"
            )
        if reason := kube_nodes.ours(self.name, pods):
            return reason
        if not any(_takes(one) for one in self.api.listed(path("nodes")).items if one["metadata"]["name"] != self.name):
            return f"no other node than {self.name} takes new pods"
        return ""

    def _read(self) -> Json:
        return kube_amend.current(self.api, self._path, self.uid)

    @property
    def _path(self) -> str:
        return path("nodes", name=self.name)


def closed(sign: str | None) -> dict[str, Any]:
    """The patch that cordons it for a sign; None: that opens it again."""
    return {"metadata": {"annotations": {SIGN: sign}}, "spec": {"unschedulable": True if sign else None}}


def movable(pod: Mapping[str, Any]) -> bool:
    """Would an eviction send it elsewhere? A DaemonSet's would be back at once; a helper of ours ends by itself."""
    if MIRROR in kube_amend.marks(pod) or OURS.items() <= (pod["metadata"].get("labels") or {}).items():
        return False
    return not kube_objects.finished(pod) and kube_objects.controller(pod).get("kind") != "DaemonSet"


def told(pod: Mapping[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _takes(node: Mapping[str, Any]) -> bool:
    return kube_objects.schedulable(node) and kube_objects.node_ready(node)


def find(name: str, selector: Selector) -> list[Node]:
    """Raises Missing, with what is there instead."""
    found, more = kube_nodes.matching(selector), kube_api.kept(selector.place)
    return [
        Node(Reference(backend=BACKEND, name=name, identity={"node": meta["name"], "uid": meta["uid"], **more}))
        for meta in (node["metadata"] for node in found)
    ]


def system(selector: Selector) -> dict[str, str]:
    """Which cluster that is."""
    return kube_api.system(selector.place)


def rights(selector: Selector, capability: str) -> list[Right]:  # noqa: ARG001 -- to look it needs nearly all
    """What an account needs to empty it, and to look whether it may: in the whole cluster."""
    return kube_rights.rights(selector.place, None, "nodes")


def reopen(reference: Reference) -> Node:
    """The same node again. Raises Gone."""
    target = Node(reference)
    target._read()
    return target
