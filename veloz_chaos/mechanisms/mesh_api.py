"""Chaos Mesh through the API server: its objects are made, awaited until injected, looked at, and taken away again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from veloz_chaos.errors import Missing, TargetError, Unavailable
from veloz_chaos.mechanisms import kube_api, mesh_objects
from veloz_chaos.mechanisms.kube_api import SIGN, Api, Conflict, Json, Place, path
from veloz_chaos.mechanisms.mesh_objects import KINDS, Victim

#: Seconds that the controller may take to inject, and in one attempt to recover.
INJECTING, ENDING = 20.0, 8.0
_SOON = 0.1
INSTALL = "install it (https://chaos-mesh.org/docs/production-installation-using-helm/), or use `kubernetes` instead"


@dataclass(frozen=True)
class Mesh:
    """What is done by Chaos Mesh to one pod."""

    place: Place
    victim: Victim

    @property
    def api(self) -> Api:
        return kube_api.client(self.place)

    def absent(self, kinds: Iterable[str] = KINDS) -> Mapping[str, str]:
        """Kind -> what to say where the cluster knows no such objects. Raises TargetError if it can't be asked."""
        found = {}
        for kind in kinds:
            try:
                self.api.get(self._path(kind), limit=1)
            except Missing:
                found[kind] = f"Chaos Mesh is not installed: the cluster knows no {KINDS[kind]}; {INSTALL}"
        return found

    def make(self, body: Mapping[str, Any], done: Callable[[], bool] = lambda: False) -> None:
        """Returns when the controller says that the pod is injected, or `done` does. If neither comes in time, what
        was made is taken away again, and TargetError raised."""
        kind, name = body["kind"], body["metadata"]["name"]
        try:
            with suppress(Conflict):  # it is there: we were not told that the last attempt had been heard
                self.api.post(self._path(kind), body, fieldValidation="Strict")
        except Missing as error:
            raise TargetError(self.absent([kind]).get(kind, str(error))) from None
        deadline = time.monotonic() + INJECTING
        while not done() and (short := self.shortfall(kind, name)):
            if time.monotonic() > deadline:
                raise TargetError(self._never(body, short))
            time.sleep(_SOON)

    def shortfall(self, kind: str, name: str) -> str:
        """Why an object that was made does not count as injected; empty if it does. Raises TargetError if it is gone:
        that was somebody else."""
        try:
            return mesh_objects.shortfall(self.api.get(self._path(kind, name)), self.victim)
        except Missing:
            raise TargetError(f"{kind} {name} is not there any more: somebody else has deleted it") from None

    def end(self, sign: str, kinds: Iterable[str]) -> None:
        """All of that sign for this pod are gone when this returns. Raises TargetError with the command that frees
        what hangs."""
        deadline = time.monotonic() + ENDING
        while left := [one for kind in kinds for one in self._own(sign, kind)]:
            if time.monotonic() > deadline:
                raise TargetError("; ".join(mesh_objects.hanging(self.place, one, self.victim) for one in left))
            for one in left:
                if not one["metadata"].get("deletionTimestamp"):
                    with suppress(Missing, Unavailable):  # the next round sees what came of it
                        self.api.delete(self._path(one["kind"], one["metadata"]["name"]))
            time.sleep(_SOON)

    def there(self) -> list[Json]:
        """Objects that are on this pod, whoever made them; and such of ours, on whichever pod, as hang."""
        found = []
        for kind in KINDS:
            for one in self._listed(kind):
                hangs = mesh_objects.sign_of(one) and one["metadata"].get("deletionTimestamp")
                if hangs or mesh_objects.is_on(one, self.victim):
                    found.append(one)
        return found

    def told(self, thing: Json) -> str:
        """What to say of one that is in the way."""
        kind, name, sign = thing["kind"], thing["metadata"]["name"], mesh_objects.sign_of(thing)
        if thing["metadata"].get("deletionTimestamp"):
            return mesh_objects.hanging(self.place, thing, self.victim)
        whose = f"of {sign}" if sign else "of somebody else"
        hand = f"{self.place.words} -n {self.victim.namespace} delete {KINDS[kind]} {name}"
        return f"{kind} {name} {whose} is on pod {self.victim.pod}; delete it by: {hand}"

    def _never(self, body: Mapping[str, Any], short: str) -> str:
        kind, name = body["kind"], body["metadata"]["name"]
        try:
            self.end(body["metadata"]["labels"][SIGN], [kind])
            after = "it was taken away again"
        except TargetError as error:
            after = str(error)
        return f"Chaos Mesh has not injected {kind} {name} within {INJECTING:g} s: {short}; {after}"

    def _own(self, sign: str, kind: str) -> list[Json]:
        listed = self._listed(kind, labelSelector=f"{SIGN}={sign}")
        return [one for one in listed if one["metadata"]["name"].endswith(f"-{self.victim.mark}")]

    def _listed(self, kind: str, **query: Any) -> list[Json]:
        """None where the cluster knows no such objects. (Items of a list do not say their kind.)"""
        try:
            return [{**one, "kind": kind} for one in self.api.listed(self._path(kind), **query).items]
        except Missing:
            return []

    def _path(self, kind: str, name: str | None = None) -> str:
        return path(KINDS[kind], self.victim.namespace, name)
