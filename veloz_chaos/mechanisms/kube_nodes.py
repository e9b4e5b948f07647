"""Nodes: which are meant, and which are never hurt."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.errors import Missing
from veloz_chaos.mechanisms import kube_api
from veloz_chaos.mechanisms.kube_api import Json, Place, path, selected

CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """Exactly one of name and labels."""

    name: str | None = None
    labels: dict[str, str] | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.name) == bool(self.labels):
            raise ValueError("write exactly one of name and labels")
        return self

    @property
    def place(self) -> Place:
        return Place(self.context, self.kubeconfig)


def matching(wanted: Selector) -> list[Json]:
    """Raises Missing, with what is there instead."""
    nodes = kube_api.client(wanted.place).listed(path("nodes")).items
    found = [node for node in nodes if _meant(node["metadata"], wanted)]
    if not found:
        there = ", ".join(node["metadata"]["name"] for node in nodes)
        raise Missing(f"there is no node {wanted.name or selected(wanted.labels or {})}; there are: {there}")
    return found


def _meant(meta: Mapping[str, Any], wanted: Selector) -> bool:
    if wanted.name is not None:
        return bool(meta["name"] == wanted.name)
    return (wanted.labels or {}).items() <= (meta.get("labels") or {}).items()


def unfit(node: Mapping[str, Any], place: Place, label: str, done: str) -> str:
    """Why a node like this is never `done` ("drained"); empty if it may be. `label`: by which its cluster says so."""
    name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
    if any(role in labels for role in CONTROL_PLANE):
        return f"node {name} belongs to the control plane, which is never {done}"
    if labels.get(label) != "true":
        hand = f"{place.words} label node {name} {label}=true"
        return f"nobody has said that node {name} may be {done}; say so by: {hand}"
    return ""


def ours(node: str, pods: Sequence[Mapping[str, Any]]) -> str:
    """That this program would hurt itself there; empty if it would not. `pods`: those of the node."""
    if runs_on(node, pods, os.environ, socket.gethostname()):
        return f"node {node} is the one that this very program runs on; choose another one"
    return ""


def runs_on(node: str, pods: Sequence[Mapping[str, Any]], environment: Mapping[str, str], host: str) -> bool:
    """Does this program run in a pod of that node? A pod's host name is its own name, unless it says otherwise."""
    if "KUBERNETES_SERVICE_HOST" not in environment:
        return False
    names = {environment.get("HOSTNAME"), host}
    return environment.get("NODE_NAME") == node or any(pod["metadata"]["name"] in names for pod in pods)


def pods_on(place: Place, node: str) -> list[Json]:
    """Of all namespaces."""
    return kube_api.client(place).listed(path("pods"), fieldSelector=f"spec.nodeName={node}").items
