"""What a Kubernetes API server's refusals mean, and where things are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms import kube_api
from veloz_chaos.mechanisms.kube_api import Conflict, Expired, Forbidden, Held, Place, path, refusal, rule, written

POD = path("pods", "veloz", "gateway-1")


def said(message: str, *causes: str) -> bytes:
    details = {"causes": [{"reason": cause} for cause in causes]}
    return json.dumps({"kind": "Status", "message": message, "details": details}).encode()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("pods",), "/api/v1/pods"),
        (("pods", "veloz", "a", "log"), "/api/v1/namespaces/veloz/pods/a/log"),
        (("deployments.apps", "veloz"), "/apis/apps/v1/namespaces/veloz/deployments"),
        (("horizontalpodautoscalers.autoscaling", "v"), "/apis/autoscaling/v2/namespaces/v/horizontalpodautoscalers"),
        (("podchaos.chaos-mesh.org",), "/apis/chaos-mesh.org/v1alpha1/podchaos"),
        (("events.events.k8s.io/v1beta1",), "/apis/events.k8s.io/v1beta1/events"),
    ],
)
def test_paths(words: tuple[str, ...], expected: str) -> None:
    assert path(*words) == expected


def test_a_rule_is_what_a_role_would_say() -> None:
    assert rule("delete", POD) == {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}
    assert rule("get", path("pods", "v", "a", "log"))["resources"] == ["pods/log"]
    assert rule("get", path("pods", "v", "a", "attach"))["verbs"] == ["get", "create"]
    assert rule("get", path("nodes", None, "n1"))["resources"] == ["nodes"]
    scale = rule("patch", path("deployments.apps", "v", "a", "scale"))
    assert yaml.safe_load(written(scale)) == scale
    assert scale["apiGroups"] == ["apps"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, said("Unauthorized"), Unavailable, "log in again"),
        (403, said('pods "a" is forbidden: User "x" cannot delete'), Forbidden, r'verbs: \["delete"\]'),
        (403, said('pods "a" is forbidden: violates PodSecurity "restricted:latest": hostPID'), TargetError, "hostPID"),
        (404, said('pods "a" not found'), Gone, "not found"),
        (409, said("the object has been modified"), Conflict, "modified"),
        (410, said("too old resource version"), Expired, "too old"),
        (422, said("spec is invalid"), TargetError, "invalid"),
        (429, said("Cannot evict pod", "DisruptionBudget"), Held, "Cannot evict"),
        (429, said("too many requests"), Unavailable, "429"),
        (503, b"upstream connect error", Unavailable, "503 upstream"),
    ],
)
def test_a_refusal_says_what_it_means(status: int, body: bytes, kind: type[TargetError], words: str) -> None:
    error = refusal(status, body, "delete", POD, "https://cluster")
    assert type(error) is kind
    with pytest.raises(kind, match=words):
        raise error


def test_a_namespace_that_is_not_there_comes_with_a_remedy() -> None:
    error = refusal(404, said('namespaces "x" not found'), "create", path("pods", "x"), "h")
    assert str(error) == 'namespaces "x" not found; create it (kubectl create namespace x), or name another one'
    assert type(error) is Missing
    assert str(refusal(404, said('deployments.apps "x" not found'), "get", "", "h")) == 'deployments.apps "x" not found'


def test_what_is_not_a_pod_is_missing_rather_than_gone() -> None:
    assert type(refusal(404, said("x"), "get", path("services", "v", "a"), "h")) is Missing


def config(folder: Path, **changes: Any) -> Path:
    data = {
        "apiVersion": "v1", "kind": "Config", "current-context": "one",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("one", "two")],
        **changes,
    }  # fmt: skip
    file = folder / "config"
    file.write_text(yaml.safe_dump(data))
    return file


def test_which_cluster_is_in_the_file_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kube_api._client.cache_clear()
    monkeypatch.setenv("KUBECONFIG", str(config(tmp_path)))
    api = kube_api.client(Place())
    assert api.host == "https://127.0.0.1:1"
    assert api.headers()["authorization"] == "Bearer secret"
    with pytest.raises(Unavailable, match="does not answer"):
        api.get(path("pods"))
    kube_api._client.cache_clear()


def test_a_context_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"there is no context three in .*config; there are: one, two"):
        kube_api.client(Place("three", str(config(tmp_path))))


@pytest.mark.parametrize("text", ["", "just words", "clusters: 3", "a: [unclosed"])
def test_a_file_that_is_no_kubeconfig_is_told(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(TargetError, match=f"{file}"):
        kube_api.client(Place(None, str(file)))


@pytest.mark.parametrize("text", ["hello", "- a", "3", "clusters: 3"])
def test_what_is_no_mapping_of_clusters_is_said_to_be_no_kubeconfig(text: str, tmp_path: Path) -> None:
    file, other = tmp_path / "other", config(tmp_path)
    file.write_text(text)
    with pytest.raises(TargetError, match=f"{file} is no kubeconfig: it must hold clusters"):
        kube_api.client(Place(None, str(file)))
    with pytest.raises(TargetError, match=f"{file} is no kubeconfig"):
        kube_api.client(Place(None, f"{other}:{file}"))


def plugged(folder: Path, script: str, **more: str) -> Path:
    """A kubeconfig with a credential plug-in; without a script there is none."""
    program = folder / "aws-nope"
    if script:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program), **more}
    return config(folder, users=[{"name": "u", "user": {"exec": command}}])


TOKEN = (
    """echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t"%s}}'"""
)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("", r"aws-nope of the kubeconfig .* can't be run: No such file or directory; install it \(see x\), or name"),
        (
            "echo no session >&2; exit 3",
            r"aws-nope of .* gives no credentials: exec: process returned 3. no session; log",
        ),
        (TOKEN % "" + " | sed s/token/nothing/", "aws-nope of .* gives no credentials: exec: missing token"),
    ],
)
def test_a_credential_plug_in_that_gives_nothing_is_told_and_nothing_is_logged(
    script: str, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = plugged(tmp_path, script, installHint="see\n x")
    with pytest.raises(TargetError, match=words):
        kube_api.client(Place(None, str(file)))
    assert capfd.readouterr().err == ""


def test_a_credential_plug_in_that_works_is_asked_again_when_its_token_has_expired(tmp_path: Path) -> None:
    file = plugged(tmp_path, TOKEN % ', "expirationTimestamp": "2020-01-01T00:00:00Z"')
    api = kube_api.client(Place(None, str(file)))
    assert api.headers()["authorization"] == "Bearer t"
    (tmp_path / "aws-nope").unlink()
    with pytest.raises(Unavailable, match=r"aws-nope of .* can't be run"):
        api.headers()


def test_words_to_begin_a_command_by_hand() -> None:
    assert Place().words == "kubectl"
    assert Place("prod", "/a").words == "kubectl --kubeconfig /a --context prod"
