"""Objects of Chaos Mesh (chaos-mesh.org/v1alpha1): how each fault is written, and what their status says. Plain data,
no calls.

Each is for one pod by its name, so that nothing else is hit; carries the run's sign; and has a duration, after which
the controller takes the fault out by itself (but for a kill, which strikes once).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from veloz_chaos.mechanisms.kube_api import SIGN, Place, marked

Json = Mapping[str, Any]
POD, STRESS, NETWORK = "PodChaos", "StressChaos", "NetworkChaos"
#: Kind -> as paths and commands have it.
KINDS: Mapping[str, str] = {kind: f"{kind.lower()}.chaos-mesh.org" for kind in (POD, STRESS, NETWORK)}
#: A bucket's depth and its queue, in seconds at the asked rate; and the least of each, two packets' bytes.
_DEPTH, _QUEUE, _LEAST = 0.01, 0.5, 3200


@dataclass(frozen=True)
class Victim:
    """`uid`: the pod's, which its objects' names end in: one of the same name is another pod."""

    namespace: str
    pod: str
    uid: str

    @property
    def mark(self) -> str:
        return self.uid[:8]


@dataclass(frozen=True)
class Other:
    """The other end of a link: host and port, or (if there are labels) all pods of the namespace that carry them."""

    host: str
    port: int
    labels: Mapping[str, str] = field(default_factory=dict)


# --- how they are written ------------------------------------------------------------------------------------------


def kill(sign: str, victim: Victim, container: str | None, grace: int) -> dict[str, Any]:
    """The pod's deletion with so many seconds of grace; or, with a container, SIGKILL to that one alone."""
    if container is not None:
        return _made(POD, sign, victim, "kill", {"action": "container-kill", "containerNames": [container]})
    return _made(POD, sign, victim, "kill", {"action": "pod-kill", "gracePeriod": grace})


def press(sign: str, victim: Victim, container: str, size: int, expires: timedelta) -> dict[str, Any]:
    """One worker holds so many bytes within the container's limit."""
    stressors = {"memory": {"workers": 1, "size": f"{size}B"}}
    spec = {"containerNames": [container], "stressors": stressors, "duration": written(expires)}
    return _made(STRESS, sign, victim, "memory", spec)


def delay(
    sign: str, victim: Victim, other: Other, by: timedelta, jitter: timedelta, expires: timedelta
) -> dict[str, Any]:
    given = {"latency": written(by), "jitter": written(jitter), "correlation": "0"}
    return _network(sign, victim, other, "delay", "from", expires, delay=given)


def lose(sign: str, victim: Victim, other: Other, share: float, expires: timedelta) -> dict[str, Any]:
    given = {"loss": f"{share * 100:g}", "correlation": "0"}
    return _network(sign, victim, other, "loss", "from", expires, loss=given)


def throttle(sign: str, victim: Victim, other: Other, rate: int, expires: timedelta) -> dict[str, Any]:
    """`rate` in bytes a second, which is what Chaos Mesh calls bps."""
    given = {"rate": f"{rate}bps", "buffer": max(_LEAST, int(rate * _DEPTH)), "limit": max(_LEAST, int(rate * _QUEUE))}
    return _network(sign, victim, other, "bandwidth", "both", expires, bandwidth=given)


def sever(sign: str, victim: Victim, other: Other, expires: timedelta) -> dict[str, Any]:
    return _network(sign, victim, other, "partition", "both", expires)


def written(length: timedelta) -> str:
    """As Go reads a duration; whole microseconds."""
    return f"{round(length / timedelta(microseconds=1))}us"


def _network(
    sign: str, victim: Victim, other: Other, action: str, direction: str, expires: timedelta, **given: Json
) -> dict[str, Any]:
    """`direction` is how it is done to pods at the other end. Towards a host only what our pod sends can be hit."""
    if other.labels:
        chosen = {"namespaces": [victim.namespace], "labelSelectors": dict(other.labels)}
        target: dict[str, Any] = {"direction": direction, "target": {"mode": "all", "selector": chosen}}
    else:
        target = {"direction": "to", "externalTargets": [f"{_outer(other.host, victim.namespace)}:{other.port}"]}
    what = f"{action}-{_digits(other)}"
    return _made(NETWORK, sign, victim, what, {"action": action, "duration": written(expires), **target, **given})


def _outer(host: str, namespace: str) -> str:
    """The controller looks names up in its own namespace: a service's short name means nothing there."""
    return f"[{host}]" if ":" in host else host if "." in host else f"{host}.{namespace}.svc"


def _digits(other: Other) -> str:
    """Tells the links of one pod apart."""
    return hashlib.sha256(repr((other.host, other.port, sorted(other.labels.items()))).encode()).hexdigest()[:6]


def _made(kind: str, sign: str, victim: Victim, what: str, spec: Json) -> dict[str, Any]:
    name = f"veloz-chaos-{sign.lower()}-{what}-{victim.mark}"
    meta = {"name": name, "namespace": victim.namespace, "labels": marked(sign)}
    chosen = {"mode": "all", "selector": {"pods": {victim.namespace: [victim.pod]}}}
    return {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "metadata": meta, "spec": {**chosen, **spec}}


# --- what their status says ----------------------------------------------------------------------------------------


def shortfall(thing: Json, victim: Victim) -> str:
    """What its controller has not done yet, in words; empty if that pod is injected, by the controller's word."""
    status = thing.get("status") or {}
    experiment = status.get("experiment") or {}
    told = {one["type"]: one["status"] == "True" for one in status.get("conditions") or []}
    if thing["metadata"].get("deletionTimestamp"):
        return f"it is being deleted since {thing['metadata']['deletionTimestamp']}"
    if not told:
        return "no controller has said anything of it"
    if experiment.get("desiredPhase") != "Run":
        return f"its controller is to {str(experiment.get('desiredPhase') or 'do nothing').lower()}, not to run it"
    if not told.get("Selected"):
        return "its controller has selected no pod"
    mine = [one for one in experiment.get("containerRecords") or [] if concerns(one, victim)]
    if not mine:
        return f"its controller has not selected pod {victim.pod}"
    waiting = [f"{one['id']} is {one['phase'].lower()}{_why(one)}" for one in mine if one["phase"] != "Injected"]
    if waiting or not told.get("AllInjected"):
        return "; ".join(waiting) or "not all that it selected is injected"
    return ""


def concerns(record: Json, victim: Victim) -> bool:
    """A record is of `namespace/pod`, or of a container in it."""
    return f"{record['id']}/".startswith(f"{victim.namespace}/{victim.pod}/")


def _why(record: Json) -> str:
    said = [str(one["message"]) for one in record.get("events") or [] if one.get("message")]
    return f" ({said[-1]})" if said else ""


def sign_of(thing: Json) -> str:
    """Whose of ours it is; empty for others'."""
    return str((thing["metadata"].get("labels") or {}).get(SIGN, ""))


def is_on(thing: Json, victim: Victim) -> bool:
    """Is it of ours for that pod, or has its controller injected that pod?"""
    records = ((thing.get("status") or {}).get("experiment") or {}).get("containerRecords") or []
    hit = any(concerns(one, victim) and one["phase"] == "Injected" for one in records)
    return hit or bool(sign_of(thing) and thing["metadata"]["name"].endswith(f"-{victim.mark}"))


# --- by hand -------------------------------------------------------------------------------------------------------


def deletion(place: Place, namespace: str, kinds: Sequence[str], sign: str) -> str:
    """The command that deletes all of a sign."""
    return f"{place.words} -n {namespace} delete {','.join(KINDS[kind] for kind in kinds)} -l {SIGN}={sign}"


def freeing(place: Place, namespace: str, kind: str, name: str) -> str:
    """The command that lets one go whose finalizer hangs; what it did to its pod is then nobody's to undo."""
    patch = '{"metadata":{"finalizers":null}}'
    return f"{place.words} -n {namespace} patch {KINDS[kind]} {name} --type merge -p '{patch}'"


def hanging(place: Place, thing: Json, victim: Victim) -> str:
    """What to say of one that is not gone though it was deleted."""
    meta = thing["metadata"]
    held = ", ".join(meta.get("finalizers") or ["nothing"])
    free = freeing(place, victim.namespace, thing["kind"], meta["name"])
    left = (
        f"what it did then stays in pod {victim.pod} until that pod is gone: delete the pod as well"
        if thing["kind"] != POD
        else "a kill leaves nothing in a pod"
    )
    return (
        f"{thing['kind']} {meta['name']} is not gone: it is held by {held}, since its controller has not recovered it; "
        f"see why: {place.words} -n {victim.namespace} describe {KINDS[thing['kind']]} {meta['name']}; free it by: "
        f"{free} ({left})"
    )
