"""What a cluster refuses, and what goes wrong in it, is told with what to do; nothing is left."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from tests.infra import cluster
from tests.infra.cluster import Namespace
from tests.infra.door import Door
from tests.kubernetes.deployed import cut
from tests.kubernetes.pods import image, pods, until
from veloz_chaos.core import event as ev
from veloz_chaos.engine import journal
from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms.kube_api import Api, Forbidden
from veloz_chaos.targets import kubernetes

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]  # an image may have to be loaded into every node
SIGN, SOON = "vc-test-bad-luck", timedelta(seconds=20)


def found(space: Namespace, **keys: str) -> kubernetes.Part:
    common = {"namespace": space.name, "selector": {"app": "app"}, "kubeconfig": space.config}
    return kubernetes.find("app", kubernetes.Selector(**{**common, **keys}))[0]  # type: ignore[arg-type]


def test_an_eviction_that_a_budget_forbids_is_told_and_the_pod_lives(namespace: Namespace) -> None:
    namespace.pod("app")
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "app"}}}
    namespace.apply(
        [{"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": budget}]
    )
    target = found(namespace, kill="evict")
    with pytest.raises(TargetError, match=r"may not be evicted now: .*budget.*; write kill: delete"):
        target.kill("KILL")
    assert target.alive()
    namespace.kubectl("delete", "pdb", "b")
    target.kill("TERM")
    assert not target.alive()


@pytest.mark.parametrize("how", ["delete", "evict"])
def test_a_pod_s_end_that_was_heard_though_nobody_said_so_is_its_end(
    namespace: Namespace, unheard: Callable[[str, str], None], how: str
) -> None:
    namespace.pod("app")
    target = found(namespace, kill=how)
    unheard("DELETE" if how == "delete" else "POST", "/pods/")
    target.kill("KILL")
    assert not target.alive()


def test_a_pod_s_end_that_was_not_heard_is_told(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    namespace.pod("app")
    target = found(namespace)

    def lost(*_: object) -> None:
        raise Unavailable("it broke off")

    monkeypatch.setattr(Api, "delete", lost)
    with pytest.raises(Unavailable, match="it broke off"):
        target.kill("KILL")
    assert target.alive()


def test_a_namespace_that_admits_no_helper_is_told(namespace: Namespace) -> None:
    namespace.pod("app")
    with cluster.namespace({"pod-security.kubernetes.io/enforce": "restricted"}) as strict:
        target = found(namespace, container="app", helpers=strict.name)
        assert "enforce=privileged" in target.lacks["Pausable"]  # so plan and doctor know
        assert target.offered() == []
        with pytest.raises(
            TargetError, match=r"violates PodSecurity.*enforce=privileged, or name another one in helpers"
        ):
            target.arm(SIGN)
        assert strict.all("pods") == []


def test_an_image_that_no_node_has_is_told_and_its_pod_is_taken_away(namespace: Namespace) -> None:
    namespace.pod("app")
    target = found(namespace, container="app", helpers=namespace.name, image="127.0.0.1:1/nothing:1")
    with pytest.raises(Unavailable, match=r"127.0.0.1:1/nothing:1 can't be had .*VELOZ_CHAOS_HELPER_IMAGE"):
        target.arm(SIGN)
    assert namespace.kubectl("get", "pods", "-l", f"veloz-chaos/sign={SIGN}", "-o", "name") == ""


def test_a_helper_that_was_made_though_nobody_said_so_is_taken_away(
    namespace: Namespace, unheard: Callable[[str, str], None]
) -> None:
    namespace.pod("app")
    target = found(namespace, container="app", helpers=namespace.name)
    unheard("POST", "/pods")
    with pytest.raises(Unavailable, match="closed connection"):
        target.arm(SIGN)
    assert namespace.kubectl("get", "pods", "-l", f"veloz-chaos/sign={SIGN}", "-o", "name") == ""


def test_who_may_not_is_told_the_rule_that_is_missing(namespace: Namespace, tmp_path: Path) -> None:
    namespace.pod("app")
    token = namespace.kubectl("create", "token", "default")
    config = yaml.safe_load(Path(namespace.config).read_text())
    config["users"][0]["user"] = {"token": token}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(
        Forbidden, match=r'a Role must grant: \{apiGroups: \[""\], resources: \["pods"\], verbs: \["list"\]'
    ):
        found(namespace, kubeconfig=str(file))


def test_a_cluster_tells_which_one_it_is(namespace: Namespace) -> None:
    selector = kubernetes.Selector(namespace=namespace.name, selector={"app": "app"}, kubeconfig=namespace.config)
    told = namespace.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    assert kubernetes.system(selector) == {"kube-system-uid": told}


def test_a_token_that_is_none_is_told(namespace: Namespace, tmp_path: Path) -> None:
    config = yaml.safe_load(Path(namespace.config).read_text())
    config["users"][0]["user"] = {"token": "expired"}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(Unavailable, match="log in again"):
        found(namespace, kubeconfig=str(file))


def seen_in_place(runs: Path) -> bool:
    looks = (event for file in runs.glob("*/journal.jsonl") for event in journal.read(file.parent))
    return any(isinstance(event, ev.PresenceLooked) and event.outcome == "shown" for event in looks)


def test_a_server_that_is_away_in_the_midst_of_a_fault_is_told_and_nothing_stays(
    between: tuple[Door, str], tmp_path: Path
) -> None:
    """Half a minute, from when the fault is in place until after it should have ended."""
    way, config = between
    with pods() as lab:
        experiment, environment = cut(lab, "20s")
        environment["links"]["app->other"]["kubernetes-link"]["kubeconfig"] = config
        environment["probes"]["served"]["kubernetes"]["kubeconfig"] = lab.space.config
        head = {"version": 1, "name": "away"}
        written = {
            "experiment": {"kind": "Experiment", **head, "title": "away", **experiment},
            "environment": {"kind": "Environment", **head, "tier": "staging", **environment},
        }
        for name, data in written.items():
            (tmp_path / f"{name}.yaml").write_text(json.dumps(data))
        words = ["run", "experiment.yaml", "-e", "environment.yaml", "--json", "-q"]
        asked = [sys.executable, "-m", "veloz_chaos", *words]
        run = subprocess.Popen(asked, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until(lambda: seen_in_place(tmp_path / "runs") or run.poll() is not None)
        way.shut()
        time.sleep(30)
        way.open()
        said, complaint = run.communicate(timeout=120)
        until(lambda: not lab.traces())
        until(lambda: not lab.running())
    assert run.returncode == 3, said + complaint
    told = {one["expectation"]: one for one in json.loads(said)["runs"][0]["findings"]}
    assert told["in place"]["verdict"] == "passed", told
    assert told["reverted"]["verdict"] == "passed", told


def test_a_pod_that_is_deleted_in_the_midst_takes_the_fault_along(namespace: Namespace) -> None:
    namespace.pod("app")
    target = found(namespace, container="app", helpers=namespace.name, image=image())
    target.arm(SIGN)
    target.saturate(SIGN, 0.9, SOON)
    namespace.kubectl("delete", "pod", str(target.reference.identity["pod"]), "--grace-period=1")
    assert not target.alive()
    with pytest.raises(Gone, match=r"being deleted|is gone"):
        target.cpu_use(SIGN)
    target.unsaturate(SIGN)
    target.disarm(SIGN)
    assert namespace.kubectl("get", "pods", "-l", f"veloz-chaos/sign={SIGN}", "-o", "name") == ""


def test_a_namespace_that_is_not_there_is_told_with_those_that_are(namespace: Namespace) -> None:
    with pytest.raises(Missing, match=r"there is no namespace t-nothing; there are: .*kube-system"):
        found(namespace, namespace="t-nothing")


def test_an_owner_that_is_not_there_is_told_with_those_that_are(namespace: Namespace, tmp_path: Path) -> None:
    namespace.pod("app")
    meant = {"selector": {}, "owner": "deployment/web"}
    with pytest.raises(Missing, match=f"no deployment/web in namespace {namespace.name}; there are: deployment/app$"):
        found(namespace, **meant)  # type: ignore[arg-type]
    with pytest.raises(Missing, match=r"there is no namespace t-nothing; there are: .*kube-system"):
        found(namespace, **meant, namespace="t-nothing")  # type: ignore[arg-type]
    namespace.kubectl("create", "role", "r", "--verb=get,list", "--resource=pods")
    namespace.kubectl("create", "role", "o", "--verb=get", "--resource=deployments.apps")
    for name in "ro":
        account = f"--serviceaccount={namespace.name}:default"
        namespace.kubectl("create", "rolebinding", name, f"--role={name}", account)
    for may in (("list", "pods"), ("get", "deployments.apps")):
        until(lambda may=may: can(namespace, *may))  # type: ignore[misc]
    config = yaml.safe_load(Path(namespace.config).read_text())
    config["users"][0]["user"] = {"token": namespace.kubectl("create", "token", "default")}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(Missing, match=r"no deployment/web in namespace .*; there are the pods: app-"):
        found(namespace, **meant, kubeconfig=str(file))  # type: ignore[arg-type]


def can(namespace: Namespace, verb: str, resource: str) -> bool:
    """By the server's word, which comes some time after a role is bound."""
    account = f"--as=system:serviceaccount:{namespace.name}:default"
    try:
        return namespace.kubectl("auth", "can-i", verb, resource, account) == "yes"
    except cluster.Refused:
        return False


def test_a_namespace_for_helpers_that_is_not_there_is_told_with_what_to_do(namespace: Namespace) -> None:
    namespace.pod("app")
    target = found(namespace, container="app", helpers="t-nothing")
    with pytest.raises(
        Missing, match=r"in t-nothing: there is no such namespace; create it, .* another one in helpers:"
    ):
        target.arm(SIGN)
