"""The place beside one incarnation of a container of a pod; where its helpers run is the subclasses' affair: in pods of
their own on the same node (helper_pod.py), or in the pod itself (helper_ephemeral.py).
"""

from __future__ import annotations

import os
import secrets
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from veloz_chaos.core.capability import Offer, Report
from veloz_chaos.errors import Gone, TargetError, Unavailable
from veloz_chaos.mechanisms import beside as helpers
from veloz_chaos.mechanisms import helper_image, kube_api, kube_pods, kube_stream
from veloz_chaos.mechanisms.beside import READY, Helper
from veloz_chaos.mechanisms.kube_api import Api, Place, path

#: What names of ours begin with.
OURS = "veloz-chaos-"
#: Seconds between two looks at a helper that starts or ends.
SOON = 0.05
#: Asks for the word "ready" again: what it said before we listened is lost.
_HELLO = b'{"id": 0, "call": "ping"}\n'


@dataclass(frozen=True)
class Beside(helpers.Beside):
    """One incarnation of a container. `network`: for the links of its pod, which outlive it, and for nothing else."""

    cluster: Place
    namespace: str
    pod: str
    uid: str
    container: str
    container_id: str
    node: str = ""
    image: str = ""
    network: bool = False

    @property
    def api(self) -> Api:
        return kube_api.client(self.cluster)

    def inspect(self) -> dict[str, Any] | None:
        """The pod of that name, whichever it is; None if there is none."""
        try:
            return self.api.get(path("pods", self.namespace, self.pod))
        except Gone:
            return None

    def state(self) -> dict[str, Any]:
        found = self.inspect()
        over = kube_pods.end_of(found, self.uid, self.pod)
        if not self.network:
            over = kube_pods.story(found, self.uid, self.container, self.container_id, self.pod)
        if over or found is None:
            raise Gone(over)
        return found

    def over(self) -> Gone | None:
        """At once for links: the end of a container says nothing of its pod, and that of a pod is decided before."""
        if not self.network:
            return super().over()
        try:
            self.state()
        except Gone as error:
            return error
        return None

    def start(self, sign: str) -> Helper:
        self.state()
        name = f"{OURS}{stem(sign)}-{secrets.token_hex(3)}"
        try:
            self._make(name, sign)
        except Unavailable:  # it may have been made all the same, and would be in everybody's way
            with suppress(TargetError):
                self.stop(name)
            raise
        try:
            deadline = time.monotonic() + READY
            while not self._runs(name):
                if time.monotonic() > deadline:
                    raise Unavailable(self._late(name))
                time.sleep(SOON)
            helper = Helper(name, name, sign, self._reached(name))
            helper.begin()
            self.state()
        except TargetError as error:
            self.stop(name)
            self.state()
            if self.network and isinstance(error, Gone):  # the container is, whose network we have joined
                raise Unavailable(f"{error}; pod {self.pod} is there all the same") from None
            raise
        return helper

    def _reached(self, name: str) -> kube_stream.Stream:
        """Attached, and asked for its first word. Raises TargetError; that it is gone says nothing of its target."""
        try:
            stream = self._attach(name)
            stream.send(_HELLO)
        except (Gone, OSError) as error:
            raise Unavailable(f"the helper {name} can't be spoken to: {error}") from error
        return stream

    def watch(self, tell: Callable[[Report], None]) -> Callable[[], None]:
        from veloz_chaos.mechanisms import kube_events

        return kube_events.watch(self, tell)

    @abstractmethod
    def cannot(self, capability: str, process: int | None = None) -> str:
        """Why helpers here can't do that to the container, or to the process in it with that number (as helpers count),
        and what the environment would have to say; empty if they can."""

    def worded(self, offer: Offer) -> Offer:
        """As helpers here do it; what needs no helper is left as it is."""
        return offer

    def remains(self) -> str:
        """As `Target.remains`."""
        return ""

    @abstractmethod
    def _make(self, name: str, sign: str) -> None:
        """It is asked for; it need not run yet. Raises TargetError."""

    @abstractmethod
    def _runs(self, name: str) -> bool:
        """Does it? Raises TargetError if it never will."""

    @abstractmethod
    def _late(self, name: str) -> str:
        """What to say if it has not started in time."""

    @abstractmethod
    def _attach(self, name: str) -> kube_stream.Stream:
        """To its stdin and stdout. Raises TargetError."""


def stem(sign: str) -> str:
    """What of a sign is in the names of its helpers."""
    return sign.removeprefix("vc-")[:24].lower()


def attached(container: str) -> list[tuple[str, str]]:
    """What an attachment to it says."""
    return [("container", container), ("stdin", "true"), ("stdout", "true"), ("stderr", "true")]


def default_image() -> str:
    """The one that the environment variable names, or this version's, as the nodes know it."""
    return os.environ.get(helper_image.NAMED) or f"docker.io/library/{helper_image.tag()}"
