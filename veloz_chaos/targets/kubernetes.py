"""Pods, containers in them and single processes in these, of a Kubernetes cluster; found by the API server's word.

An incarnation is a pod's uid with the id of a container: a container that was started again is another one. A selector
without `container` means pods: they are killed by deletion or eviction. With it containers are meant: they are killed
by signals, and restarted by their kubelet. All else is done by helper pods on the same node, in the namespace that the
environment names for them, or, as far as that goes, by ephemeral containers in the pod itself; so an image needs no
shell, no root and no capability for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from typing import Any, Literal, Self

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Killable, Offer, Pausable, Reference
from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms import helper_pod, kube_api, kube_pods, kube_rights, pod_helpers, proc
from veloz_chaos.mechanisms.beside_pod import default_image
from veloz_chaos.mechanisms.contained import STRAINS, Contained, Inside, inside, nothing_inside
from veloz_chaos.mechanisms.kube_api import Held, Place, path
from veloz_chaos.mechanisms.kube_find import found, require_one_way
from veloz_chaos.mechanisms.kube_pods import Wanted
from veloz_chaos.mechanisms.kube_rights import Right
from veloz_chaos.mechanisms.pod_helpers import Helpers, OnKubernetes

#: What a deletion "at once" grants, in seconds, as kubectl does: with 0 the API would forget a pod that still runs.
AT_ONCE = 1


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OwnVolume:
    """`path` as the container sees it: a file system of its own."""

    path: str


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """Exactly one of selector (labels), owner (`deployment/gateway`) and pod, in a namespace.

    `process`: the one inside whose command line matches it. `kill: evict` asks the disruption budgets first. `helpers`:
    the namespace where helper pods may be made, or {in: pod}. `image`: theirs, as the nodes can pull it.
    """

    namespace: str
    selector: dict[str, str] = field(default_factory=dict)
    owner: str | None = None
    pod: str | None = None
    container: str | None = None
    process: str | None = None
    volumes: dict[str, OwnVolume] = field(default_factory=dict)
    kill: Literal["delete", "evict"] = "delete"
    helpers: Helpers | None = None
    image: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        require_one_way(self.wanted)
        if self.process is not None:
            proc.require_expression("process", self.process)
        if self.kill == "evict" and (self.container or self.process):
            raise ValueError("kill: evict is for pods; leave out container and process")
        return self

    @property
    def place(self) -> Place:
        return Place(self.context, self.kubeconfig)

    @property
    def wanted(self) -> Wanted:
        return Wanted(tuple(sorted(self.selector.items())), self.owner, self.pod)


_FREEZER = Offer(
    capability="Pausable",
    mechanism="the kernel's freezer, for all processes of the container, by a helper pod on its node",
    touches="this container alone; its connections stay open and are accepted by the kernel",
    undo="thawed; the helper pod does so too when it ends",
    expiry="its helper pod ends after an hour, with its runner, and with its target",
    at_once=True,
)


class Part(OnKubernetes, Contained, Killable, Pausable):
    """What is done through the helpers beside one start of one container."""

    def __init__(self, reference: Reference, pod: Mapping[str, Any] | None = None) -> None:
        """`pod`: as it was found."""
        super().__init__(reference)
        self.words = self.beside.cluster.words
        self._pod = pod
        self._lacks: Mapping[str, str] | None = None

    def offered(self) -> Sequence[Offer]:
        return [self.beside.worded(offer) for offer in self.offers if offer.capability not in self.lacks]

    @property
    def lacks(self) -> Mapping[str, str]:
        if self._lacks is None:
            cannot = self._cannot()
            limited = any(offer.capability not in cannot for offer in STRAINS)
            self._lacks = {**(lacking(self._spec(), self.volumes) if limited else {}), **cannot}
        return self._lacks

    def leftovers(self) -> list[str]:
        self.beside.state()
        return super().leftovers()

    def pause(self) -> None:
        self._ask(self._sign, "freeze")

    def resume(self) -> None:
        """Nothing to do for what is gone."""
        with suppress(Gone):
            self._ask(self._sign, "thaw")

    def paused(self) -> bool:
        return bool(self._ask(self._sign, "frozen"))

    def told_oom_kills(self) -> int:
        pod = self.beside.inspect()
        status = kube_pods.status_of(pod, self.beside.container) if pod else {}
        return int(kube_pods.ended(status, self.beside.container_id).get("reason") == "OOMKilled")

    def _cannot(self) -> Mapping[str, str]:
        """What the place of the helpers does not allow."""
        pid = self._process().get("pid")
        said = {offer.capability: self.beside.cannot(offer.capability, pid) for offer in self.offers}
        return {capability: reason for capability, reason in said.items() if reason}

    def _spec(self) -> Mapping[str, Any]:
        pod = self._pod or self.beside.state()
        return {**kube_pods.spec_of(pod, self.beside.container), "pod": pod["spec"]}


class Container(Part):
    """One start of one container."""

    offers = (
        Offer(
            capability="Killable",
            mechanism="signal to its first process from the node's pid namespace, by a helper pod",
            touches="this container; the others of its pod stay",
            undo="nothing to undo: its kubelet starts it again",
        ),
        _FREEZER,
        *STRAINS,
    )


class Inner(Inside, Part):
    """One process inside one start of one container."""

    def continue_by_hand(self) -> str:
        beside = self.beside
        return (
            f"{self.words} -n {beside.namespace} debug {beside.pod} --target {beside.container} --image "
            f"{default_image()} --custom-entrypoint -- pkill -CONT -f '{self.reference.identity['process']}'"
        )


class Pod(Part):
    """One pod; its strains are its container's: the one that is its default, or its first."""

    offers = (
        Offer(
            capability="Killable",
            mechanism="deletion: KILL with a grace of a second, TERM with the pod's own (or eviction, if asked for)",
            touches="this pod; it leaves its services at once",
            undo="nothing to undo: its owner makes another one",
        ),
        _FREEZER,
        *STRAINS,
    )

    def arm(self, sign: str) -> None:
        """A deletion needs no helper; what does starts one when it begins."""
        self._sign = sign

    def kill(self, signal: str) -> None:
        if signal not in ("KILL", "TERM"):
            raise TargetError(f"a pod is deleted, which is KILL or TERM; for {signal} name its container")
        self.beside.state()
        grace = {"gracePeriodSeconds": AT_ONCE} if signal == "KILL" else {}
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": self.beside.uid}, **grace}
        try:
            self._delete(options)
        except Unavailable:  # it may have been heard all the same
            if self.alive():
                raise

    def _delete(self, options: Mapping[str, Any]) -> None:
        where = path("pods", self.beside.namespace, self.beside.pod)
        if self.reference.identity.get("kill") != "evict":
            self.beside.api.delete(where, options)
            return
        meta = {"name": self.beside.pod, "namespace": self.beside.namespace}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta, "deleteOptions": options}
        try:
            self.beside.api.post(f"{where}/eviction", eviction)
        except Held as error:
            raise TargetError(
                f"pod {self.beside.pod} may not be evicted now: {error}; write kill: delete to do it all the same"
            ) from None

    def alive(self) -> bool:
        """A pod whose deletion is decided is none of its services' any more."""
        return self.beside.alive()

    def _cannot(self) -> Mapping[str, str]:
        return {key: value for key, value in super()._cannot().items() if key != "Killable"}


def find(name: str, selector: Selector) -> list[Part]:
    """The pods, containers or processes behind `name`. Raises Missing, with what is there instead."""
    pods = found(kube_api.client(selector.place), selector.namespace, selector.wanted)
    kind = Pod if selector.container is None and selector.process is None else Container
    containers: list[Part] = [
        kind(Reference(backend="kubernetes", name=name, identity=_identity(pod, selector)), pod) for pod in pods
    ]
    if selector.process is None:
        return containers
    inner: list[Part] = [
        Inner(Reference(backend="kubernetes", name=name, identity=identity))
        for one in containers
        for identity in inside(one, selector.process)
    ]
    if not inner:
        raise Missing(nothing_inside(name, containers, selector.process))
    return inner


def doubted(selector: Selector, found: Sequence[Part]) -> Sequence[Part]:
    """Those that may have leftovers, of thousands: where helpers have pods of their own, one question tells of all."""
    if selector.process is not None or isinstance(selector.helpers, pod_helpers.Within):
        return found
    attended = helper_pod.attended(selector.place, selector.helpers) if selector.helpers else set()
    return [one for one in found if one.beside.own() or helper_pod.label(one.beside.container_id) in attended]


def system(selector: Selector) -> dict[str, str]:
    """Which cluster that is."""
    return kube_api.system(selector.place)


def rights(selector: Selector, capability: str) -> list[Right]:
    """What an account needs for that; without a capability: to find what is meant."""
    helpers = pod_helpers.rights(selector.place, selector.namespace, selector.helpers)
    if not capability:
        looks = helpers if selector.process else pod_helpers.to_look(selector.place, selector.helpers)
        return [*kube_rights.to_find(selector.place, selector.namespace, selector.owner), *looks]
    if capability == "Killable" and not (selector.container or selector.process):
        resource = "pods/eviction" if selector.kill == "evict" else "pods"
        return kube_rights.rights(selector.place, selector.namespace, "pod-kill", [resource])
    return helpers


def reopen(reference: Reference) -> Part:
    """The same incarnation again. Raises Gone."""
    kind = Inner if "process" in reference.identity else Pod if "whole" in reference.identity else Container
    target = kind(reference)
    target.beside.state()
    if isinstance(target, Inner) and not target.alive():
        raise Gone(f"{reference.name}: process {target.pid} no longer exists in pod {target.beside.pod}")
    return target


def _identity(pod: Mapping[str, Any], selector: Selector) -> dict[str, Any]:
    container = kube_pods.chosen(pod, selector.container)
    if container is None:
        there = ", ".join(one["name"] for one in pod["spec"]["containers"])
        raise Missing(f"pod {kube_pods.name_of(pod)} has no container {selector.container}; it has {there}")
    found = pod_helpers.identity(pod, container, selector.place, selector.helpers or "", selector.image or "")
    if selector.container is None and selector.process is None:
        found |= {"whole": True, "kill": selector.kill}
    if selector.volumes:
        found["volumes"] = {key: volume.path for key, volume in selector.volumes.items()}
    return found


def lacking(spec: Mapping[str, Any], volumes: Mapping[str, str]) -> dict[str, str]:
    """Capability -> what its manifest would have to have, from a container's part of it (and the pod's)."""
    limits, name = (spec.get("resources") or {}).get("limits") or {}, spec["name"]
    missing = {}
    if "cpu" not in limits:
        missing["Saturable"] = f"container {name} has no CPU limit of its own; write resources: limits: cpu for it"
    if "memory" not in limits:
        limit = f"container {name} has no memory limit of its own; write resources: limits: memory for it"
        missing["Pressable"] = missing["Exhaustible"] = limit
    if reason := _unfillable(spec, volumes):
        missing["Fillable"] = reason
    return missing


def _unfillable(spec: Mapping[str, Any], volumes: Mapping[str, str]) -> str:
    """Why none of its volumes can be filled; empty if one may (its helper knows more, and may still refuse)."""
    if not volumes:
        return "it names no volumes; write volumes: {logs: {path: …}} beside its selector"
    reasons = list(_endless(spec, volumes))
    return "" if not all(reasons) else "; ".join(reasons)


def _endless(spec: Mapping[str, Any], volumes: Mapping[str, str]) -> Iterator[str]:
    mounts = {one["mountPath"].rstrip("/"): one["name"] for one in spec.get("volumeMounts") or []}
    kinds = {one["name"]: one for one in spec["pod"].get("volumes") or []}
    for name, wanted in volumes.items():
        place = max((one for one in mounts if f"{wanted.rstrip('/')}/".startswith(f"{one}/")), key=len, default=None)
        if place is None:
            yield f"volume `{name}` ({wanted}) is on the container's root file system, which is never filled"
            continue
        kind = kinds.get(mounts[place], {})
        if "emptyDir" in kind and not (
            (kind["emptyDir"] or {}).get("medium") == "Memory" and kind["emptyDir"].get("sizeLimit")
        ):
            yield (
                f"volume `{name}` ({wanted}) is an emptyDir on the node's disk, which is never filled; write "
                "emptyDir: {medium: Memory, sizeLimit: 16Mi}, or mount a claim"
            )
        else:
            yield ""
