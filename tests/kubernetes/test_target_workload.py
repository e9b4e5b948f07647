"""What others do to a workload that is scaled, before a real API server; the laws are in tests/conformance."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import Any

import pytest

from tests.kubernetes.lab import Lab, kubeconfig, until
from veloz_chaos.errors import Gone, Missing, Refused, TargetError
from veloz_chaos.faults.scale import Scale
from veloz_chaos.targets import kubernetes_workload

pytestmark = pytest.mark.kubernetes
SIGN = "vc-test-1"


def found(lab: Lab, name: str = "web") -> kubernetes_workload.Workload:
    selector = kubernetes_workload.Selector(lab.name, f"deployment/{name}", kubeconfig=kubeconfig())
    return kubernetes_workload.find("workload", selector)[0]


def web(lab: Lab, replicas: int = 2) -> kubernetes_workload.Workload:
    lab.deployment(replicas=replicas)
    lab.ready(replicas)
    return found(lab)


def scale(lab: Lab, replicas: int) -> None:
    """As `kubectl scale` does."""
    lab.api.patch(
        lab.path("deployments.apps", "web", "scale"), {"spec": {"replicas": replicas}}, fieldManager="somebody"
    )


def state(lab: Lab) -> tuple[int, dict[str, Any]]:
    read = lab.get("deployments.apps", "web")
    marks = read["metadata"].get("annotations") or {}
    return read["spec"]["replicas"], {key: value for key, value in marks.items() if key.startswith("veloz-chaos/")}


def test_what_is_not_there_is_told_with_what_is(lab: Lab) -> None:
    lab.deployment()
    with pytest.raises(
        Missing, match=f"there is no deployment/gateway in namespace {lab.name}; there are: deployment/web"
    ):
        found(lab, "gateway")


def test_its_pods_go_and_come_back(lab: Lab) -> None:
    target, fault = web(lab), Scale()
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    until(lambda: lab.pods(), lambda pods: not pods)
    assert fault.in_place(target, receipt).shown
    assert state(lab) == (0, {
        "veloz-chaos/sign": SIGN, "veloz-chaos/replicas-before": "2", "veloz-chaos/replicas-set": "0",
    })  # fmt: skip
    assert [offer.expiry for offer in target.offered()] == [None]
    fault.revert(target, receipt)
    assert state(lab) == (2, {})
    lab.ready(2)
    assert fault.in_place(target, receipt).shown is False


def test_the_command_by_hand_does_the_same(lab: Lab) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl: not here")
    target, fault = web(lab), Scale()
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    assert receipt["by_hand"] in target.leftovers()[0]
    subprocess.run(shlex.split(receipt["by_hand"]), check=True, capture_output=True)
    assert state(lab) == (2, {})
    assert target.leftovers() == []


def test_what_somebody_else_sets_meanwhile_is_left(lab: Lab) -> None:
    target, fault = web(lab), Scale()
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    scale(lab, 1)
    with pytest.raises(Gone, match=r"1 replicas now, not the 0 that we set \(somebody has changed it\).*had 2 before"):
        fault.revert(target, receipt)
    assert state(lab) == (1, {})
    fault.revert(target, receipt)


def test_a_change_between_look_and_strike_refuses_the_strike(lab: Lab) -> None:
    target, fault = web(lab), Scale()
    receipt = fault.prepare(target, SIGN)
    scale(lab, 3)
    with pytest.raises(TargetError, match=r"3 replicas now, not 2 \(somebody has changed it\)"):
        fault.inject(target, receipt)
    assert state(lab) == (3, {})


def test_two_runs_do_not_scale_the_same(lab: Lab) -> None:
    target, first, second = web(lab), Scale(to=1), Scale()
    receipt = second.prepare(target, "vc-test-2")
    first.inject(target, first.prepare(target, SIGN))
    with pytest.raises(TargetError):
        second.inject(target, receipt)
    with pytest.raises(TargetError, match="scaled by vc-test-1 already"):
        target.scale("vc-test-2", 1, 0, None)  # type: ignore[arg-type]
    second.revert(target, receipt)
    assert state(lab)[0] == 1
    assert SIGN in target.leftovers()[0]


def test_an_autoscaler_stands_in_the_way(lab: Lab) -> None:
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 1, "maxReplicas": 3,
    }  # fmt: skip
    target = web(lab)
    lab.make("horizontalpodautoscalers.autoscaling", "autoscaling/v2", "web-hpa", spec=spec)
    assert "HorizontalPodAutoscaler web-hpa decides" in target.lacks["Scalable"]
    assert not target.offered()
    with pytest.raises(TargetError, match="delete hpa web-hpa"):
        Scale().prepare(found(lab), SIGN)


def test_what_could_not_be_told_is_refused(lab: Lab) -> None:
    target = web(lab, 1)
    with pytest.raises(Refused):
        Scale(to=1).prepare(target, SIGN)
    lab.deployment("deaf", ready=False)
    with pytest.raises(Refused, match="0 ready, 1 wanted"):
        Scale().prepare(found(lab, "deaf"), SIGN)
