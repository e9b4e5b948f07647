"""Links of all pods of a workload, cut by a NetworkPolicy: for new connections, if the cluster heeds policies.

`inbound: port` is that port of the pods, as the outside reaches it through `address`; looks come from here. `to:
host:port` is another service, looked at from within a pod by a helper pod on its node; but a policy knows no names, so
the pods then reach nobody but their name servers. An incarnation is the workload's uid: pods that are made in place of
others are cut off as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Offer, Passage, Reference, Severable
from veloz_chaos.errors import Gone, Missing, TargetError
from veloz_chaos.mechanisms import (
    kube_amend,
    kube_api,
    kube_objects,
    kube_pods,
    kube_policy,
    kube_rights,
    pod_helpers,
    traffic,
)
from veloz_chaos.mechanisms.beside import LOOK
from veloz_chaos.mechanisms.beside_pod import Beside
from veloz_chaos.mechanisms.contained_link import (
    MARGIN,
    Ping,
    answering,
    parts,
    require_host_port,
    written,
)
from veloz_chaos.mechanisms.helper_pod import NOWHERE
from veloz_chaos.mechanisms.kube_api import SIGN, Conflict, Json, Place, path
from veloz_chaos.mechanisms.kube_find import found
from veloz_chaos.mechanisms.kube_pods import Wanted
from veloz_chaos.mechanisms.kube_rights import Right

BACKEND = "kubernetes-policy"
POLICIES = "networkpolicies.networking.k8s.io"
_UNDO = "the policy is deleted"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """`owner`: deployment/NAME and the like. Exactly one of `to` (with `helpers`) and `inbound` (with `address`)."""

    namespace: str
    owner: str
    to: str | None = None
    inbound: int | None = Field(default=None, ge=1, le=65535)
    address: str | None = None
    ping: Ping = "http"
    path: str = "/"
    container: str | None = None
    helpers: str | None = None
    image: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        kube_objects.owner(self.owner)
        if (self.to is None) == (self.inbound is None):
            raise ValueError("write exactly one of to and inbound")
        if (self.inbound is None) != (self.address is None):
            raise ValueError("inbound goes with address: host:port, as seen from here")
        for text in filter(None, (self.address, self.to)):
            require_host_port(text)
        return self

    @property
    def place(self) -> Place:
        return Place(self.context, self.kubeconfig)


class PolicyLink(Severable):
    """One link of all pods of one workload."""

    offers = (
        Offer(
            capability="Severable",
            mechanism="a NetworkPolicy, which the cluster's network plugin enforces",
            touches="new connections only: established ones survive it; of all pods of the workload, with everybody "
            "(name servers excepted), or to the one port that is `inbound`",
            undo=_UNDO,
        ),
    )

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        identity = reference.identity
        self.cluster = kube_api.meant(identity)
        self.api = kube_api.client(self.cluster)
        self.namespace, self.owner = str(identity["namespace"]), kube_objects.owner(identity["owner"])
        self.uid, self.inbound = str(identity["uid"]), identity.get("inbound")
        self._sign = LOOK
        self._lacks: Mapping[str, str] | None = None

    def offered(self) -> Sequence[Offer]:
        return () if self.lacks else self.offers

    @property
    def lacks(self) -> Mapping[str, str]:
        if self._lacks is None:
            reason = self._in_vain()
            self._lacks = {"Severable": reason} if reason else {}
        return self._lacks

    def alive(self) -> bool:
        try:
            self._read()
        except Gone:
            return False
        return True

    def arm(self, sign: str) -> None:
        """A helper to look with, where one is needed."""
        self._sign = sign
        if self.inbound is None:
            self._beside().obtain(sign)

    def disarm(self, sign: str) -> None:
        if self.inbound is None:
            self._beside().withdraw(sign)

    def leftovers(self) -> list[str]:
        self._read()
        left = [sign for one in self._policies() if (sign := kube_policy.sign_of(one)) and self._is_on_us(one)]
        return [
            f"a NetworkPolicy of {sign} cuts {self.owner} off; take it away by: {self.by_hand('Severable', sign)}"
            for sign in left
        ]

    def by_hand(self, capability: str, sign: str) -> str:
        return f"{self.cluster.words} -n {self.namespace} delete networkpolicy -l {SIGN}={sign}"

    def cannot_sever(self, how: Literal["silent", "reset"], connections: Literal["all", "new"]) -> str:
        if how == "reset":
            return "a NetworkPolicy drops packets and sends no resets; write how: silent"
        if connections == "all":
            return "a NetworkPolicy leaves established connections alone; write connections: new"
        return self.lacks.get("Severable", "")

    def pass_through(self, pings: int, timeout: timedelta) -> Passage:
        identity, seconds = self.reference.identity, timeout.total_seconds()
        self._read()
        if self.inbound is not None:
            return traffic.pass_through(parts(identity["address"]), answering(identity), pings, seconds)
        given = {key: identity[key] for key in ("to", "port", "ping")} | {"pings": pings, "timeout": seconds}
        return Passage(**self._beside().call(self._sign, "pass_through", patience=seconds + MARGIN, **given))

    def sever(
        self, sign: str, how: Literal["silent", "reset"], connections: Literal["all", "new"], expires: timedelta
    ) -> None:
        if reason := self.cannot_sever(how, connections):
            raise TargetError(reason)
        pods = self._read()["spec"]["selector"]
        body = kube_policy.cut(sign, f"veloz-chaos-{sign.lower()}-{self.uid[:8]}", pods, self.inbound)
        with suppress(Conflict):  # it is there: we were not told that the last attempt had been heard
            self.api.post(path(POLICIES, self.namespace), body)

    def mend(self, sign: str) -> None:
        """Ours, whether the workload is still there or not; the deletion of what is gone is nobody's concern."""
        for policy in self._ours(f"{SIGN}={sign}"):
            with suppress(Missing):
                self.api.delete(path(POLICIES, self.namespace, policy["metadata"]["name"]))

    def held(self) -> bool:
        """Is any policy of ours still there for this workload, which may be gone itself?"""
        return bool(self._ours(SIGN))

    def _ours(self, labels: str) -> list[Json]:
        listed = self.api.listed(path(POLICIES, self.namespace), labelSelector=labels).items
        return [policy for policy in listed if policy["metadata"]["name"].endswith(self.uid[:8])]

    def _in_vain(self) -> str:
        """Why a policy would not do here; empty if it would."""
        workload = self._read()
        if self.inbound is None and not self.reference.identity.get("helpers"):
            return NOWHERE
        labels = _labels(workload)
        others = [one for one in self._policies() if kube_policy.lets_through(one, labels, self.inbound)]
        if others:
            names = ", ".join(kube_pods.name_of(one) for one in others)
            return f"policies add up, and {names} may allow the pods of {self.owner} what another one would forbid"
        listed = self.api.listed(path("pods", self.namespace), labelSelector=kube_objects.selector(workload)).items
        strangers = [kube_pods.name_of(pod) for pod in listed if not kube_objects.owns(workload, pod)]
        if strangers:
            return f"the labels of {self.owner} are those of {', '.join(strangers)} too, which would be cut off as well"
        return ""

    def _is_on_us(self, policy: Mapping[str, Any]) -> bool:
        return kube_policy.fits(policy["spec"].get("podSelector") or {}, _labels(self._read()))

    def _policies(self) -> list[Json]:
        return self.api.listed(path(POLICIES, self.namespace)).items

    def _beside(self) -> Beside:
        """The eldest of its pods that runs."""
        identity = self.reference.identity
        pod = found(self.api, self.namespace, Wanted(owner=str(self.owner)))[0]
        container = kube_pods.chosen(pod, identity.get("container"))
        if container is None:
            raise Missing(f"pod {kube_pods.name_of(pod)} has no container {identity['container']}")
        given = pod_helpers.identity(pod, container, self.cluster, identity["helpers"], identity.get("image", ""))
        return pod_helpers.beside(given)

    def _read(self) -> Json:
        return kube_amend.current(self.api, self.owner.path(self.namespace), self.uid)


def _labels(workload: Mapping[str, Any]) -> Mapping[str, str]:
    """What its pods carry."""
    return workload["spec"]["template"]["metadata"].get("labels") or {}


def find(name: str, selector: Selector) -> list[PolicyLink]:
    """Raises Missing, with what is there instead."""
    owner = kube_objects.owner(selector.owner)
    workload = kube_amend.existing(kube_api.client(selector.place), selector.namespace, owner)
    identity: dict[str, Any] = {
        "namespace": selector.namespace,
        "owner": str(owner),
        "uid": workload["metadata"]["uid"],
    }
    if selector.to is not None:
        identity["to"], identity["port"] = parts(selector.to)
    own = ("inbound", "address", "container", "helpers", "image")
    identity |= {key: value for key in own if (value := getattr(selector, key)) is not None}
    identity |= kube_api.kept(selector.place)
    identity["ping"] = written(selector.ping, selector.path)
    return [PolicyLink(Reference(backend=BACKEND, name=name, identity=identity))]


def system(selector: Selector) -> dict[str, str]:
    """Which cluster that is."""
    return kube_api.system(selector.place)


def rights(selector: Selector, capability: str) -> list[Right]:
    """What an account needs for that; without a capability: to find what is meant."""
    place = Place(selector.context, selector.kubeconfig)
    if not capability:
        return kube_rights.to_find(place, selector.namespace, selector.owner)
    looks = kube_rights.rights(place, selector.helpers, "node-helpers") if selector.helpers else []
    return [*kube_rights.rights(place, selector.namespace, "policy"), *looks]


def reopen(reference: Reference) -> PolicyLink:
    """The same link of the same workload again; also of one that is gone, as long as a policy of ours for it is there,
    which hits whatever carries its labels now. Raises Gone."""
    target = PolicyLink(reference)
    try:
        target._read()
    except Gone:
        if not target.held():
            raise
    return target
