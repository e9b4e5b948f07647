"""Where the helpers beside a pod's container run: what an environment writes of it, and the place that it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Reference
from veloz_chaos.mechanisms import beside as helpers
from veloz_chaos.mechanisms import kube_api, kube_pods, kube_rights
from veloz_chaos.mechanisms.beside_pod import Beside
from veloz_chaos.mechanisms.helper_ephemeral import InPod
from veloz_chaos.mechanisms.helper_pod import OnNode
from veloz_chaos.mechanisms.kube_api import Place
from veloz_chaos.mechanisms.kube_rights import Right

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def namespace(text: str) -> str:
    """Raises ValueError if it can't be one."""
    if text and "${" not in text and not _LABEL.fullmatch(text):
        raise ValueError(
            f"`{text}` is no namespace; write the one for helper pods, or {{in: pod}} for ephemeral containers"
        )
    return text


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Within:
    """Ephemeral containers in the pod itself."""

    where: Literal["pod"] = Field(alias="in")


#: A namespace, for pods of ours on the same node; or {in: pod}.
Helpers = Annotated[str, AfterValidator(namespace)] | Within


def identity(
    pod: Mapping[str, Any], container: str, cluster: Place, helpers: str | Within, image: str
) -> dict[str, Any]:
    """Of the incarnation that runs; `OnKubernetes` takes it."""
    status = kube_pods.status_of(pod, container)
    written = {"in": helpers.where} if isinstance(helpers, Within) else helpers
    where = {**kube_api.kept(cluster), "helpers": written, "image": image}
    return {
        "namespace": pod["metadata"]["namespace"],
        "pod": kube_pods.name_of(pod),
        "uid": pod["metadata"]["uid"],
        "container": container,
        "id": kube_pods.id_of(status),
        "restarts": status.get("restartCount", 0),
        "node": pod["spec"].get("nodeName", ""),
        "owner": kube_pods.owner_of(pod),
        **{key: value for key, value in where.items() if value},
    }


def beside(identity: Mapping[str, Any], *, links: bool = False) -> Beside:
    """The place that an identity means. `links`: only the pod's network matters."""
    common = {key: identity.get(key, "") for key in ("namespace", "pod", "uid", "container", "node", "image")}
    cluster = kube_api.meant(identity)
    common |= {"cluster": cluster, "container_id": identity["id"], "network": links}
    where = identity.get("helpers", "")
    return OnNode(**common, helpers=where) if isinstance(where, str) else InPod(**common)


def rights(place: Place, namespace: str, helpers: str | Within | None) -> list[Right]:
    """What an account needs to start helpers beside pods of that namespace, to speak to them and to end them."""
    if isinstance(helpers, Within):
        return kube_rights.rights(place, namespace, "ephemeral-helpers")
    return kube_rights.rights(place, helpers, "node-helpers") if helpers else []


def to_look(place: Place, helpers: str | Within | None) -> list[Right]:
    """What it needs to see whether any helper is left there."""
    return [kube_rights.right(place, helpers, "list", "pods")] if isinstance(helpers, str) and helpers else []


class OnKubernetes(helpers.Neighbour):
    """Mixed into every target whose helpers are beside a container of a pod; `identity` is what its reference holds."""

    beside: Beside

    @staticmethod
    def place(reference: Reference) -> Beside:
        return beside(reference.identity)

    def remains(self) -> str:
        return self.beside.remains()
