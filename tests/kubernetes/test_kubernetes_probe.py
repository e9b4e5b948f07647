"""The probe, before a real API server."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.lab import Lab, kubeconfig, until
from veloz_chaos.core import condition
from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.errors import UsageError
from veloz_chaos.registry import Registry

pytestmark = pytest.mark.kubernetes
EYE = Eye(timedelta(seconds=30), str)


def looked(**keys: Any) -> Seen:
    keys = {"kubeconfig": kubeconfig(), **keys}

    async def look() -> Seen:
        probe = Registry().probe("kubernetes").__pydantic_validator__.validate_python(keys)  # type: ignore[attr-defined]
        await probe.open(EYE)
        async with asyncio.timeout(30):
            return await probe.look(EYE)  # type: ignore[no-any-return]

    return asyncio.run(look())


@pytest.mark.parametrize("kind", ["deployment", "statefulset", "daemonset"])
def test_a_workload_comes_up_and_goes(kind: str, lab: Lab) -> None:
    lab.deployment(kind=f"{kind}s.apps")
    lab.service()
    owner = {"namespace": lab.name, "owner": f"{kind}/web", "service": "web"}
    seen = until(lambda: looked(**owner), lambda one: one.json["desired"] and one.json["ready"] == one.json["desired"])
    desired = len(lab.pods())
    assert (seen.status, seen.error, seen.json["count"], seen.json["phase"]) == (1, "", desired, "Running")
    until(lambda: looked(**owner).json["endpoints"], lambda count: count == desired)
    until(lambda: looked(**owner).json["available"], lambda count: count == desired)
    lab.gone(f"{kind}s.apps", "web")
    assert looked(**owner).error == "missing"


def test_a_neighbour_s_pods_are_not_counted(lab: Lab) -> None:
    lab.deployment()
    stranger = {"metadata": {"name": "stranger", "labels": {"app": "web"}}, "spec": lab.pod("other")["spec"]}
    lab.api.post(lab.path("pods"), {"apiVersion": "v1", "kind": "Pod", **stranger})
    lab.ready(1)
    assert looked(namespace=lab.name, owner="deployment/web").json["count"] == 1
    assert looked(namespace=lab.name, selector={"app": "web"}).json["count"] == 2
    assert looked(namespace=lab.name, pod="stranger").json["pods"][0]["name"] == "stranger"


def test_why_one_does_not_come_up(lab: Lab) -> None:
    image = [{"name": "c", "image": "registry.local/none:v0", "imagePullPolicy": "Never"}]
    lab.deployment("away", containers=image)
    lab.deployment("misfit", nodeSelector={"kubernetes.io/hostname": "nowhere"})
    lab.deployment("deaf", ready=False)

    def reason(name: str) -> str:
        return str(looked(namespace=lab.name, owner=f"deployment/{name}").json["reason"])

    until(lambda: reason("away"), lambda said: said == "ErrImageNeverPull")
    until(lambda: reason("misfit"), lambda said: said == "Unschedulable")
    until(lambda: reason("deaf"), lambda said: said == "ContainersNotReady")


def test_what_is_not_there(lab: Lab) -> None:
    for way in ({"owner": "deployment/none"}, {"selector": {"app": "none"}}, {"pod": "none"}):
        seen = looked(namespace=lab.name, **way)
        assert (seen.status, seen.error, seen.json["count"]) == (0, "missing", 0)
    assert looked(node="none").error == "missing"


def test_every_node(lab: Lab) -> None:
    for node in lab.machines():
        seen = looked(node=node["metadata"]["name"])
        assert (seen.status, seen.json["ready"], seen.json["node_ready"]) == (1, 1, True)


@pytest.mark.usefixtures("lab")
def test_where_no_cluster_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no context far"):
        looked(node="n1", context="far")
    with pytest.raises(UsageError, match="no cluster"):
        looked(node="n1", kubeconfig=str(tmp_path / "none"))


def test_a_server_that_is_away(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "{apiVersion: v1, kind: Config, current-context: x, users: [{name: u, user: {token: abc}}], clusters: "
        "[{name: c, cluster: {server: 'https://127.0.0.1:9'}}], contexts: [{name: x, context: {cluster: c, user: u}}]}"
    )
    seen = looked(node="n1", kubeconfig=str(config))
    assert (seen.status, seen.error) == (0, "the API server https://127.0.0.1:9 does not answer: refused")
    for ok in ("json.ready == json.desired", "json.ready == 0", "!json.schedulable", "value.count < 1"):
        variables = {"json": seen.json, "value": seen.value}
        assert not condition.compile(ok, condition.LOOK_VARIABLES).holds(variables), ok


def test_one_that_knows_us_not(lab: Lab, tmp_path: Path) -> None:
    config = tmp_path / "config"
    cluster = {"server": lab.api.host, "insecure-skip-tls-verify": "true"}
    body = ", ".join(f"{key}: {value!r}" if key == "server" else f"{key}: {value}" for key, value in cluster.items())
    config.write_text(
        "{apiVersion: v1, kind: Config, current-context: x, users: [{name: u, user: {token: abc}}], clusters: "
        f"[{{name: c, cluster: {{{body}}}}}], contexts: [{{name: x, context: {{cluster: c, user: u}}}}]}}"
    )
    assert "log in again" in looked(node="n1", kubeconfig=str(config)).error
