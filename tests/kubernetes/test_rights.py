"""What an account may do, by a real server's word; and `deploy/kubernetes` on a real cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra import cluster
from tests.infra.cluster import Namespace
from tests.kubernetes.deployed import Deployed, deployed
from tests.kubernetes.paused import Paused, paused, until
from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms import kube_api
from veloz_chaos.mechanisms.kube_api import Api, Forbidden, Place, path
from veloz_chaos.mechanisms.kube_rights import CLASSES, missing, right, rights

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(240)]


def kubectl(*words: str) -> str:
    return cluster.run(cluster.require(), *words)


def account(api: Api, space: str, name: str, folder: Path) -> Path:
    """A kubeconfig of a service account, made if it is not there."""
    about = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    with suppress(kube_api.Conflict):
        api.post(path("serviceaccounts", space), about)
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = api.post(path("serviceaccounts", space, name, "token"), asked)["status"]["token"]
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    config["users"] = [{"name": "u", "user": {"token": token}}]
    for one in config["contexts"]:
        one["context"]["user"] = "u"
    written = folder / f"{name}.kubeconfig"
    written.write_text(json.dumps(config))
    return written


def granted(config: Path, space: str, name: str) -> bool:
    """By the server's word, which comes some time after a role is bound."""
    return missing(rights(Place(kubeconfig=str(config)), space, name)) == []


@pytest.fixture
def system(kubernetes: Api, tmp_path: Path) -> Iterator[Paused]:
    with paused(kubernetes, tmp_path) as made:
        yield made


def test_plan_run_and_doctor_name_the_role_that_is_missing_and_with_it_all_is_well(
    system: Paused, kubernetes: Api
) -> None:
    config = account(kubernetes, system.namespace, "bare", system.folder)
    known = {
        "lease": {"namespace": system.namespace},
        "mirror": {"namespace": system.namespace},
        "kubeconfig": str(config),
    }
    environment, experiment = str(system.environment(kubernetes=known)), str(system.experiment())
    planned = system.call("plan", experiment, "-e", environment, runs=None)
    assert planned.returncode == 4
    assert "pause on system" in planned.stdout
    role = planned.stderr[planned.stderr.index("apiVersion:") :]
    asked, bound = yaml.safe_load_all(role)
    assert asked["metadata"]["namespace"] == system.namespace
    assert {name for rule in asked["rules"] for name in rule["resources"]} == {"leases", "configmaps"}
    assert bound["subjects"] == [{"kind": "ServiceAccount", "name": "bare", "namespace": system.namespace}]

    run = system.call("run", experiment, "-e", environment, "-q")
    assert run.returncode == 4
    assert 'a Role must grant: {apiGroups: ["coordination.k8s.io"], resources: ["leases"]' in run.stderr
    assert role.strip() in run.stderr
    doctor = system.call("doctor", "-e", environment)
    assert doctor.returncode == 1
    assert role.strip() in doctor.stdout

    (system.folder / "role.yaml").write_text(role)
    kubectl("apply", "-f", str(system.folder / "role.yaml"))
    until(lambda: all(granted(config, system.namespace, name) for name in ("lease", "mirror")))
    assert system.call("plan", experiment, "-e", environment, runs=None).returncode == 0
    doctor = system.call("doctor", "-e", environment)
    assert "Role" not in doctor.stdout, doctor.stdout


def test_what_a_plan_prints_is_enough_at_once_and_takes_nothing_away(
    system: Paused, kubernetes: Api, namespace: Namespace
) -> None:
    """Pods in one namespace, helpers in another, the lease in a third."""
    namespace.pod("app")
    config = account(kubernetes, system.namespace, "bare", system.folder)
    target = {"namespace": namespace.name, "owner": "deployment/app", "container": "app", "helpers": system.namespace}
    with cluster.namespace() as lease:
        changes: dict[str, Any] = {
            "kubernetes": {"lease": {"namespace": lease.name}, "kubeconfig": str(config)},
            "services": {"system": {"kubernetes": {**target, "kubeconfig": str(config)}}},
            "permit": {"helpers": {"node": True}},
        }
        experiment, environment = str(system.experiment()), str(system.environment(**changes))
        planned = system.call("plan", experiment, "-e", environment, runs=None)
        assert planned.returncode == 4, planned
        printed = system.folder / "roles.yaml"
        printed.write_text(planned.stderr[planned.stderr.index("apiVersion:") :])
        kinds = [(one["kind"], one["metadata"]["namespace"]) for one in yaml.safe_load_all(printed.read_text())]
        spaces = sorted([namespace.name, system.namespace, lease.name])
        assert kinds == [(kind, space) for space in spaces for kind in ("Role", "RoleBinding")]
        kubectl("apply", "-f", str(printed))
        planned = system.call("plan", experiment, "-e", environment, runs=None)
        assert planned.returncode == 0, planned

        role = path("roles.rbac.authorization.k8s.io", namespace.name, "veloz-chaos")
        rules = kubernetes.get(role)["rules"]
        kubernetes.patch(role, {"rules": [rule for rule in rules if rule["apiGroups"] == [""]]})
        planned = system.call("plan", experiment, "-e", environment, runs=None)
        assert planned.returncode == 4, planned
        printed.write_text(planned.stderr[planned.stderr.index("apiVersion:") :])
        kubectl("apply", "-f", str(printed))
        assert kubernetes.get(role)["rules"] == rules
        assert system.call("plan", experiment, "-e", environment, runs=None).returncode == 0


@pytest.fixture(scope="module")
def there() -> Iterator[Deployed]:
    with deployed() as made:
        yield made


@pytest.mark.parametrize("part", ["", "node-helpers", "nodes", "identity", "job", "schedules"])
def test_the_server_takes_every_part_of_it(there: Deployed, part: str) -> None:
    told = kubectl("apply", "-k", str(there.folder / part), "--dry-run=server")
    assert "(server dry run)" in told


def test_its_roles_grant_what_is_asked_for_and_nothing_else(there: Deployed, kubernetes: Api, tmp_path: Path) -> None:
    runner, system = there.runner.name, there.system.name
    there.apply()
    there.apply("node-helpers")
    place = Place(kubeconfig=str(account(kubernetes, runner, "veloz-chaos", tmp_path)))
    where = {name: runner if name in ("lease", "mirror") else system for name in CLASSES if name != "nodes"}
    wanted = [one for name, space in where.items() for one in rights(place, space, name)]
    until(lambda: missing(wanted) == [])  # the server takes note of them some time after it has them
    too_much = [
        right(place, runner, "create", "pods"),
        right(place, runner, "get", "secrets"),
        right(place, system, "get", "secrets"),
        right(place, system, "create", "pods/exec"),
        right(place, system, "delete", "deployments.apps"),
        right(place, "kube-system", "list", "pods"),
        right(place, None, "list", "nodes"),
    ]
    assert missing(too_much) == sorted(too_much, key=lambda one: (one.path, one.verb))
    api = kube_api.client(place)
    assert api.listed(path("pods", system)).items == []
    with pytest.raises(Forbidden, match="a Role must grant"):
        api.listed(path("pods", "kube-system"))


@pytest.mark.parametrize("part", ["job", "schedules"])
def test_restricted_pod_security_admits_the_runner(there: Deployed, kubernetes: Api, part: str) -> None:
    runner = there.runner.name
    there.apply()
    for one in yaml.safe_load_all(kubectl("kustomize", str(there.folder / part))):
        job = one["spec"] if one["kind"] == "Job" else one["spec"]["jobTemplate"]["spec"]
        name = f"{one['metadata']['name']}-{one['kind'].lower()}"
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": job["template"]["spec"]}
        admitted = kubernetes.post(path("pods", runner), pod, dryRun="All")
        assert admitted["spec"]["serviceAccountName"] == "veloz-chaos"
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(TargetError, match="PodSecurity"):
        kubernetes.post(path("pods", runner), pod, dryRun="All")
