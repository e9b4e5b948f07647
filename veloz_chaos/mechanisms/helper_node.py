"""Helpers of a node itself: pods in its own network namespace, which end with their runner and with their expiry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veloz_chaos.core.capability import Report
from veloz_chaos.mechanisms import kube_amend, kube_api
from veloz_chaos.mechanisms.helper_pod import NOWHERE, OnNode
from veloz_chaos.mechanisms.kube_api import SIGN, Json, path


@dataclass(frozen=True)
class OnNetwork(OnNode):
    """No pod is meant: `uid` and `container_id` are the node's."""

    def state(self) -> Json:
        return kube_amend.current(self.api, path("nodes", name=self.node), self.uid)

    def watch(self, tell: Callable[[Report], None]) -> Callable[[], None]:  # noqa: ARG002
        return lambda: None

    def cannot(self, capability: str, process: int | None = None) -> str:
        return super().cannot(capability, process) if self.helpers else NOWHERE

    def by_hand(self, sign: str) -> str:
        """Not by deleting its pod: of that the kubelet would not hear."""
        kubectl = f"{self.cluster.words} -n {self.helpers}"
        pod = f"$({kubectl} get pod -l {SIGN}={sign} -o name)"
        return f"{kubectl} exec {pod} -- python3 -c 'import os; os.kill(1, 15)'"

    def _joined(self) -> list[str]:
        return ["--network"]

    def _manifest(self, name: str, sign: str, joined: Sequence[str]) -> dict[str, Any]:
        made = super()._manifest(name, sign, joined)
        return {**made, "spec": {**made["spec"], "hostPID": False, "hostNetwork": True}}


def beside(identity: Mapping[str, Any]) -> OnNetwork:
    """The place that an identity means: of a node, with `helpers` and `image`."""
    return OnNetwork(
        cluster=kube_api.meant(identity),
        namespace="",
        pod="",
        uid=identity["uid"],
        container="",
        container_id=identity["uid"],
        node=identity["node"],
        image=identity.get("image", ""),
        network=True,
        helpers=identity.get("helpers", ""),
    )
