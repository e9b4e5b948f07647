"""What the API server tells of pods, also over a connection that breaks, and in a namespace where much goes on."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.infra.cluster import Namespace, deployment
from tests.infra.door import Door
from veloz_chaos.core.capability import Report
from veloz_chaos.targets import kubernetes

pytestmark = pytest.mark.kubernetes
#: Seconds in which the cluster acts, and we hear of it, on a busy machine too.
LONG = 90.0


@contextmanager
def told(space: Namespace, config: str) -> Iterator[tuple[kubernetes.Part, queue.Queue[Report]]]:
    """Of the pod `app`."""
    reports: queue.Queue[Report] = queue.Queue()
    selector = kubernetes.Selector(namespace=space.name, selector={"app": "app"}, kubeconfig=config)
    target = kubernetes.find("app", selector)[0]
    end = target.watch(reports.put)
    try:
        yield target, reports
    finally:
        end()
        end()


def quiet(reports: queue.Queue[Report], seconds: float) -> bool:
    try:
        reports.get(timeout=seconds)
    except queue.Empty:
        return True
    return False


def test_a_replacement_is_paired_by_its_owner_in_a_busy_namespace(namespace: Namespace) -> None:
    namespace.pod("app")
    with told(namespace, namespace.config) as (target, reports):
        namespace.apply([deployment("busy", 4)])
        target.kill("KILL")
        assert reports.get(timeout=LONG) == Report("died", "pod", "deleted")
        namespace.kubectl("scale", "deployment/busy", "--replicas=1")
        started = reports.get(timeout=LONG)
        assert started.what == "started"
        assert started.detail.startswith("app-")
        assert started.detail != target.reference.identity["pod"]
        assert reports.get(timeout=LONG) == Report("replaced", "pod", started.detail)


def test_readiness_is_told(namespace: Namespace) -> None:
    pod = namespace.pod("app")
    with told(namespace, namespace.config) as (_, reports):
        namespace.kubectl("get", "--raw", f"/api/v1/namespaces/{namespace.name}/pods/{pod}:8080/proxy/unready")
        assert reports.get(timeout=LONG) == Report("unhealthy", "pod", "not ready")


def test_a_watch_that_breaks_is_resumed_and_nothing_is_lost_meanwhile(
    namespace: Namespace, between: tuple[Door, str]
) -> None:
    way, config = between
    namespace.pod("app")
    with told(namespace, config) as (target, reports):
        way.shut()
        namespace.kubectl("delete", "pod", str(target.reference.identity["pod"]), "--grace-period=1")
        assert quiet(reports, 1)
        way.open()
        assert reports.get(timeout=LONG) == Report("died", "pod", "deleted")
        assert [reports.get(timeout=LONG).what for _ in range(2)] == ["started", "replaced"]
        way.shut()
        way.open()
        assert quiet(reports, 2)
