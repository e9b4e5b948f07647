"""environments/kubernetes/ as it is rendered without kubectl, and what keeps the cluster's other tenants safe."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from veloz_chaos.cli import on_kubernetes
from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import container, kubernetes, kustomize
from veloz_chaos.sandbox.settings import Settings

FOLDER = Path(__file__).parents[2] / "environments" / "kubernetes"
SERVICES = {"gateway", "engine", "exchange", "database", "vault", "dns", "faults", "toxiproxy"}


def rendered(variant: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["kind"], one["metadata"]["name"]): one for one in kustomize.rendered(FOLDER / variant)}


@pytest.mark.parametrize("variant", kubernetes.VARIANTS)
def test_everything_is_in_the_one_namespace_and_says_whose_it_is(variant: str) -> None:
    objects = rendered(variant)
    for (kind, name), one in objects.items():
        assert one["metadata"]["labels"][kubernetes.MANAGED_BY] == kubernetes.OWNER, name
        if kind != "Namespace":
            assert one["metadata"]["namespace"] == kubernetes.NAMESPACE, name
    assert objects["Namespace", kubernetes.NAMESPACE]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    deployments = {name for kind, name in objects if kind == "Deployment"}
    assert deployments == SERVICES - ({"engine"} if variant == "child" else set())


@pytest.mark.parametrize("variant", kubernetes.VARIANTS)
def test_every_pod_is_hardened_and_has_limits(variant: str) -> None:
    for (kind, name), one in rendered(variant).items():
        for found in kustomize.containers(one):
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
    one, two, child = (rendered(variant)["Deployment", "gateway"]["spec"] for variant in ("one", "two", "child"))
    assert (one["replicas"], two["replicas"], child["replicas"]) == (1, 2, 1)
    environment = {each["name"]: each.get("value") for each in kustomize.containers({"spec": child})[0]["env"]}
    assert environment["VELOZ_ENGINE"] == "127.0.0.1:18082"
    assert environment["VELOZ_DNS"] == "faults:38092"
    logs = next(each for each in two["template"]["spec"]["volumes"] if each["name"] == "logs")
    assert logs["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Mi"}


def test_a_gateway_without_its_engine_still_gets_traffic() -> None:
    """Nobody would hear its refusals otherwise."""
    gateway = kustomize.containers(rendered("one")["Deployment", "gateway"])[0]
    assert gateway["readinessProbe"]["httpGet"]["path"] != "/health"
    assert gateway["livenessProbe"]["httpGet"]["path"] != "/health"


def test_flaws_and_image_are_put_in() -> None:
    objects = kustomize.rendered(FOLDER / "one")
    kubernetes._fit(objects, ["health-lies"], "one", "registry.example/mine:7")
    images = {found["image"] for one in objects for found in kustomize.containers(one)}
    assert images == {"registry.example/mine:7", "ghcr.io/shopify/toxiproxy:2.12.0"}
    settings = next(one for one in objects if one["metadata"]["name"] == "settings")
    assert settings["data"]["VELOZ_FLAWS"] == "health-lies"
    assert objects[0]["metadata"]["annotations"] == {kubernetes.VARIANT: "one"}


def test_what_is_not_understood_is_not_applied_in_part(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: []\nconfigMapGenerator: []\n")
    with pytest.raises(UsageError, match="`configMapGenerator` is not understood"):
        kustomize.rendered(tmp_path)


def test_a_patch_for_nothing_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("patches: [{target: {kind: Deployment, name: engine}, patch: '{}'}]\n")
    with pytest.raises(UsageError, match="nothing here is"):
        kustomize.rendered(tmp_path)


def test_an_environment_leads_to_where_the_services_are() -> None:
    text = on_kubernetes.environment("kubernetes", dict.fromkeys(SERVICES, "10.0.0.9"))
    written = yaml.safe_load(text)
    assert written["values"]["vault-link"] == "http://10.0.0.9:38090"
    assert Path(written["uses"][0]).name == "kubernetes.yaml"
    base = yaml.safe_load(Path(written["uses"][0]).read_text())
    assert set(written["values"]) <= set(base["values"])


def test_every_port_that_is_looked_at_is_one_of_its_service() -> None:
    objects = rendered("one")
    for name, ports in on_kubernetes.PORTS.items():
        assert set(ports) <= {port["port"] for port in objects["Service", name]["spec"]["ports"]}


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    on_kubernetes.ENVIRONMENT.write_text("mine\n")
    with pytest.raises(UsageError, match="in the way, and not ours"):
        on_kubernetes.up((), "", "")
    assert on_kubernetes.ENVIRONMENT.read_text() == "mine\n"


def test_an_engine_that_never_restarts_is_there_again_only_with_the_next_release(tmp_path: Path) -> None:
    async def served(_: Settings, __: asyncio.Event) -> None:
        return

    (tmp_path / "engine").mkdir()
    made = replace(Settings(tmp_path, {}), flaws=("engine-never-restarts",))
    assert container.flawed_engine(made, served, "first") is served
    assert container.flawed_engine(made, served, "first") is container.never
    assert container.flawed_engine(made, served, "second") is served
    assert container.flawed_engine(made, served) is served
