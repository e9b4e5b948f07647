"""What an account must be allowed, class by class; which of it the server says it is not; and the Role that would help.

`deploy/kubernetes/` holds a Role for each class. A backend whose targets are in a cluster says what it needs in a
function of its module, `rights(selector, capability)`; without a capability: what it needs to look.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms import kube_api
from veloz_chaos.mechanisms.kube_api import Place, path
from veloz_chaos.mechanisms.kube_find import OWNERS

Rules = Mapping[str, Sequence[str]]
GROUP = "rbac.authorization.k8s.io"
_SERVICE_ACCOUNT = "system:serviceaccount:"
_ATTACH = ("get", "create")
#: All but `nodes` in a namespace. Class -> resource (`pods`, `pods/eviction`, `deployments.apps`) -> verbs.
CLASSES: Mapping[str, Rules] = {
    "looking": {
        "pods": ("get", "list", "watch"),
        "pods/log": ("get",),
        "endpointslices.discovery.k8s.io": ("list",),
        "deployments.apps": ("get",),
        "statefulsets.apps": ("get",),
        "daemonsets.apps": ("get",),
        "replicasets.apps": ("get", "list"),
        "jobs.batch": ("get",),
    },
    "pod-kill": {"pods": ("delete",), "pods/eviction": ("create",)},
    "ephemeral-helpers": {"pods/ephemeralcontainers": ("patch",), "pods/attach": _ATTACH},
    "node-helpers": {"pods": ("get", "list", "create", "delete"), "pods/attach": _ATTACH},
    "scale": {
        "deployments.apps": ("get", "list", "patch"),
        "statefulsets.apps": ("get", "list", "patch"),
        "horizontalpodautoscalers.autoscaling": ("list",),
        "pods": ("list",),
    },
    "policy": {"networkpolicies.networking.k8s.io": ("list", "create", "delete")},
    "chaos-mesh": {
        "podchaos.chaos-mesh.org": ("get", "list", "create", "delete"),
        "stresschaos.chaos-mesh.org": ("get", "list", "create", "delete"),
        "networkchaos.chaos-mesh.org": ("get", "list", "create", "delete"),
    },
    "nodes": {"nodes": ("get", "list", "patch"), "pods": ("list",), "pods/eviction": ("create",)},
    "lease": {"leases.coordination.k8s.io": ("get", "create", "update")},
    "mirror": {"configmaps": ("list", "create", "update", "delete")},
}


@dataclass(frozen=True)
class Right:
    """One verb on one path of a cluster, as `kube_api.path` has it."""

    place: Place
    verb: str
    path: str

    @property
    def namespace(self) -> str:
        """Empty for what is the cluster's."""
        parts = self.path.strip("/").split("/")
        return parts[parts.index("namespaces") + 1] if "namespaces" in parts[:-2] else ""


def right(place: Place, namespace: str | None, verb: str, resource: str) -> Right:
    """`resource`: as in CLASSES."""
    kind, _, sub = resource.partition("/")
    return Right(place, verb, path(kind, namespace, "any" if sub else None, sub or None))


def rights(place: Place, namespace: str | None, name: str, only: Iterable[str] | None = None) -> list[Right]:
    """All of a class in a namespace, or those on the resources `only`. Raises KeyError for an unknown class."""
    wanted = {resource: verbs for resource, verbs in CLASSES[name].items() if only is None or resource in only}
    return [right(place, namespace, verb, resource) for resource, verbs in wanted.items() for verb in verbs]


def to_find(place: Place, namespace: str, owner: str | None = None) -> list[Right]:
    """To look for the pods of a selector, and at them."""
    kinds = {"pods"}
    if owner is not None:
        kinds |= {OWNERS[owner.partition("/")[0]]} | (
            {"replicasets.apps"} if owner.startswith("deployment/") else set()
        )
    return rights(place, namespace, "looking", kinds)


def missing(wanted: Iterable[Right]) -> list[Right]:
    """Those that the server says we have not. Raises TargetError if it can't be asked."""
    asked = sorted(set(wanted), key=lambda one: (one.path, one.verb))
    if not asked:
        return []
    with ThreadPoolExecutor(max_workers=min(8, len(asked))) as pool:
        answers = list(pool.map(lambda one: kube_api.client(one.place).allowed(one.verb, one.path), asked))
    return [one for one, allowed in zip(asked, answers, strict=True) if not allowed]


def told(wanted: Iterable[Right]) -> tuple[list[Right], dict[Place, str]]:
    """The same, and of which clusters it is not known, and why."""
    of: dict[Place, list[Right]] = {}
    for one in wanted:
        of.setdefault(one.place, []).append(one)
    lacking: list[Right] = []
    unknown: dict[Place, str] = {}
    for place, asked in of.items():
        try:
            lacking += missing(asked)
        except TargetError as error:
            unknown[place] = str(error)
    return lacking, unknown


def granting(needed: Iterable[Right], lacking: Iterable[Right]) -> list[str]:
    """Lines of YAML that grant what is lacking. In its namespaces they hold all of `needed`: `kubectl apply` replaces a
    Role, so one of what is lacking alone would take away what an earlier one has granted."""
    short = {(one.place, one.namespace) for one in lacking}
    users = {place: kube_api.client(place).user() for place in {place for place, _ in short}}
    return roles((one for one in needed if (one.place, one.namespace) in short), users)


def roles(needed: Iterable[Right], users: Mapping[Place, str] | None = None) -> list[str]:
    """Lines of YAML: a Role for each namespace, a ClusterRole for what has none, that grants just these; and who is
    bound to it. `users`: who we are in each cluster, as far as it is known."""
    of: dict[tuple[str, str], list[Right]] = {}
    for one in sorted(set(needed), key=lambda one: (one.place.words, one.namespace, one.path, one.verb)):
        of.setdefault((one.place.words, one.namespace), []).append(one)
    several = len({words for words, _ in of}) > 1
    lines: list[str] = []
    for (words, namespace), those in of.items():
        lines += ["---"] if lines else []
        lines += [f"# in the cluster of: {words}"] if several else []
        lines += [*_role(namespace, those), *_binding(namespace, (users or {}).get(those[0].place, ""))]
    return lines


def _role(namespace: str, needed: Sequence[Right]) -> Iterator[str]:
    yield f"apiVersion: {GROUP}/v1"
    yield f"kind: {_kind(namespace)}"
    yield "metadata: {name: veloz-chaos" + (f", namespace: {namespace}}}" if namespace else "}")
    yield "rules:"
    for rule in merged(kube_api.rule(one.verb, one.path) | {"verbs": [one.verb]} for one in needed):
        yield f"  - {kube_api.written(rule)}"


def _binding(namespace: str, user: str) -> Iterator[str]:
    """A service account's has its name: whoever else is bound to that Role stays so. Others are for kubectl to bind."""
    kind = _kind(namespace)
    space, _, account = user.removeprefix(_SERVICE_ACCOUNT).partition(":")
    if not (user.startswith(_SERVICE_ACCOUNT) and space and account):
        place = f" -n {namespace}" if namespace else ""
        who = shlex.quote(user) if user else "YOUR-NAME-THERE"
        command = f"{kind.lower()}binding veloz-chaos --{kind.lower()} veloz-chaos --user {who}"
        yield f"# and bind it to this account: kubectl{place} create {command}"
        return
    name = json.dumps(f"veloz-chaos:{space}:{account}")
    yield "---"
    yield f"apiVersion: {GROUP}/v1"
    yield f"kind: {kind}Binding"
    yield f"metadata: {{name: {name}" + (f", namespace: {namespace}}}" if namespace else "}")
    yield f"roleRef: {{apiGroup: {GROUP}, kind: {kind}, name: veloz-chaos}}"
    yield f"subjects: [{{kind: ServiceAccount, name: {account}, namespace: {space}}}]"


def _kind(namespace: str) -> str:
    return "Role" if namespace else "ClusterRole"


def merged(rules: Iterable[Mapping[str, Sequence[str]]]) -> list[dict[str, list[str]]]:
    """One rule for each resource; and one for resources of a group with the same verbs."""
    verbs: dict[tuple[str, str], set[str]] = {}
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                verbs.setdefault((group, resource), set()).update(rule["verbs"])
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, resource), said in sorted(verbs.items()):
        alike.setdefault((group, tuple(sorted(said))), []).append(resource)
    return [
        {"apiGroups": [group], "resources": resources, "verbs": list(said)}
        for (group, said), resources in alike.items()
    ]


def of_class(name: str) -> list[dict[str, list[str]]]:
    """The rules of a Role for a class."""
    return merged(kube_api.rule(one.verb, one.path) | {"verbs": [one.verb]} for one in rights(Place(), "any", name))
