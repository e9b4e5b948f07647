"""environments/kubernetes/ as kubectl renders it, what keeps a cluster's other tenants safe, and what is said when
something is missing."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra import cluster
from tests.infra.require import absent
from veloz_chaos.cli import on_kubernetes
from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import container, kubernetes
from veloz_chaos.sandbox.kubernetes import Cluster
from veloz_chaos.sandbox.settings import Settings

FOLDER = Path(__file__).parents[2] / "environments" / "kubernetes"
SERVICES = {"gateway", "engine", "exchange", "database", "vault", "dns", "faults", "toxiproxy"}
MONITORS = {"prometheus", "alertmanager", "catcher", "watcher"}


@cache
def objects(variant: str) -> str:
    if not shutil.which(cluster.program()):
        absent("kubernetes", "there is no kubectl")
    done = subprocess.run(
        [cluster.program(), "kustomize", FOLDER / variant], capture_output=True, text=True, check=True
    )
    return json.dumps(list(yaml.safe_load_all(done.stdout)))


def rendered(variant: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["kind"], one["metadata"]["name"]): one for one in json.loads(objects(variant))}


def containers(one: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = one.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    return found


@pytest.mark.parametrize("variant", kubernetes.VARIANTS)
def test_everything_is_in_our_namespaces_and_says_whose_it_is(variant: str) -> None:
    found = rendered(variant)
    for (kind, name), one in found.items():
        assert one["metadata"]["labels"][kubernetes.MANAGED_BY] == kubernetes.OWNER, name
        if kind != "Namespace":
            assert one["metadata"]["namespace"] == kubernetes.NAMESPACE, name
    assert {name for kind, name in found if kind == "Namespace"} == {kubernetes.NAMESPACE, kubernetes.HELPERS}
    deployments = {name for kind, name in found if kind == "Deployment"}
    assert deployments == SERVICES - ({"engine"} if variant == "child" else set())


def test_what_monitors_goes_with_the_namespace_and_may_no_more_than_read_its_pods() -> None:
    found = rendered(kubernetes.MONITORING)
    assert {name for kind, name in found if kind == "Deployment"} == MONITORS
    assert all(one["metadata"]["namespace"] == kubernetes.NAMESPACE for one in found.values())
    assert all(one["metadata"]["labels"][kubernetes.MANAGED_BY] == kubernetes.OWNER for one in found.values())
    rules = [rule for (kind, _), one in found.items() if kind == "Role" for rule in one["rules"]]
    assert rules == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]
    assert {kind for kind, _ in found} == {"Deployment", "Service", "ServiceAccount", "Role", "RoleBinding"}
    tokens = {name for (kind, name), one in found.items() if "serviceAccountToken" in json.dumps(one)}
    assert tokens == {"watcher"}


@pytest.mark.parametrize("variant", [*kubernetes.VARIANTS, kubernetes.MONITORING])
def test_every_pod_is_hardened_and_has_limits(variant: str) -> None:
    for (kind, name), one in rendered(variant).items():
        for found in containers(one):
            pod = one["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"], name
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert not pod["automountServiceAccountToken"], name
            security = found["securityContext"]
            assert security["readOnlyRootFilesystem"], name
            assert not security["allowPrivilegeEscalation"], name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert set(found["resources"]["limits"]) == {"cpu", "memory"}, name
            if kind == "Deployment":
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(found), name


def test_the_variants_differ_in_what_they_are_called_after() -> None:
    one, two, child = (rendered(variant)["Deployment", "gateway"] for variant in ("one", "two", "child"))
    assert [each["spec"]["replicas"] for each in (one, two, child)] == [1, 2, 1]
    environment = {each["name"]: each.get("value") for each in containers(child)[0]["env"]}
    assert environment["VELOZ_ENGINE"] == "127.0.0.1:18082"
    assert environment["VELOZ_DNS"] == "faults:30072"


def test_a_gateway_without_its_engine_still_gets_traffic() -> None:
    """Nobody would hear its refusals otherwise."""
    gateway = containers(rendered("one")["Deployment", "gateway"])[0]
    assert {gateway[name]["httpGet"]["path"] for name in ("readinessProbe", "livenessProbe")} == {"/health/live"}


def test_ports_are_the_same_inside_and_on_the_nodes() -> None:
    found = rendered("one") | rendered(kubernetes.MONITORING)
    for (kind, name), one in found.items():
        for port in one["spec"]["ports"] if kind == "Service" else ():
            assert port.get("nodePort", port["port"]) == port["port"], name
    for name, ports in on_kubernetes.PORTS.items():
        assert set(ports) <= {port["nodePort"] for port in found["Service", name]["spec"]["ports"]}
    for name, place in on_kubernetes.ALERTS.items():
        assert [place] == [port["nodePort"] for port in found["Service", name]["spec"]["ports"]]
    wires = json.loads(found["ConfigMap", "wires"]["data"]["toxiproxy.json"])
    for wire in wires:
        service, _, port = wire["upstream"].partition(":")
        assert int(port) in {each["port"] for each in found["Service", service]["spec"]["ports"]}


def test_flaws_and_image_are_put_in() -> None:
    all_of_it = [*json.loads(objects("one")), *json.loads(objects(kubernetes.MONITORING))]
    found = kubernetes.fitted(all_of_it, ["health-lies"], "one", "registry.example/mine:7")
    images = {each["image"] for one in found for each in containers(one)}
    assert images == {"registry.example/mine:7", "ghcr.io/shopify/toxiproxy:2.12.0"}
    settings = next(one for one in found if one["metadata"]["name"] == "settings")
    assert settings["data"]["VELOZ_FLAWS"] == "health-lies"
    namespaces = [one["metadata"]["annotations"] for one in found if one["kind"] == "Namespace"]
    assert namespaces == [{kubernetes.VARIANT: "one"}] * 2


def test_an_environment_leads_to_where_the_services_are() -> None:
    written = yaml.safe_load(on_kubernetes.environment("kubernetes", "10.0.0.9", "staging"))
    assert written["values"]["vault-link"] == "http://10.0.0.9:30070"
    base = yaml.safe_load(Path(written["uses"][0]).read_text())
    assert set(written["values"]) <= set(base["values"])
    assert "alerts" not in written
    monitored = yaml.safe_load(on_kubernetes.environment("kubernetes", "10.0.0.9", "staging", monitored=True))
    assert monitored["alerts"]["prometheus"] == "http://10.0.0.9:30085"


def test_whoever_reaches_no_node_forwards_what_monitors_too() -> None:
    assert not any("alertmanager" in line for line in on_kubernetes.forwarded(Cluster()))
    assert any("svc/alertmanager 30084;" in line for line in on_kubernetes.forwarded(Cluster(), monitored=True))


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    on_kubernetes.ENVIRONMENT.write_text("mine\n")
    with pytest.raises(UsageError, match="in the way, and not ours"):
        on_kubernetes.up(Cluster(), (), "", 1, "")
    assert on_kubernetes.ENVIRONMENT.read_text() == "mine\n"


WRONG = [
    ("two", 1, "only child"),
    ("hardened", 1, "hardened in any case"),
    ("", 3, "one gateway or two"),
    ("child", 2, "alone"),
]


def test_nobody_sees_an_engine_that_is_a_child() -> None:
    assert on_kubernetes.overlaid("", 2, monitored=True) == "two"
    with pytest.raises(UsageError, match="leave --variant or --monitoring out"):
        on_kubernetes.overlaid("child", 1, monitored=True)


@pytest.mark.parametrize(("variant", "replicas", "said"), WRONG)
def test_what_there_is_not_is_told(variant: str, replicas: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        on_kubernetes.overlaid(variant, replicas)


#: What stands for kubectl says, and what must be said of it.
REFUSED = [
    ('echo \'{"items": [{"metadata": {"name": "veloz-sandbox"}}]}\'', "is not ours"),
    (
        "echo 'E1125 09:00 noise' >&2; echo 'error: context was not found for specified context: x' >&2; exit 1",
        "get-contexts",
    ),
    ("echo 'The connection to the server localhost:8080 was refused' >&2; exit 1", "set KUBECONFIG"),
    ("echo 'error: You must be logged in to the server (Unauthorized)' >&2; exit 1", "log in again"),
    ("echo 'namespaces is forbidden: User u cannot get resource' >&2; exit 1", "may create namespaces"),
]


@pytest.mark.parametrize(("script", "said"), REFUSED)
def test_what_a_cluster_refuses_comes_with_what_to_do(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubectl").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UsageError, match=said) as raised:
        kubernetes.down(Cluster(context="x"))
    assert "noise" not in str(raised.value)


def test_without_kubectl_it_is_said_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="there is no command `kubectl`; install it"):
        kubernetes.status(Cluster())


def test_an_image_that_no_node_finds_is_named_with_its_node() -> None:
    waiting = {"image": "mine:7", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    pod = {"kind": "Pod", "metadata": {"name": "gateway-1"}, "spec": {"nodeName": "n2"}, "status": {}}
    assert kubernetes.no_image([pod]) == ""
    said = kubernetes.no_image([{**pod, "status": {"containerStatuses": [waiting]}}])
    assert said.startswith("n2 neither has nor can pull mine:7 (gateway-1); bring it to the nodes (kind load")


def test_an_engine_that_never_restarts_is_there_again_only_with_the_next_release(tmp_path: Path) -> None:
    async def served(_: Settings, __: asyncio.Event) -> None:
        return

    (tmp_path / "engine").mkdir()
    made = replace(Settings(tmp_path, {}), flaws=("engine-never-restarts",))
    assert container.flawed_engine(made, served, "first") is served
    assert container.flawed_engine(made, served, "first") is container.never
    assert container.flawed_engine(made, served, "second") is served
    assert container.flawed_engine(made, served) is served
