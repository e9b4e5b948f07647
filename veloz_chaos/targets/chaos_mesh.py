"""Pods and their links, hurt by Chaos Mesh where it is installed: each fault is an object of its API, for one pod.

Chaos Mesh injects and recovers; this product writes the object, waits until its controller says that the very pod is
injected, and looks for itself all the same: at the platform's word for a kill, and through a helper pod (`helpers`) for
all else. An incarnation is a pod's uid with the id of a container, as with `kubernetes`. What cannot be looked at
(a stressed CPU, misled names, failing files) is not offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta
from typing import Any, Literal, Self

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import (
    Delayable,
    Killable,
    Lossy,
    Offer,
    Passage,
    Pressable,
    Reference,
    Severable,
    Target,
    Throttleable,
    Use,
)
from veloz_chaos.errors import Gone, Missing, TargetError
from veloz_chaos.mechanisms import kube_api, kube_pods, kube_rights, mesh_objects, pod_helpers
from veloz_chaos.mechanisms.contained_link import MARGIN, Ping, parts, require_host_port, written
from veloz_chaos.mechanisms.helper_pod import NOWHERE
from veloz_chaos.mechanisms.kube_api import Place
from veloz_chaos.mechanisms.kube_find import found, require_one_way
from veloz_chaos.mechanisms.kube_pods import Wanted
from veloz_chaos.mechanisms.kube_rights import Right
from veloz_chaos.mechanisms.mesh_objects import KINDS, NETWORK, POD, STRESS, Other
from veloz_chaos.mechanisms.meshed import EXPIRY, UNDO, Meshed, kind_for

BACKEND = "chaos-mesh"
#: What a kill "at once" grants, in seconds: with 0 the API would forget a pod that still runs.
AT_ONCE = 1


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """The pod by exactly one of selector (labels), owner and pod. With `to` (host:port as the pod names it) its link.

    `pods`: the labels of the other end's pods in the same namespace; without them it is hit by its host. `ping`: as in
    kubernetes-link. `helpers`: the namespace where helper pods, to look with, may be made. `image`: theirs.
    """

    namespace: str
    selector: dict[str, str] = field(default_factory=dict)
    owner: str | None = None
    pod: str | None = None
    container: str | None = None
    to: str | None = None
    pods: dict[str, str] = field(default_factory=dict)
    ping: Ping = "http"
    path: str = "/"
    helpers: str | None = None
    image: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        require_one_way(self.wanted)
        if self.to is not None:
            require_host_port(self.to)
        elif self.pods:
            raise ValueError("pods goes with to: host:port of the other end, which looks are sent to")
        return self

    @property
    def place(self) -> Place:
        return Place(self.context, self.kubeconfig)

    @property
    def wanted(self) -> Wanted:
        return Wanted(tuple(sorted(self.selector.items())), self.owner, self.pod)


class MeshPod(Meshed, Killable, Pressable):
    """One pod, or one container of it."""

    offers = (
        Offer(
            capability="Killable",
            mechanism="PodChaos: pod-kill, with a grace of a second for KILL and the pod's own for TERM; with a "
            "container container-kill, which is KILL",
            touches="this pod, or this container",
            undo="nothing to undo: its owner makes another one, or its kubelet starts it again",
        ),
        Offer(
            capability="Pressable",
            mechanism="StressChaos: a worker of Chaos Mesh holds memory within the container's limit",
            touches="whatever runs in this container",
            undo=UNDO,
            expiry=EXPIRY,
        ),
    )

    def kill(self, signal: str) -> None:
        """The object is taken away at once, whatever came of it: it has no duration, and must not strike later."""
        whole = "whole" in self.reference.identity
        if signal not in (("KILL", "TERM") if whole else ("KILL",)):
            raise TargetError(f"Chaos Mesh can't send {signal}; write signal: KILL" + (" or TERM" if whole else ""))
        spec = self.beside.state()["spec"]
        grace = spec.get("terminationGracePeriodSeconds", 30) if signal == "TERM" else AT_ONCE
        container = None if whole else self.beside.container
        try:
            self.mesh.make(mesh_objects.kill(self._sign, self.victim, container, int(grace)), lambda: not self.alive())
        finally:
            self.mesh.end(self._sign, [POD])

    def press(self, sign: str, upto: float, expires: timedelta) -> None:
        use = self.memory_use()
        size = int(upto * use.limit - use.used)
        if size <= 0:
            raise TargetError(f"{use.share:.0%} of its memory are in use already")
        self._inject(mesh_objects.press(sign, self.victim, self.beside.container, size, expires))

    def release(self, sign: str, undo: dict[str, Any]) -> None:
        self._recover(sign, STRESS)

    def memory_settings(self) -> dict[str, Any]:
        return {}

    def memory_use(self) -> Use:
        self._require_injected()
        return Use(**self.beside.call(self._sign, "memory_use"))

    def _cannot(self) -> Mapping[str, str]:
        if not self.reference.identity.get("helpers"):
            return {"Pressable": NOWHERE}
        limits = (kube_pods.spec_of(self.beside.state(), self.beside.container).get("resources") or {}).get("limits")
        if "memory" in (limits or {}):
            return {}
        return {"Pressable": f"container {self.beside.container} has no memory limit of its own; write resources: "
                "limits: memory for it"}  # fmt: skip


def _offer(capability: str, mechanism: str, touches: str) -> Offer:
    return Offer(
        capability=capability, mechanism=f"NetworkChaos: {mechanism}", touches=touches, undo=UNDO, expiry=EXPIRY
    )


_EITHER = "this pod's traffic with that host and port, existing connections too; with `pods` all its traffic with those"


class MeshLink(Meshed, Delayable, Throttleable, Severable, Lossy):
    """One link of one pod."""

    offers = (
        _offer("Delayable", "delay of what this pod sends there; with `pods` of what those send to it", _EITHER),
        _offer("Throttleable", "bandwidth, at both ends; of each what it sends to the other's own addresses", _EITHER),
        _offer("Severable", "partition: what this pod sends there is dropped; with `pods` at both ends", _EITHER),
        _offer("Lossy", "loss among the packets that this pod sends there; with `pods` that those send to it", _EITHER),
    )

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        identity = reference.identity
        self.to: dict[str, Any] = {"to": identity["to"], "port": int(identity["port"])}
        self.other = Other(self.to["to"], self.to["port"], identity.get("pods") or {})

    def arm(self, sign: str) -> None:
        self._sign = sign
        self.beside.obtain(sign)

    def pass_through(self, pings: int, timeout: timedelta) -> Passage:
        seconds = timeout.total_seconds()
        given = {**self.to, "ping": self.reference.identity["ping"], "pings": pings, "timeout": seconds}
        return Passage(**self._look("pass_through", seconds + MARGIN, given))

    def pass_often(self, times: int, timeout: timedelta) -> list[Passage]:
        seconds = timeout.total_seconds()
        found = self._look("shake_hands", times * seconds + MARGIN, {**self.to, "times": times, "timeout": seconds})
        return [Passage(**one) for one in found]

    def delay(self, sign: str, delay: timedelta, jitter: timedelta, expires: timedelta) -> None:
        self._inject(mesh_objects.delay(sign, self.victim, self.other, delay, jitter, expires))

    def undelay(self, sign: str) -> None:
        self._recover(sign, NETWORK)

    def throttle(self, sign: str, rate: int, expires: timedelta) -> None:
        if reason := self.lacks.get("Throttleable"):
            raise TargetError(reason)
        self._inject(mesh_objects.throttle(sign, self.victim, self.other, rate, expires))

    def unthrottle(self, sign: str) -> None:
        self._recover(sign, NETWORK)

    def cannot_sever(self, how: Literal["silent", "reset"], connections: Literal["all", "new"]) -> str:
        if how == "reset":
            return "Chaos Mesh drops packets and sends no resets; write how: silent"
        if connections == "new":
            return "Chaos Mesh cuts established connections as well; write connections: all"
        return self.lacks.get("Severable", "")

    def sever(
        self, sign: str, how: Literal["silent", "reset"], connections: Literal["all", "new"], expires: timedelta
    ) -> None:
        if reason := self.cannot_sever(how, connections):
            raise TargetError(reason)
        self._inject(mesh_objects.sever(sign, self.victim, self.other, expires))

    def mend(self, sign: str) -> None:
        self._recover(sign, NETWORK)

    def lose(self, sign: str, share: float, expires: timedelta) -> None:
        self._inject(mesh_objects.lose(sign, self.victim, self.other, share, expires))

    def unlose(self, sign: str) -> None:
        self._recover(sign, NETWORK)

    def _look(self, call: str, patience: float, given: Mapping[str, Any]) -> Any:
        self.beside.state()
        self._require_injected()
        return self.beside.call(self._sign, call, patience=patience, **given)

    def _cannot(self) -> Mapping[str, str]:
        if not self.reference.identity.get("helpers"):
            return {offer.capability: NOWHERE for offer in self.offers}
        reason = "towards a host only one way is narrowed; write pods: {app: …}, the labels of the other end's pods"
        return {} if self.other.labels else {"Throttleable": reason}


def find(name: str, selector: Selector) -> list[Target]:
    """The pods, or their links. Raises Missing, with what is there instead."""
    pods = found(kube_api.client(selector.place), selector.namespace, selector.wanted)
    return [_target(Reference(backend=BACKEND, name=name, identity=_identity(pod, selector))) for pod in pods]


def system(selector: Selector) -> dict[str, str]:
    """Which cluster that is."""
    return kube_api.system(selector.place)


def rights(selector: Selector, capability: str) -> list[Right]:
    """What an account needs for that; without a capability: to find what is meant, and whether it is hurt already."""
    place, namespace = selector.place, selector.namespace
    if not capability:
        looks = [kube_rights.right(place, namespace, "list", kind) for kind in KINDS.values()]
        return [*kube_rights.to_find(place, namespace, selector.owner), *looks]
    needed = kube_rights.rights(place, namespace, "chaos-mesh", [KINDS[kind_for(capability)]])
    if capability != "Killable" and selector.helpers:
        needed += kube_rights.rights(place, selector.helpers, "node-helpers")
    return needed


def reopen(reference: Reference) -> Meshed:
    """The same incarnation again; also one that is gone, as long as an object of ours for it is there. Raises Gone."""
    target = _target(reference)
    try:
        target.beside.state()
    except Gone:
        if not target.held():
            raise
    return target


def _target(reference: Reference) -> MeshPod | MeshLink:
    return MeshLink(reference) if "to" in reference.identity else MeshPod(reference)


def _identity(pod: Mapping[str, Any], selector: Selector) -> dict[str, Any]:
    container = kube_pods.chosen(pod, selector.container)
    if container is None:
        there = ", ".join(one["name"] for one in pod["spec"]["containers"])
        raise Missing(f"pod {kube_pods.name_of(pod)} has no container {selector.container}; it has {there}")
    identity = pod_helpers.identity(pod, container, selector.place, selector.helpers or "", selector.image or "")
    if selector.container is None:
        identity["whole"] = True
    if selector.to is not None:
        identity["to"], identity["port"] = parts(selector.to)
        identity |= {"ping": written(selector.ping, selector.path)} | ({"pods": selector.pods} if selector.pods else {})
    return identity
