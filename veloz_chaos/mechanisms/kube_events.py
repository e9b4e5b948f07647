"""What the API server tells of one incarnation of a container: its death, a kill for memory, its readiness, and that
its successor runs, and then serves: the same container started again, or a pod that the same owner has made in its
place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from veloz_chaos.core.capability import Report
from veloz_chaos.errors import Gone
from veloz_chaos.mechanisms import kube_pods
from veloz_chaos.mechanisms.beside_pod import Beside
from veloz_chaos.mechanisms.kube_api import path
from veloz_chaos.mechanisms.kube_watch import Watch

Tell = Callable[[Report], None]
Json = Mapping[str, Any]


#: successor -> whose it is: of two that die at once each has one of its own
_SUCCESSORS: dict[str, str] = {}
_PAIRING = threading.Lock()


def _taken(successor: str, victim: str) -> bool:
    with _PAIRING:
        return _SUCCESSORS.setdefault(successor, victim) != victim


class Incarnation:
    """Which of a namespace's changes concern the incarnation that ran when the watch began; each is told once."""

    def __init__(self, beside: Beside, there: Sequence[Json], tell: Tell) -> None:
        self._beside, self._tell = beside, tell
        pod = next((one for one in there if one["metadata"]["uid"] == beside.uid), None)
        over = kube_pods.story(pod, beside.uid, beside.container, beside.container_id, beside.pod)
        if over or pod is None:
            raise Gone(over)
        self._owner, self._ready = kube_pods.owner_of(pod), kube_pods.ready(pod)
        self._others = {one["metadata"]["uid"] for one in there}
        self._died, self._over, self._started, self._served = False, False, False, False
        #: uid of the pod that takes its place; empty as long as there is none
        self._successor = ""

    def heard(self, kind: str, pod: Json) -> None:
        uid, over = pod["metadata"]["uid"], kind == "DELETED" or kube_pods.leaving(pod)
        if over and uid == self._successor:
            self._successor = ""
        if uid == self._beside.uid:
            self._over = self._over or over
            self._own(kind, pod)
        elif not self._over:
            self._others.add(uid)
        elif not over and self._replaces(pod):
            self._follow(pod)

    def _own(self, kind: str, pod: Json) -> None:
        beside = self._beside
        gone = kind == "DELETED" or kube_pods.story(pod, beside.uid, beside.container, beside.container_id, beside.pod)
        status = kube_pods.status_of(pod, beside.container)
        if gone and not self._died:
            self._died = True
            end = kube_pods.ended(status, beside.container_id)
            if end.get("reason") == "OOMKilled":
                self._tell(Report("out-of-memory", "pod"))
            self._tell(Report("died", "pod", kube_pods.how(end) if end else "deleted"))
        if self._died:
            if not self._over and kube_pods.runs(status) and kube_pods.id_of(status) != beside.container_id:
                self._follow(pod)
            return
        if (ready := kube_pods.ready(pod)) != self._ready:
            self._ready = ready
            self._tell(Report("healthy" if ready else "unhealthy", "pod", "ready" if ready else "not ready"))

    def _replaces(self, pod: Json) -> bool:
        """Made by the same owner, and since our pod's end: the first such that is nobody else's, whether it runs yet or
        not. Chosen among those that run, it could be the only one that another of us may have."""
        uid = pod["metadata"]["uid"]
        if self._successor:
            return bool(uid == self._successor)
        ours = bool(self._owner) and kube_pods.owner_of(pod) == self._owner
        return ours and uid not in self._others and not _taken(uid, self._beside.uid)

    def _follow(self, pod: Json) -> None:
        name, self._successor = kube_pods.name_of(pod), pod["metadata"]["uid"]
        if not self._started and kube_pods.runs(kube_pods.status_of(pod, self._beside.container)):
            self._started = True
            self._tell(Report("started", "pod", name))
        if self._started and not self._served and kube_pods.ready(pod):
            self._served = True
            self._tell(Report("replaced", "pod", name))


def watch(beside: Beside, tell: Tell) -> Callable[[], None]:
    """As `Target.watch`. Raises Gone if the incarnation is over, Unavailable if the server does not answer."""
    hearing: list[Incarnation] = []
    begun = threading.Lock()

    def hear(kind: str, pod: Json) -> None:
        with begun:
            for one in hearing:
                one.heard(kind, pod)

    watching = Watch(beside.api, path("pods", beside.namespace), {}, hear)
    with begun:  # what changes meanwhile waits its turn
        there = watching.start()
        try:
            hearing.append(Incarnation(beside, there, tell))
        except Gone:
            watching.end()
            raise
    return watching.end
