"""What all targets that Chaos Mesh hurts have in common: an object is made, looked after, and taken away."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from veloz_chaos.core.capability import Offer, Reference
from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms import mesh_objects
from veloz_chaos.mechanisms.mesh_api import Mesh
from veloz_chaos.mechanisms.mesh_objects import NETWORK, POD, STRESS, Victim
from veloz_chaos.mechanisms.pod_helpers import OnKubernetes

EXPIRY = "its controller recovers it after its duration, if the controller is there; the object itself stays"
UNDO = "the object is deleted, and is gone when its controller has recovered the pod"


def kind_for(capability: str) -> str:
    """The kind of object that does it."""
    return {"Killable": POD, "Pressable": STRESS}.get(capability, NETWORK)


class Meshed(OnKubernetes):
    """One incarnation of a pod, as far as Chaos Mesh reaches it."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        beside = self.beside
        self.victim = Victim(beside.namespace, beside.pod, beside.uid)
        self.mesh = Mesh(beside.cluster, self.victim)
        self._lacks: Mapping[str, str] | None = None
        #: Kind and name of what this process has made and not yet taken away.
        self._made: set[tuple[str, str]] = set()

    def offered(self) -> Sequence[Offer]:
        return [offer for offer in self.offers if offer.capability not in self.lacks]

    @property
    def lacks(self) -> Mapping[str, str]:
        if self._lacks is None:
            kinds = {offer.capability: kind_for(offer.capability) for offer in self.offers}
            absent = self.mesh.absent(set(kinds.values()))
            self._lacks = {**self._cannot(), **{key: absent[kind] for key, kind in kinds.items() if kind in absent}}
        return self._lacks

    def leftovers(self) -> list[str]:
        """Objects on this pod in its own namespace; others, such as hit it from another one, are not seen."""
        self.beside.state()
        helpers = [self.beside.told(one) for one in self.beside.others()]
        return [self.mesh.told(one) for one in self.mesh.there()] + helpers

    def by_hand(self, capability: str, sign: str) -> str:
        kind = kind_for(capability)
        return "" if kind == POD else mesh_objects.deletion(self.mesh.place, self.victim.namespace, [kind], sign)

    def arm(self, sign: str) -> None:
        """A helper is started when there is something to look at."""
        self._sign = sign

    def disarm(self, sign: str) -> None:
        if self.reference.identity.get("helpers"):
            super().disarm(sign)

    def held(self) -> bool:
        """Is anything of ours still there for this pod, which may be gone itself?"""
        return any(mesh_objects.sign_of(one) for one in self.mesh.there() if mesh_objects.is_on(one, self.victim))

    @abstractmethod
    def _cannot(self) -> Mapping[str, str]:
        """Capability -> why not, though Chaos Mesh is there."""

    def _inject(self, body: Mapping[str, Any]) -> None:
        self.beside.state()
        self.mesh.make(body)
        self._made.add((body["kind"], body["metadata"]["name"]))
        self.beside.state()  # another pod of that name would have been hit instead

    def _recover(self, sign: str, kind: str) -> None:
        self._made.clear()
        if self.reference.identity.get("helpers"):
            self.beside.relieve(sign)
        self.mesh.end(sign, [kind])

    def _require_injected(self) -> None:
        """What a look shows is the fault's doing only as long as its controller says so."""
        for kind, name in sorted(self._made):
            if short := self.mesh.shortfall(kind, name):
                self.beside.state()
                raise TargetError(f"{kind} {name} does not count as in place: {short}")
