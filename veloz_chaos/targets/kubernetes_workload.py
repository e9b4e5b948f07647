"""A Deployment or a StatefulSet as a whole: how many pods it runs as.

An incarnation is the object's uid. What it had before, and what we made of it, are annotations of the object itself,
put there by the very request that changes the number: whoever finds them can put it back, with or without our journal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Offer, Reference, Replicas, Scalable
from veloz_chaos.errors import Gone, TargetError
from veloz_chaos.mechanisms import kube_amend, kube_api, kube_objects, kube_pods, kube_rights
from veloz_chaos.mechanisms.kube_api import SIGN, Json, Place, path
from veloz_chaos.mechanisms.kube_objects import Owner
from veloz_chaos.mechanisms.kube_rights import Right

BACKEND = "kubernetes-workload"
KINDS = ("deployment", "statefulset")
BEFORE, SET = "veloz-chaos/replicas-before", "veloz-chaos/replicas-set"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """`owner`: deployment/NAME or statefulset/NAME."""

    namespace: str
    owner: str
    context: str | None = None
    kubeconfig: str | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        kube_objects.owner(self.owner, KINDS)
        return self


class Workload(Scalable):
    """One Deployment or StatefulSet."""

    offers = (
        Offer(
            capability="Scalable",
            mechanism="its spec.replicas, by one request that keeps the former number beside it",
            touches="all its pods but as many as asked; they end as in any scale-down, with their grace",
            undo="the former number, unless somebody else has changed it meanwhile",
        ),
    )

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        identity = reference.identity
        self.place = kube_api.meant(identity)
        self.namespace, self.owner = str(identity["namespace"]), kube_objects.owner(identity["owner"], KINDS)
        self.uid = str(identity["uid"])
        self.api = kube_api.client(self.place)
        self._lacks: Mapping[str, str] | None = None

    def offered(self) -> Sequence[Offer]:
        return () if self.lacks else self.offers

    @property
    def lacks(self) -> Mapping[str, str]:
        if self._lacks is None:
            scalers = self.api.listed(path("horizontalpodautoscalers.autoscaling", self.namespace)).items
            scaler = next((one["metadata"]["name"] for one in scalers if scales(one, self.owner)), None)
            reason = f"HorizontalPodAutoscaler {scaler} decides how many pods {self.owner} has; take it away first: "
            hand = f"{self.place.words} -n {self.namespace} delete hpa {scaler}"
            self._lacks = {} if scaler is None else {"Scalable": f"{reason}{hand}"}
        return self._lacks

    def alive(self) -> bool:
        try:
            self._read()
        except Gone:
            return False
        return True

    def leftovers(self) -> list[str]:
        found = kube_amend.marks(self._read())
        if SIGN not in found:
            return []
        numbers = f"{found.get(BEFORE, '?')} to {found.get(SET, '?')}"
        return [f"{self.owner} was scaled from {numbers} by {found[SIGN]}; put it back by: {self._command()}"]

    def by_hand(self, capability: str, sign: str) -> str:
        return self._command()

    def scale(self, sign: str, former: int, to: int, expires: timedelta) -> None:
        def change(found: Json) -> dict[str, Any]:
            if (wanted := kube_objects.desired(found)) != former:
                raise TargetError(f"{self.owner} is to have {wanted} replicas now, not {former}{changed_by(found)}")
            if other := kube_amend.marks(found).get(SIGN):
                raise TargetError(f"{self.owner} is scaled by {other} already")
            ours = {SIGN: sign, BEFORE: str(former), SET: str(to)}
            return {"metadata": {"annotations": ours}, "spec": {"replicas": to}}

        kube_amend.amend(self.api, self._path, self.uid, change)

    def unscale(self, sign: str) -> None:
        """Nothing to do for what is gone, or was never scaled by that sign."""
        meanwhile = list[str]()

        def change(found: Json) -> dict[str, Any] | None:
            meanwhile.clear()
            marks = kube_amend.marks(found)
            if marks.get(SIGN) != sign:
                return None
            wanted, ours, before = kube_objects.desired(found), marks.get(SET, ""), marks.get(BEFORE, "")
            if str(wanted) == ours and before.isdecimal():
                return restored(int(before))
            meanwhile.append(
                f"{self.owner} is to have {wanted} replicas now, not the {ours or '?'} that we set{changed_by(found)}; "
                f"it was left so (it had {before or '?'} before)"
            )
            return restored(None)

        with suppress(Gone):
            kube_amend.amend(self.api, self._path, self.uid, change)
        if meanwhile:
            raise Gone(meanwhile[0])

    def replicas(self) -> Replicas:
        workload = self._read()
        listed = self.api.listed(path("pods", self.namespace), labelSelector=kube_objects.selector(workload)).items
        pods = [pod for pod in listed if kube_objects.owns(workload, pod) and not kube_objects.finished(pod)]
        return Replicas(kube_objects.desired(workload), len(pods), sum(map(kube_pods.ready, pods)))

    def _command(self) -> str:
        found = self._read()
        told = kube_amend.marks(found).get(BEFORE, "")
        before = int(told) if told.isdecimal() else kube_objects.desired(found)
        return kube_amend.by_hand(self.place, self.namespace, self.owner.kind, self.owner.name, restored(before))

    def _read(self) -> Json:
        return kube_amend.current(self.api, self._path, self.uid)

    @property
    def _path(self) -> str:
        return self.owner.path(self.namespace)


def restored(before: int | None) -> dict[str, Any]:
    """The patch that takes our marks away; None: and leaves the number as it is."""
    marks = {"metadata": {"annotations": dict.fromkeys((SIGN, BEFORE, SET))}}
    return marks if before is None else {**marks, "spec": {"replicas": before}}


def scales(scaler: Mapping[str, Any], owner: Owner) -> bool:
    target = scaler["spec"]["scaleTargetRef"]
    return bool(target["kind"].lower() == owner.kind and target["name"] == owner.name)


def changed_by(found: Mapping[str, Any]) -> str:
    """Who was the last to set the number, by the server's word; empty if it does not say or it was us."""
    fields = [one for one in found["metadata"].get("managedFields") or [] if _numbers(one.get("fieldsV1") or {})]
    last = max(fields, key=lambda one: str(one.get("time", "")), default={"manager": kube_amend.MANAGER})
    return "" if last["manager"] == kube_amend.MANAGER else f" ({last['manager']} has changed it)"


def _numbers(fields: Mapping[str, Any]) -> bool:
    return "f:replicas" in fields.get("f:spec", {})


def find(name: str, selector: Selector) -> list[Workload]:
    """Raises Missing, with what is there instead."""
    place, owner = Place(selector.context, selector.kubeconfig), kube_objects.owner(selector.owner, KINDS)
    found = kube_amend.existing(kube_api.client(place), selector.namespace, owner)
    identity = {"namespace": selector.namespace, "owner": str(owner), "uid": found["metadata"]["uid"]}
    identity |= kube_api.kept(place)
    return [Workload(Reference(backend=BACKEND, name=name, identity=identity))]


def system(selector: Selector) -> dict[str, str]:
    """Which cluster that is."""
    return kube_api.system(Place(selector.context, selector.kubeconfig))


def rights(selector: Selector, capability: str) -> list[Right]:  # noqa: ARG001 -- to look it needs nearly all
    """What an account needs to scale it, and to look whether it may."""
    return kube_rights.rights(Place(selector.context, selector.kubeconfig), selector.namespace, "scale")


def reopen(reference: Reference) -> Workload:
    """The same object again. Raises Gone."""
    target = Workload(reference)
    target._read()
    return target
