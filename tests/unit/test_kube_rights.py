"""What an account must be allowed, and the Role that would grant it."""

from __future__ import annotations

import pytest
import yaml

from veloz_chaos.mechanisms import kube_api, kube_rights
from veloz_chaos.mechanisms.kube_api import Place
from veloz_chaos.mechanisms.kube_rights import CLASSES, merged, of_class, right, rights, roles

HERE = Place()


def test_one_role_for_each_namespace_and_a_cluster_role_for_what_has_none() -> None:
    lacking = [
        right(HERE, "staging", "get", "pods"),
        right(HERE, "staging", "list", "pods"),
        right(HERE, "staging", "create", "pods/eviction"),
        right(HERE, "helpers", "create", "pods/attach"),
        right(HERE, None, "patch", "nodes"),
        right(HERE, "staging", "get", "pods"),
    ]
    documents = list(yaml.safe_load_all("\n".join(roles(lacking))))
    told = {(one["kind"], one["metadata"].get("namespace")): one["rules"] for one in documents}
    assert told == {
        ("ClusterRole", None): [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]}],
        ("Role", "helpers"): [{"apiGroups": [""], "resources": ["pods/attach"], "verbs": ["create"]}],
        ("Role", "staging"): [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
        ],
    }


def test_nothing_missing_is_no_role() -> None:
    assert roles([]) == []


def test_resources_with_the_same_verbs_share_a_rule() -> None:
    of = [{"apiGroups": ["apps"], "resources": [name], "verbs": ["get"]} for name in ("b", "a")]
    assert merged(of) == [{"apiGroups": ["apps"], "resources": ["a", "b"], "verbs": ["get"]}]


def test_part_of_a_class_can_be_asked_for() -> None:
    (only,) = rights(HERE, "x", "pod-kill", only=["pods"])
    assert (only.verb, only.path, only.namespace) == ("delete", "/api/v1/namespaces/x/pods", "x")
    assert right(HERE, None, "get", "nodes").namespace == ""


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_class_can_be_written_as_rules(name: str) -> None:
    granted = {
        (f"{resource}.{group}" if group else resource, verb)
        for rule in of_class(name)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    asked = {(resource, verb) for resource, verbs in CLASSES[name].items() for verb in verbs}
    assert granted == asked


def test_each_right_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    class Api:
        def allowed(self, verb: str, where: str) -> bool:
            asked.append((verb, where))
            return verb == "get"

    monkeypatch.setattr(kube_api, "client", lambda _: Api())
    pods = [right(HERE, "x", verb, "pods") for verb in ("get", "list", "get")]
    assert kube_rights.missing(pods) == [pods[1]]
    assert len(asked) == 2
