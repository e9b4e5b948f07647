"""NetworkPolicies that cut pods off, and which of others' would let them through all the same. Plain data, no calls.

Policies only ever allow: a pod that any policy selects may do what some policy allows, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from veloz_chaos.mechanisms.kube_api import SIGN, marked

Json = Mapping[str, Any]
#: The cluster's own name servers carry this label, whatever their port is behind the Service.
_NAMES = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
_PORTS = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]


def cut(sign: str, name: str, pods: Json, inbound: int | None) -> dict[str, Any]:
    """Nothing reaches those pods on their port `inbound`; or, with None, they reach nobody but name servers."""
    if inbound is None:
        spec = {"policyTypes": ["Egress"], "egress": [{"ports": _PORTS}, {"to": [_NAMES]}]}
    else:
        spec = {"policyTypes": ["Ingress"], "ingress": [{"ports": _all_but(inbound)}]}
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**head, "metadata": {"name": name, "labels": marked(sign)}, "spec": {"podSelector": pods, **spec}}


def _all_but(port: int) -> list[dict[str, Any]]:
    spans = [(1, port - 1), (port + 1, 65535)]
    tcp = [{"protocol": "TCP", "port": first, "endPort": last} for first, last in spans if first <= last]
    return [*tcp, {"protocol": "UDP"}]


def sign_of(policy: Json) -> str:
    """Whose of ours it is; empty for others'."""
    return str((policy["metadata"].get("labels") or {}).get(SIGN, ""))


def lets_through(policy: Json, labels: Mapping[str, str], inbound: int | None) -> bool:
    """May it allow what a cut forbids? (What exactly it allows is not looked into.)"""
    kind = "Egress" if inbound is None else "Ingress"
    spec = policy["spec"]
    mine = not sign_of(policy) and fits(spec.get("podSelector") or {}, labels)
    return mine and kind in spec.get("policyTypes", ["Ingress"]) and bool(spec.get(kind.lower()))


def fits(selector: Json, labels: Mapping[str, str]) -> bool:
    """Does a selector of an object's (an empty one fits everything) select what carries these labels?"""
    if not (selector.get("matchLabels") or {}).items() <= labels.items():
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or [])


def _holds(one: Json, labels: Mapping[str, str]) -> bool:
    there, among = one["key"] in labels, labels.get(one["key"]) in (one.get("values") or [])
    return {"In": among, "NotIn": not among, "Exists": there, "DoesNotExist": not there}[one["operator"]]
