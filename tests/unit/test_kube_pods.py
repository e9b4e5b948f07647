"""Pods by the API server's word, and what becomes of one incarnation, without a server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from veloz_chaos.core.capability import Report
from veloz_chaos.errors import Gone
from veloz_chaos.mechanisms import kube_pods
from veloz_chaos.mechanisms.helper_pod import OnNode
from veloz_chaos.mechanisms.kube_api import Place
from veloz_chaos.mechanisms.kube_events import Incarnation
from veloz_chaos.targets.kubernetes import lacking

RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def ended(container: str, reason: str = "Error", code: int = 137) -> dict[str, Any]:
    told = {"containerID": f"containerd://{container}", "reason": reason, "exitCode": code, "finishedAt": "now"}
    return {"terminated": told}


def pod(
    uid: str = "u1", container: str = "c1", *, ready: bool = True, owner: str = "set", name: str = "gateway-1",
    **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    meta = {"name": name, "namespace": "veloz", "uid": uid, "creationTimestamp": "then"}
    meta["ownerReferences"] = [{"uid": owner, "controller": True}]  # type: ignore[assignment]
    status = {"name": "app", "containerID": f"containerd://{container}", "state": RUNNING, **changes.pop("status", {})}
    return {
        "metadata": {**meta, **changes.pop("metadata", {})},
        "spec": {"containers": [{"name": "app"}, {"name": "sidecar"}], "nodeName": "n1"},
        "status": {
            "phase": "Running", "containerStatuses": [status],
            "conditions": [{"type": "Ready", "status": str(ready)}], **changes,
        },
    }  # fmt: skip


BESIDE = OnNode(Place(), "veloz", "gateway-1", "u1", "app", "c1", "n1")
LEAVING = {"deletionTimestamp": "soon"}


class Told(list[Report]):
    def __init__(self, *there: dict[str, Any], beside: OnNode = BESIDE) -> None:
        super().__init__()
        self.incarnation = Incarnation(beside, list(there or (pod(),)), self.append)

    def hear(self, *pods: dict[str, Any], kind: str = "MODIFIED") -> list[tuple[str, str]]:
        for one in pods:
            self.incarnation.heard(kind, one)
        return [(one.what, one.detail) for one in self]


def test_a_container_that_is_started_again_has_died_and_has_a_successor() -> None:
    restarted = {"lastState": ended("c1")}
    assert Told().hear(pod(container="c2", status=restarted), pod(container="c2", status=restarted)) == [
        ("died", "exit 137"), ("started", "gateway-1"), ("replaced", "gateway-1"),
    ]  # fmt: skip


def test_a_kill_for_memory_is_told_before_the_death() -> None:
    told = Told().hear(pod(status={"state": ended("c1", "OOMKilled")}))
    assert [what for what, _ in told] == ["out-of-memory", "died"]


def test_a_pod_that_is_to_be_deleted_is_over_and_its_owner_s_next_one_replaces_it() -> None:
    told = Told()
    unrelated = pod("u9", "c9", owner="other", name="job-1")
    assert told.hear(pod(metadata=LEAVING), unrelated) == [("died", "deleted")]
    waiting = pod("u2", "c2", name="gateway-2", status={"state": {"waiting": {}}})
    assert told.hear(waiting)[1:] == []
    running = pod("u2", "c2", name="gateway-2", ready=False)
    assert told.hear(running, pod("u3", "c3", name="gateway-3"))[1:] == [("started", "gateway-2")]
    assert told.hear(pod("u2", "c2", name="gateway-2"))[2:] == [("replaced", "gateway-2")]


def test_who_was_there_before_replaces_nobody() -> None:
    other = pod("u2", "c2", name="gateway-2")
    told = Told(pod(), other)
    assert told.hear(pod(metadata=LEAVING), other) == [("died", "deleted")]


def test_one_that_came_while_it_lived_replaces_nobody() -> None:
    told, early = Told(), pod("u2", "c2", name="gateway-2")
    assert told.hear(early, pod(metadata=LEAVING), early) == [("died", "deleted")]


def test_of_two_that_die_at_once_each_has_a_successor_of_its_own() -> None:
    there = pod("u1", "c1", name="gateway-1"), pod("v1", "d1", name="gateway-2")
    first, second, again = (Told(*there, beside=replace(BESIDE, uid=uid, pod=name, container_id=container))
                            for uid, name, container in (("u1", "gateway-1", "c1"), ("v1", "gateway-2", "d1"),
                                                         ("u1", "gateway-1", "c1")))  # fmt: skip
    gone = [{**one, "metadata": {**one["metadata"], **LEAVING}} for one in there]
    new = pod("w1", "e1", name="gateway-3"), pod("w2", "e2", name="gateway-4")
    for one in (first, second, again):
        one.hear(*gone, *new)
    assert first[1:] == again[1:] == [Report("started", "pod", "gateway-3"), Report("replaced", "pod", "gateway-3")]
    assert second[1:] == [Report("started", "pod", "gateway-4"), Report("replaced", "pod", "gateway-4")]


def test_a_successor_that_is_slow_to_start_leaves_the_other_one_s_alone() -> None:
    """The second died when the first one's successor was made already: that one can be nobody's but the first one's."""
    there = pod("u11", "c1", name="gateway-1"), pod("v11", "d1", name="gateway-2")
    first = Told(*there, beside=replace(BESIDE, uid="u11"))
    second = Told(*there, beside=replace(BESIDE, uid="v11", pod="gateway-2", container_id="d1"))
    gone = [{**one, "metadata": {**one["metadata"], **LEAVING}} for one in there]
    waiting: dict[str, Any] = {"state": {"waiting": {}}}
    slow, quick = (pod(uid, name=name, ready=False, status=waiting) for uid, name in (("x1", "slow"), ("x2", "quick")))
    run = pod("x2", "e2", name="quick"), pod("x1", "e1", name="slow")
    for one in (first, second):
        one.hear(gone[0], slow, gone[1], quick, *run)
    assert first[1:] == [Report("started", "pod", "slow"), Report("replaced", "pod", "slow")]
    assert second[1:] == [Report("started", "pod", "quick"), Report("replaced", "pod", "quick")]


def test_the_successor_of_one_that_never_served_is_the_next_one() -> None:
    told = Told(pod("u12"), beside=replace(BESIDE, uid="u12"))
    failing = pod("y1", "e1", name="gateway-2", ready=False)
    over = pod("y1", "e1", name="gateway-2", ready=False, phase="Failed")
    heard = told.hear(pod("u12", metadata=LEAVING), failing, over, pod("y2", "e2", name="gateway-3"))
    assert heard == [("died", "deleted"), ("started", "gateway-2"), ("replaced", "gateway-3")]


def test_a_pod_made_while_only_a_container_of_ours_is_dead_replaces_nobody() -> None:
    told = Told(pod("u13"), beside=replace(BESIDE, uid="u13"))
    more = pod("z1", "e1", name="gateway-2")
    dead = pod("u13", ready=False, status={"state": ended("c1")})
    assert told.hear(dead, more) == [("died", "exit 137")]
    assert told.hear(pod("u13", "c2"))[1:] == [("started", "gateway-1"), ("replaced", "gateway-1")]


def test_readiness_is_told_when_it_changes_and_not_after_the_death() -> None:
    told = Told()
    assert told.hear(pod(), pod(ready=False), pod(ready=False), pod()) == [
        ("unhealthy", "not ready"), ("healthy", "ready"),
    ]  # fmt: skip
    assert told.hear(pod(metadata=LEAVING), pod(ready=False, metadata=LEAVING))[2:] == [("died", "deleted")]


def test_an_incarnation_that_is_over_cannot_be_watched() -> None:
    for there in ([], [pod("u2")], [pod(container="c2")], [pod(metadata=LEAVING)]):
        with pytest.raises(Gone):
            Incarnation(BESIDE, there, lambda _: None)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "pod gateway-1 is gone"),
        (pod("u2"), "one of the same name was made"),
        (pod(phase="Failed", reason="Evicted", message="memory was low"), "has ended: Evicted memory was low"),
        (pod(status={"state": ended("c1", "OOMKilled")}), "container app of pod gateway-1 ended at now, OOMKilled"),
        (pod(container="c2"), "started again"),
        (pod(container="c2", status={"lastState": ended("c1", code=1)}), "ended at now, exit 1"),
        (
            pod(
                metadata=LEAVING,
                conditions=[{"type": "DisruptionTarget", "reason": "EvictionByEvictionAPI", "message": "drained"}],
            ),
            "is being deleted, decided for soon (EvictionByEvictionAPI: drained)",
        ),
        (pod(), ""),
    ],
)
def test_the_story_of_an_end(found: dict[str, Any] | None, words: str) -> None:
    told = kube_pods.story(found, "u1", "app", "c1", "gateway-1")
    assert words in told
    assert bool(told) == bool(words)


def test_which_container_is_meant() -> None:
    one = pod()
    assert kube_pods.chosen(one, None) == "app"
    assert kube_pods.chosen(one, "sidecar") == "sidecar"
    assert kube_pods.chosen(one, "other") is None
    one["metadata"]["annotations"] = {kube_pods.DEFAULT: "sidecar"}
    assert kube_pods.chosen(one, None) == "sidecar"


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"])
def test_an_image_that_can_not_be_had_is_told_with_what_to_do(reason: str) -> None:
    waiting = {"state": {"waiting": {"reason": reason, "message": "no such image"}}, "image": "mine:1"}
    assert "mine:1 can't be had (no such image); push it" in kube_pods.cannot_start(pod(status=waiting))
    assert kube_pods.cannot_start(pod(status={"state": {"waiting": {"reason": "ContainerCreating"}}})) == ""


def spec(volume: dict[str, Any] | None = None, **limits: str) -> dict[str, Any]:
    mounts = [] if volume is None else [{"name": "v", "mountPath": "/logs"}]
    volumes = [] if volume is None else [{"name": "v", **volume}]
    return {"name": "app", "resources": {"limits": limits}, "volumeMounts": mounts, "pod": {"volumes": volumes}}


def test_without_limits_nothing_is_strained_and_what_to_write_is_said() -> None:
    lacks = lacking(spec(), {})
    assert set(lacks) == {"Saturable", "Pressable", "Exhaustible", "Fillable"}
    assert "limits: cpu" in lacks["Saturable"]
    assert set(lacking(spec(cpu="1", memory="1Mi"), {})) == {"Fillable"}


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        (None, "root file system"),
        ({"emptyDir": {}}, "emptyDir on the node's disk"),
        ({"emptyDir": {"medium": "Memory"}}, "emptyDir on the node's disk"),
        ({"emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}}, ""),
        ({"persistentVolumeClaim": {"claimName": "a"}}, ""),
    ],
)
def test_only_a_volume_with_an_end_of_its_own_is_filled(volume: dict[str, Any] | None, words: str) -> None:
    told = lacking(spec(volume, cpu="1", memory="1Mi"), {"logs": "/logs/sub"}).get("Fillable", "")
    assert words in told
    assert bool(told) == bool(words)
