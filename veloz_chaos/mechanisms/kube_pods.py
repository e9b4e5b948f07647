"""Pods by the API server's word: which are meant, what runs in them, how one came to its end. Plain data, no calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]
DEFAULT = "kubectl.kubernetes.io/default-container"
#: Why a container does not run: it can't be made; and all that its kubelet tries again within seconds.
_UNMADE = ("CreateContainerError", "CreateContainerConfigError", "RunContainerError")
_TRIED_AGAIN = ("ErrImagePull", *_UNMADE)


@dataclass(frozen=True)
class Wanted:
    """Exactly one of labels, owner (`deployment/gateway`) and pod."""

    labels: tuple[tuple[str, str], ...] = ()
    owner: str | None = None
    pod: str | None = None

    def __str__(self) -> str:
        if self.pod:
            return f"is named {self.pod}"
        return f"belongs to {self.owner}" if self.owner else "carries " + ",".join(f"{k}={v}" for k, v in self.labels)


def name_of(pod: Json) -> str:
    return str(pod["metadata"]["name"])


def owner_of(thing: Json) -> str:
    """The uid of what made it, and would make its replacement; empty if nothing would."""
    owners = thing["metadata"].get("ownerReferences") or []
    return next((str(one["uid"]) for one in owners if one.get("controller")), "")


def leaving(pod: Json) -> bool:
    """Is its end decided?"""
    return "deletionTimestamp" in pod["metadata"] or pod["status"].get("phase") in ("Succeeded", "Failed")


def ready(pod: Json) -> bool:
    told = pod["status"].get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in told) and not leaving(pod)


def chosen(pod: Json, container: str | None) -> str | None:
    """The container that is meant: the one named, the pod's default, or its first; None if there is no such."""
    names = [str(one["name"]) for one in pod["spec"]["containers"]]
    usual = (pod["metadata"].get("annotations") or {}).get(DEFAULT)
    wanted = container or (usual if usual in names else names[0])
    return wanted if wanted in names else None


def spec_of(pod: Json, container: str) -> Json:
    return next(one for one in pod["spec"]["containers"] if one["name"] == container)


def status_of(pod: Json, container: str) -> Json:
    """Empty as long as there is none."""
    found = pod["status"].get("containerStatuses") or []
    return next((one for one in found if one["name"] == container), {})


def id_of(status: Json) -> str:
    """A container's id without its runtime's name; empty if it has none yet."""
    return str(status.get("containerID") or "").rpartition("://")[2]


def runs(status: Json) -> bool:
    return "running" in (status.get("state") or {})


def ended(status: Json, container_id: str) -> Json:
    """How that very container ended, as far as the platform still knows; empty if it does not."""
    for state in (status.get("state") or {}, status.get("lastState") or {}):
        told: Json = state.get("terminated") or {}
        if str(told.get("containerID") or "").rpartition("://")[2] == container_id:
            return told
    return {}


def how(told: Json) -> str:
    """OOMKilled, exit 137."""
    reason = str(told.get("reason") or "")
    code = f"exit {told.get('exitCode', '?')}"
    return f"{reason}, {code}" if reason not in ("", "Error") else code


def end_of(pod: Json | None, uid: str, name: str) -> str:
    """Why that pod is over, or is about to be, in a clause; empty if it is not."""
    if pod is None:
        return f"pod {name} is gone"
    meta, told = pod["metadata"], pod["status"]
    if meta["uid"] != uid:
        return f"pod {name} was deleted, and one of the same name was made at {meta['creationTimestamp']}"
    if told.get("phase") in ("Succeeded", "Failed"):
        words = " ".join(filter(None, (str(told.get("reason") or ""), str(told.get("message") or "")))).strip()
        return f"pod {name} has ended" + (f": {words}" if words else "")
    if "deletionTimestamp" in meta:
        return f"pod {name} is being deleted, decided for {meta['deletionTimestamp']}" + _evicted(told)
    return ""


def story(pod: Json | None, uid: str, container: str, container_id: str, name: str) -> str:
    """Why that incarnation of a container is over, in a clause; empty if it is not."""
    over = end_of(pod, uid, name)
    if over or pod is None:
        return over
    status = status_of(pod, container)
    if id_of(status) == container_id and runs(status):
        return ""
    if end := ended(status, container_id):
        return f"container {container} of pod {name} ended at {end.get('finishedAt')}, {how(end)}"
    return f"container {container} of pod {name} is not the one that ran: it has been started again"


def _evicted(told: Json) -> str:
    target = [one for one in told.get("conditions") or [] if one["type"] == "DisruptionTarget"]
    return f" ({target[0].get('reason')}: {target[0].get('message')})" if target else ""


def listed(pods: Sequence[Json]) -> str:
    """What there is instead, for a message."""
    words = []
    for pod in sorted(pods, key=name_of)[:12]:
        labels = ",".join(f"{k}={v}" for k, v in sorted((pod["metadata"].get("labels") or {}).items())[:4])
        words.append(f"{name_of(pod)} ({pod['status'].get('phase')}; {labels or 'no labels'})")
    more = f" and {len(pods) - 12} more" if len(pods) > 12 else ""
    return (", ".join(words) + more) or "none"


def exit_code(status: Json) -> int | None:
    """None as long as it has not ended."""
    code = ((status.get("state") or {}).get("terminated") or {}).get("exitCode")
    return None if code is None else int(code)


def user_of(pod: Json, container: str) -> dict[str, int]:
    """The numbers that it runs as, as a security context has them; empty where neither manifest nor runtime says."""
    said = [spec_of(pod, container).get("securityContext") or {}, pod["spec"].get("securityContext") or {}]
    told = (status_of(pod, container).get("user") or {}).get("linux") or {}
    said.append({f"runAs{word}": told[key] for word, key in (("User", "uid"), ("Group", "gid")) if key in told})
    found = {key: next((int(one[key]) for one in said if key in one), None) for key in ("runAsUser", "runAsGroup")}
    return {key: value for key, value in found.items() if value is not None} if found["runAsUser"] is not None else {}


def cannot_run(statuses: Sequence[Json], *, patient: bool = False) -> str:
    """Why a container of ours can't run; empty if it may yet. `patient`: it may as long as its kubelet tries again."""
    for status in statuses:
        waiting = (status.get("state") or {}).get("waiting") or {}
        if patient and waiting.get("reason") in _TRIED_AGAIN:
            continue
        if waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"):
            return (
                f"its image {status.get('image')} can't be had ({waiting.get('message') or waiting['reason']}); push "
                "it where the nodes pull from and name it by `image:` or VELOZ_CHAOS_HELPER_IMAGE"
            )
        if waiting.get("reason") in _UNMADE:
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    return ""


def cannot_start(pod: Json) -> str:
    """Why a pod of ours will never run; empty if it may yet."""
    if why := cannot_run(pod["status"].get("containerStatuses") or []):
        return why
    if pod["status"].get("phase") == "Failed":
        end = [(one.get("state") or {}).get("terminated") or {} for one in pod["status"].get("containerStatuses") or []]
        words = [
            str(pod["status"].get("message") or ""),
            *(f"{how(one)} {one.get('message', '')}" for one in end if one),
        ]
        return " ".join(filter(None, words)).strip() or str(pod["status"].get("reason") or "it failed")
    return ""
