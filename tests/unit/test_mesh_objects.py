"""How faults are written as objects of Chaos Mesh, and what their status says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from veloz_chaos.core.capability import Reference
from veloz_chaos.mechanisms import mesh_objects
from veloz_chaos.mechanisms.kube_api import Place
from veloz_chaos.mechanisms.mesh_objects import Other, Victim
from veloz_chaos.registry import Registry
from veloz_chaos.targets import chaos_mesh

SIGN, VICTIM = "vc-1A-1", Victim("veloz", "gateway-x", "0123456789abcdef")
FAR, PODS = Other("engine", 18082), Other("engine", 18082, {"app": "engine"})
MINUTE, TENTH = timedelta(minutes=1), timedelta(milliseconds=100)


def every() -> list[dict[str, Any]]:
    return [
        mesh_objects.kill(SIGN, VICTIM, None, 1),
        mesh_objects.press(SIGN, VICTIM, "app", 1000, MINUTE),
        *(mesh_objects.delay(SIGN, VICTIM, other, TENTH, timedelta(0), MINUTE) for other in (FAR, PODS)),
        mesh_objects.lose(SIGN, VICTIM, PODS, 0.25, MINUTE),
        mesh_objects.throttle(SIGN, VICTIM, PODS, 10_000, MINUTE),
        mesh_objects.sever(SIGN, VICTIM, PODS, MINUTE),
    ]


@pytest.mark.parametrize("made", every(), ids=lambda one: one["metadata"]["name"])
def test_each_is_signed_and_for_one_pod_alone(made: dict[str, Any]) -> None:
    assert made["spec"]["selector"] == {"pods": {"veloz": ["gateway-x"]}}
    assert made["spec"]["mode"] == "all"
    assert mesh_objects.sign_of(made) == SIGN
    assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "veloz-chaos"
    assert made["metadata"]["name"] == made["metadata"]["name"].lower()
    assert mesh_objects.is_on(made, VICTIM)
    assert not mesh_objects.is_on(made, Victim("veloz", "gateway-x", "fedcba9876543210"))


@pytest.mark.parametrize("made", every()[1:], ids=lambda one: one["metadata"]["name"])
def test_each_that_is_held_has_a_duration(made: dict[str, Any]) -> None:
    assert made["spec"]["duration"] == "60000000us"


def test_the_names_of_two_differ() -> None:
    assert len({one["metadata"]["name"] for one in every()}) == len(every())


def test_a_kill_strikes_a_pod_or_one_container() -> None:
    assert (
        mesh_objects.kill(SIGN, VICTIM, None, 30)["spec"].items() >= {"action": "pod-kill", "gracePeriod": 30}.items()
    )
    spec = mesh_objects.kill(SIGN, VICTIM, "app", 1)["spec"]
    assert (spec["action"], spec["containerNames"]) == ("container-kill", ["app"])
    assert "gracePeriod" not in spec


def test_memory_is_held_in_bytes() -> None:
    assert mesh_objects.press(SIGN, VICTIM, "app", 1000, MINUTE)["spec"]["stressors"] == {
        "memory": {"workers": 1, "size": "1000B"}
    }


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("engine", "engine.veloz.svc:18082"),
        ("engine.other.svc", "engine.other.svc:18082"),
        ("10.0.0.1", "10.0.0.1:18082"),
        ("fd00::1", "[fd00::1]:18082"),
    ],
)
def test_a_host_is_named_as_the_controller_can_look_it_up(host: str, written: str) -> None:
    spec = mesh_objects.sever(SIGN, VICTIM, Other(host, 18082), MINUTE)["spec"]
    assert (spec["direction"], spec["externalTargets"]) == ("to", [written])
    assert "target" not in spec


def test_pods_at_the_other_end_are_hit_where_the_answers_leave_them() -> None:
    spec = mesh_objects.delay(SIGN, VICTIM, PODS, TENTH, timedelta(milliseconds=5), MINUTE)["spec"]
    assert spec["direction"] == "from"
    assert spec["target"]["selector"] == {"namespaces": ["veloz"], "labelSelectors": {"app": "engine"}}
    assert spec["delay"] == {"latency": "100000us", "jitter": "5000us", "correlation": "0"}
    assert "externalTargets" not in spec
    assert mesh_objects.sever(SIGN, VICTIM, PODS, MINUTE)["spec"]["direction"] == "both"


def test_loss_is_in_percent_and_a_rate_in_bytes() -> None:
    assert mesh_objects.lose(SIGN, VICTIM, PODS, 0.125, MINUTE)["spec"]["loss"]["loss"] == "12.5"
    assert mesh_objects.throttle(SIGN, VICTIM, PODS, 10_000, MINUTE)["spec"]["bandwidth"]["rate"] == "10000bps"


# --- status --------------------------------------------------------------------------------------------------------


def thing(phase: str = "Injected", desired: str = "Run", of: str = "veloz/gateway-x", **changes: Any) -> dict[str, Any]:
    conditions = {"Selected": "True", "AllInjected": "True", **changes}
    return {
        "metadata": {"name": "x"},
        "status": {
            "conditions": [{"type": key, "status": value} for key, value in conditions.items()],
            "experiment": {"desiredPhase": desired, "containerRecords": [{"id": of, "phase": phase}]},
        },
    }


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (thing(), ""),
        (thing(of="veloz/gateway-x/app"), ""),
        ({"metadata": {}}, "no controller has said anything of it"),
        (thing(Selected="False"), "its controller has selected no pod"),
        (thing(of="veloz/gateway-xy"), "its controller has not selected pod gateway-x"),
        (thing("Not Injected"), "veloz/gateway-x is not injected"),
        (thing(AllInjected="False"), "not all that it selected is injected"),
        (thing(desired="Stop"), "its controller is to stop, not to run it"),
        ({"metadata": {"deletionTimestamp": "T"}}, "it is being deleted since T"),
    ],
)
def test_what_counts_as_injected(found: dict[str, Any], told: str) -> None:
    assert mesh_objects.shortfall(found, VICTIM) == told


def test_the_controllers_own_words_are_told() -> None:
    found = thing("Not Injected")
    found["status"]["experiment"]["containerRecords"][0]["events"] = [{"message": "no daemon"}]
    assert mesh_objects.shortfall(found, VICTIM).endswith("is not injected (no daemon)")


def test_one_of_somebody_else_is_on_a_pod_that_it_has_injected() -> None:
    assert mesh_objects.is_on(thing(), VICTIM)
    assert not mesh_objects.is_on(thing("Not Injected"), VICTIM)


def test_commands_by_hand() -> None:
    assert mesh_objects.deletion(Place("far"), "veloz", ["NetworkChaos"], SIGN) == (
        f"kubectl --context far -n veloz delete networkchaos.chaos-mesh.org -l veloz-chaos/sign={SIGN}"
    )
    hung = {"kind": "StressChaos", "metadata": {"name": "x", "finalizers": ["chaos-mesh/records"]}}
    told = mesh_objects.hanging(Place(), hung, VICTIM)
    patch = """patch stresschaos.chaos-mesh.org x --type merge -p '{"metadata":{"finalizers":null}}'"""
    assert f"free it by: kubectl -n veloz {patch}" in told
    assert "held by chaos-mesh/records" in told
    assert "delete the pod as well" in told


# --- the target ----------------------------------------------------------------------------------------------------


def test_it_is_built_and_offers_what_can_be_looked_at() -> None:
    registry = Registry()
    assert not registry.later("targets", "chaos-mesh")
    found = [name for name in registry.faults() if "chaos-mesh" in registry.able(registry.fault(name).needs)]
    assert found == ["bandwidth", "kill", "latency", "loss", "memory", "partition"]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"owner": "deployment/a", "pod": "b"}, "exactly one of selector, owner and pod"),
        ({"pod": "a", "to": "engine"}, "no host:port"),
        ({"pod": "a", "pods": {"app": "engine"}}, "pods goes with to"),
    ],
)
def test_selectors_that_mean_nothing(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        chaos_mesh.Selector("veloz", **keys)


def reference(**more: Any) -> Reference:
    identity = {"namespace": "veloz", "pod": "p", "uid": "u", "container": "c", "id": "1", "node": "n", **more}
    return Reference(backend="chaos-mesh", name="it", identity=identity)


def test_what_a_link_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    link = chaos_mesh.MeshLink(reference(to="engine", port=1, ping={"path": "/"}, helpers="h"))
    monkeypatch.setattr(type(link.mesh), "absent", lambda *_: {})
    assert "write how: silent" in link.cannot_sever("reset", "all")
    assert "write connections: all" in link.cannot_sever("silent", "new")
    assert link.cannot_sever("silent", "all") == ""
    assert "write pods:" in link.lacks["Throttleable"]
    bare = chaos_mesh.MeshLink(reference(to="engine", port=1, ping={"path": "/"}))
    assert set(bare.lacks) == {"Delayable", "Throttleable", "Severable", "Lossy"}
    assert bare.offered() == []


def test_rights_are_those_of_the_object_and_of_the_looks() -> None:
    selector = chaos_mesh.Selector("veloz", pod="p", helpers="h")
    kill = chaos_mesh.rights(selector, "Killable")
    assert {one.path for one in kill} == {"/apis/chaos-mesh.org/v1alpha1/namespaces/veloz/podchaos"}
    assert {one.verb for one in kill} == {"get", "list", "create", "delete"}
    assert "h" in {one.namespace for one in chaos_mesh.rights(selector, "Severable")}
    assert {one.verb for one in chaos_mesh.rights(selector, "")} == {"get", "list", "watch"}
