"""Look at a workload, at pods, or at a node, by the API server's word.

Of pods, `value` and `json` are {count, ready, desired, available, restarts, phase, reason, terminated, exit_code,
oom_killed, started, pods}, and with `service` also `endpoints`. `count`: the pods there are, such as are ending too,
without finished ones that others have replaced; `ready`: those that serve and are not ending; `desired`: what the owner
wants (of a selector, all that are not ending); `available`: as the owner counts. `phase`, `reason` (CrashLoopBackOff,
ImagePullBackOff, Unschedulable, Terminating, …), `terminated` and `exit_code` (how a container ended last) are the
worst pod's; `oom_killed` any one's, `restarts` the sum, `started` the latest: so nothing that happened to one is hidden
by the others. `pods` has the same of each, and its name. A pod that is replaced takes its restarts along.

Of a node they are {count, ready, desired, available, node_ready, schedulable, reason, started}; `ready` is 1 if it is,
`started` since when it has been so or not.

Of a server that does not answer there is neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.errors import Gone, Missing, TargetError
from veloz_chaos.mechanisms import kube_objects
from veloz_chaos.mechanisms.aside import aside
from veloz_chaos.mechanisms.kube_look import Found, Objects, Server

_NUMBERS = {"count": 0, "ready": 0, "desired": 0, "available": 0}
NO_PODS = _NUMBERS | {
    "restarts": 0, "phase": "", "reason": "", "terminated": "", "exit_code": 0, "oom_killed": False, "started": "",
    "pods": [],
}  # fmt: skip
NO_NODE = _NUMBERS | {"node_ready": False, "schedulable": False, "reason": "", "started": ""}
_WORST = ("phase", "reason", "terminated", "exit_code")


@dataclass(config=ConfigDict(extra="forbid"))
class Kubernetes(Objects, Probe):
    """`status` 1 if there is one; `error`: missing, or why the API server did not answer."""

    default_ok: ClassVar[str] = "json.ready == json.desired && json.ready > 0"
    prompted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._asked: tuple[Objects, Server] | None = None

    async def open(self, eye: Eye) -> None:
        """Raises UsageError where the context or the kubeconfig is wrong."""
        wanted = self.filled(eye.fill)
        server = await aside(lambda: Server.of(wanted.place), Exception)
        await server.open()
        self._asked = wanted, server

    async def look(self, eye: Eye) -> Seen:
        if self._asked is None:
            await self.open(eye)
        assert self._asked is not None
        wanted, server = self._asked
        try:
            async with server.connected() as ask:
                told = summary(await wanted.found(ask))
            error = "" if told["count"] or wanted.owner else "missing"
        except (Missing, Gone):
            told, error = self._nothing(), "missing"
        except TargetError as reason:  # which is not to say that there is none
            return Seen(error=str(reason))
        return Seen(status=int(not error), value=told, json=told, error=error)

    def _nothing(self) -> dict[str, Any]:
        if self.node is not None:
            return dict(NO_NODE)
        return NO_PODS | ({"endpoints": 0} if self.service else {})


def summary(found: Found) -> dict[str, Any]:
    """What is told of all that was found as of one."""
    if found.node is not None:
        return _node(found.node)
    told = _pods(found.pods or [], found.workload)
    return told if found.slices is None else told | {"endpoints": endpoints(found.slices)}


def _pods(pods: Sequence[Mapping[str, Any]], workload: Mapping[str, Any] | None) -> dict[str, Any]:
    there = [pod for pod in pods if not kube_objects.finished(pod)] or list(pods)
    each = [kube_objects.told(pod) for pod in there]
    ready = sum(one["ready"] for one in each)
    desired, available = sum(not kube_objects.ending(pod) for pod in there), ready
    if workload is not None:
        desired, available = kube_objects.desired(workload), kube_objects.available(workload)
    worst = min(each, key=_standing, default=NO_PODS)
    return {
        "count": len(each), "ready": ready, "desired": desired, "available": available,
        "restarts": sum(one["restarts"] for one in each),
        **{key: worst[key] for key in _WORST},
        "oom_killed": any(one["oom_killed"] for one in each),
        "started": max((one["started"] for one in each), default=""),
        "pods": each,
    }  # fmt: skip


def _standing(one: Mapping[str, Any]) -> tuple[bool, bool, str]:
    """The least is the worst: not ready, not just on its way out; among equals the eldest."""
    return one["ready"], one["reason"] == "Terminating", one["started"]


def endpoints(slices: Sequence[Mapping[str, Any]]) -> int:
    """How many may be sent traffic. One that is in two slices (IPv4 and IPv6) is one."""
    found = set()
    for one in slices:
        for endpoint in one.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready", True):
                target = (endpoint.get("targetRef") or {}).get("uid")
                found.add(target or endpoint["addresses"][0])
    return len(found)


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    told, ready = kube_objects.condition(node, "Ready"), kube_objects.node_ready(node)
    return {
        "count": 1, "ready": int(ready), "desired": 1, "available": int(ready), "node_ready": ready,
        "schedulable": kube_objects.schedulable(node), "reason": told.get("reason", ""),
        "started": told.get("lastTransitionTime", ""),
    }  # fmt: skip


PROBE = Kubernetes
