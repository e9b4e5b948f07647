"""What `deploy/kubernetes` grants is exactly what the product asks for; what it runs is hardened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from veloz_chaos.core.environment import Environment
from veloz_chaos.engine import files
from veloz_chaos.mechanisms.kube_rights import CLASSES, merged, of_class

DEPLOY = Path(__file__).parents[2] / "deploy" / "kubernetes"


def documents() -> list[dict[str, Any]]:
    return [one for path in sorted(DEPLOY.rglob("*.yaml")) for one in yaml.safe_load_all(path.read_text()) if one]


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in documents() if one["kind"] in kinds}


ROLES, BINDINGS = of_kind("Role", "ClusterRole"), of_kind("RoleBinding", "ClusterRoleBinding")


def test_there_is_a_role_for_each_class_and_no_other() -> None:
    """But for the one object by its name that tells which cluster it is."""
    assert set(ROLES) == {f"veloz-chaos-{name}" for name in (*CLASSES, "identity")}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_role_grants_what_its_class_asks_for_and_nothing_else(name: str) -> None:
    assert merged(ROLES[f"veloz-chaos-{name}"]["rules"]) == of_class(name)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_each_is_granted_to_the_runner_alone(name: str) -> None:
    binding = BINDINGS[f"veloz-chaos-{name}"]
    assert binding["roleRef"]["name"] == f"veloz-chaos-{name}"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "veloz-chaos", "namespace": "veloz-chaos"}]
    assert binding["metadata"].get("namespace") == ROLES[f"veloz-chaos-{name}"]["metadata"].get("namespace")


def test_every_file_is_part_of_a_kustomization() -> None:
    for folder in {path.parent for path in DEPLOY.rglob("*.yaml")}:
        said = yaml.safe_load((folder / "kustomization.yaml").read_text())
        used = {*said["resources"], *(one["path"] for one in said.get("patches", [])), "kustomization.yaml"}
        assert {path.name for path in folder.glob("*.yaml")} == {name for name in used if name.endswith(".yaml")}


def pods() -> dict[str, dict[str, Any]]:
    (job,) = of_kind("Job").values()
    shared = of_kind("CronJob")["any"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return {"job": job["spec"]["template"]["spec"], "cronjobs": shared}


@pytest.mark.parametrize("pod", pods().values(), ids=pods())
def test_the_runner_s_pod_is_hardened(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["initContainers"] + pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_a_job_and_a_cron_job_are_the_same_pod() -> None:
    job, cron = pods()["job"], pods()["cronjobs"]
    assert job["containers"][0].pop("args")[0] == "run"
    assert job == cron


def test_every_scheduled_experiment_is_there() -> None:
    jobs = {name: one for name, one in of_kind("CronJob").items() if name != "any"}
    assert set(jobs) == {"pod-kill", "network-latency", "cpu-stress", "exchange-failure"}
    for name, one in jobs.items():
        (container,) = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert container["args"][:2] == ["run", name]
        assert files.find("experiments", name)


def test_the_environment_that_is_shipped_can_be_read() -> None:
    (config,) = of_kind("ConfigMap").values()
    read = yaml.safe_load(config["data"]["environment.yaml"])
    environment = Environment.model_validate(read)
    assert environment.kubernetes is not None
    assert environment.kubernetes.lease.namespace == config["metadata"]["namespace"]
