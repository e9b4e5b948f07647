"""A Kubernetes API server, spoken to in plain JSON: where it is, what may be asked of it, what its refusals mean.

The official client finds the server and proves who we are (kubeconfig, exec plug-ins, a pod's service account); its
models are left aside, since they cost more time than the server. Every call is bounded.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms.kube_config import Plugin, heard, no_kubeconfig, plugin_of, useless

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

#: Seconds for one call, retries included.
PATIENCE = 10.0
#: Objects on one page of a list.
PAGE = 500
#: On whatever we make: the run's mark, and whose it is.
SIGN, OURS = "veloz-chaos/sign", {"app.kubernetes.io/managed-by": "veloz-chaos"}
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_VERSIONS = {"autoscaling": "v2", "chaos-mesh.org": "v1alpha1"}
_PATCHES = {"merge": "merge-patch", "strategic": "strategic-merge-patch", "json": "json-patch", "apply": "apply-patch"}
_CONFIGURING = threading.Lock()
_ASKED = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
Patch = Literal["merge", "strategic", "json", "apply"]
Json = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Which cluster; without either, the current context, or the cluster around us."""

    context: str | None = None
    kubeconfig: str | None = None

    @property
    def words(self) -> str:
        """How a command by hand begins."""
        config = f" --kubeconfig {self.kubeconfig}" if self.kubeconfig else ""
        return "kubectl" + config + (f" --context {self.context}" if self.context else "")


class Forbidden(TargetError):
    """The account may not; `rule` is what a Role would have to grant."""

    def __init__(self, said: str, rule: Mapping[str, list[str]]) -> None:
        self.rule = rule
        super().__init__(f"{said}; a Role must grant: {written(rule)}")


class Conflict(TargetError):
    """It is there already, or has changed meanwhile."""


class Expired(TargetError):
    """What a list or a watch went on from is too old."""


class Held(TargetError):
    """A disruption budget forbids the eviction now."""


@dataclass(frozen=True)
class Listed:
    """`version`: from where a watch goes on."""

    items: list[Json]
    version: str


# --- paths and rules -----------------------------------------------------------------------------------------------


def path(kind: str, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
    """Of `pods`, `deployments.apps`, `podchaos.chaos-mesh.org`, …; a version may follow: `events.events.k8s.io/v1`."""
    kind, _, version = kind.partition("/")
    plural, _, group = kind.partition(".")
    version = version or _VERSIONS.get(group, "v1")
    parts = [f"/apis/{group}/{version}" if group else f"/api/{version}"]
    parts += [f"namespaces/{namespace}"] if namespace else []
    return "/".join([*parts, plural, *([name] if name else []), *([sub] if sub else [])])


def rule(verb: str, where: str) -> dict[str, list[str]]:
    """What a Role would have to say for this verb on this path."""
    parts = where.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    if len(rest) > 2 and rest[0] == "namespaces":
        rest = rest[2:]
    resource = "/".join([rest[0], *rest[2:3]])
    verbs = ["get", "create"] if rest[2:3] in (["attach"], ["exec"]) else [verb]
    return {"apiGroups": [group], "resources": [resource], "verbs": verbs}


def written(rule: Mapping[str, list[str]]) -> str:
    """As it stands in a Role's `rules`."""
    return "{" + ", ".join(f"{key}: {json.dumps(values)}" for key, values in rule.items()) + "}"


# --- one server ----------------------------------------------------------------------------------------------------


def client(place: Place = Place()) -> Api:
    """One for each place; whether it answers is not asked. Raises TargetError if none is to be found."""
    with _CONFIGURING:  # the SDK hands a file of certificates to one thread while another still writes it
        return _client(place)


def system(place: Place) -> dict[str, str]:
    """Which cluster answers there, as an environment's `identity` has it: this uid is made with the cluster, and stays.
    Raises TargetError."""
    return {"kube-system-uid": str(client(place).get(path("namespaces", name="kube-system"))["metadata"]["uid"])}


@cache
def _known(place: Place) -> Mapping[str, str]:
    """As it answered first; empty if this account may not know. Raises TargetError."""
    try:
        return system(place)
    except (Forbidden, Missing):
        return {}


def kept(place: Place) -> dict[str, Any]:
    """What a reference's identity keeps of its cluster: where it is, and which one. Raises TargetError."""
    return {key: value for key, value in (*vars(place).items(), ("system", _known(place))) if value}


def meant(identity: Mapping[str, Any]) -> Place:
    """The place of a cluster that an identity keeps. What one cluster does not have another one may have: raises
    Unavailable if another one answers there by now, as where somebody has changed the current context."""
    place, wanted = Place(identity.get("context"), identity.get("kubeconfig")), identity.get("system")
    if wanted and (there := _known(place)) and there != wanted:
        (key, uid), (_, other) = next(iter(wanted.items())), next(iter(there.items()))
        raise Unavailable(
            f"another cluster answers to {place.words} ({key} {other}) than the one that was meant ({uid}); choose its "
            "context, or say context: in the environment"
        )
    return place


@cache
def _client(place: Place) -> Api:
    from kubernetes import client as sdk
    from kubernetes.config.config_exception import ConfigException
    from yaml import YAMLError

    config: Any = import_module("kubernetes.config")
    settings = sdk.Configuration()
    inside = os.path.exists(f"{SERVICE_ACCOUNT}/token") and not (place.context or place.kubeconfig)  # noqa: PTH110
    plugin = None
    try:
        if inside and not os.environ.get("KUBECONFIG"):
            config.load_incluster_config(client_configuration=settings)
        else:
            # the SDK has read KUBECONFIG when it was imported, which may be long ago
            file = place.kubeconfig or os.environ.get("KUBECONFIG")
            with heard() as complaints:
                config.load_kube_config(file or None, place.context or None, settings, persist_config=False)
            plugin = plugin_of(_file(place), place.context)
    except (ConfigException, OSError, YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise TargetError(_unconfigured(place, error)) from None
    if plugin and complaints:
        raise TargetError(useless(plugin, complaints))
    settings.retries = False
    return Api(sdk.ApiClient(settings), plugin)


def _file(place: Place) -> str:
    return place.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"


def _unconfigured(place: Place, error: Exception) -> str:
    config: Any = import_module("kubernetes.config")
    file = _file(place)
    if wrong := no_kubeconfig(file):
        return (
            f"no cluster: {wrong} is no kubeconfig: it must hold clusters, contexts and users; set KUBECONFIG or write "
            "kubeconfig:"
        )
    try:
        there = ", ".join(sorted(context["name"] for context in config.list_kube_config_contexts(file)[0]))
    except Exception:  # noqa: BLE001 -- whatever it is, the file cannot be read
        return f"no cluster: {file} can't be used ({' '.join(str(error).split())}); set KUBECONFIG or write kubeconfig:"
    wanted = f"there is no context {place.context} in {file}" if place.context else f"{file} names no current context"
    if place.context in there.split(", "):
        wanted = f"the context {place.context} of {file} can't be used: {' '.join(str(error).split())}"
    return f"{wanted}; there are: {there or 'none'}"


@dataclass(eq=False)
class Api:
    """One server, as one user. All calls raise Forbidden, Conflict, Expired, Gone (of pods), Missing, Unavailable."""

    sdk: ApiClient
    plugin: Plugin | None = None
    #: A token that an exec plug-in or a file refreshes is asked for by one thread at a time.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        return str(self.sdk.configuration.host)

    def headers(self) -> dict[str, str]:
        found = {"User-Agent": "veloz-chaos", "Accept": "application/json"}
        with self._lock, heard() as complaints:
            settings = self.sdk.configuration.auth_settings()
        if self.plugin and complaints:
            raise Unavailable(useless(self.plugin, complaints))
        for one in settings.values():
            if one["in"] == "header" and one["value"]:
                found[one["key"]] = one["value"]
        return found

    def get(self, where: str, **query: Any) -> Json:
        return self.ask("GET", where, query=query)

    def post(self, where: str, body: Mapping[str, Any], **query: Any) -> Json:
        return self.ask("POST", where, body, query)

    def put(self, where: str, body: Mapping[str, Any], **query: Any) -> Json:
        return self.ask("PUT", where, body, query)

    def patch(self, where: str, body: Mapping[str, Any] | list[Any], kind: Patch = "merge", **query: Any) -> Json:
        return self.ask("PATCH", where, body, query, f"application/{_PATCHES[kind]}+json")

    def delete(self, where: str, body: Mapping[str, Any] | None = None, **query: Any) -> Json:
        return self.ask("DELETE", where, body, query)

    def listed(self, where: str, **query: Any) -> Listed:
        """Page by page. If the list grows too old in the midst it is begun again, once."""
        for last in (False, True):
            try:
                return self._pages(where, query)
            except Expired:
                if last:
                    raise
        raise AssertionError("unreachable")

    def _pages(self, where: str, query: Mapping[str, Any]) -> Listed:
        items: list[Json] = []
        more: dict[str, Any] = {}
        while True:
            page = self.ask("GET", where, query={**query, "limit": PAGE, **more}, verb="list")
            items += page["items"]
            told = page["metadata"]
            if not told.get("continue"):
                return Listed(items, str(told.get("resourceVersion", "")))
            more = {"continue": told["continue"]}

    def allowed(self, verb: str, where: str) -> bool:
        """May we, by the server's own word (a SelfSubjectAccessReview)?"""
        needed = rule(verb, where)
        resource, _, sub = needed["resources"][0].partition("/")
        parts = where.strip("/").split("/")
        namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts[:-2] else ""
        asked = {"verb": verb, "group": needed["apiGroups"][0], "resource": resource, "subresource": sub}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**asked, "namespace": namespace}},
        }
        answer = self.post(path("selfsubjectaccessreviews.authorization.k8s.io"), review)
        return bool(answer["status"]["allowed"])

    def user(self) -> str:
        """Who we are, by the server's own word (a SelfSubjectReview); empty if it does not tell."""
        kind = "selfsubjectreviews.authentication.k8s.io"
        try:
            answer = self.post(path(kind), {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
            return str(answer["status"]["userInfo"]["username"])
        except (TargetError, KeyError, TypeError):
            return ""

    def ask(
        self,
        method: str,
        where: str,
        body: Mapping[str, Any] | list[Any] | None = None,
        query: Mapping[str, Any] | None = None,
        content: str = "application/json",
        verb: str = "",
    ) -> Json:
        """The answer's JSON. A server that is busy (429) is asked again when it says so, as long as there is time."""
        deadline = time.monotonic() + PATIENCE
        verb = verb or _ASKED[method]
        while True:
            with asking(self.host):
                response = self.sdk.rest_client.pool_manager.request(
                    method,
                    self.host + where + (f"?{urlencode(query)}" if query else ""),
                    body=None if body is None else json.dumps(body).encode(),
                    headers=self.headers() | {"Content-Type": content},
                    timeout=max(deadline - time.monotonic(), 0.1),
                    retries=False,
                )
            if response.status < 300:
                return _parsed(response.data, self.host)
            error = refusal(response.status, response.data, verb, where, self.host)
            wait = _again(response)
            if wait is None or isinstance(error, Held) or time.monotonic() + wait > deadline:
                raise error
            time.sleep(wait)

    def lines(self, where: str, query: Mapping[str, Any], patience: float, stopped: threading.Event) -> Iterator[Json]:
        """What a watch tells, one object each, until the server ends it or nothing comes for `patience` seconds."""
        with asking(self.host):
            response = self.sdk.rest_client.pool_manager.request(
                "GET",
                f"{self.host}{where}?{urlencode(query)}",
                headers=self.headers(),
                timeout=patience,
                retries=False,
                preload_content=False,
            )
            try:
                if response.status >= 300:
                    raise refusal(response.status, response.read(), "watch", where, self.host)
                rest = b""
                for piece in response.stream(None):
                    if stopped.is_set():
                        return
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        yield json.loads(line)
            finally:
                response.close()


# --- what went wrong -----------------------------------------------------------------------------------------------


@contextmanager
def asking(host: str) -> Iterator[None]:
    """Whatever is raised below HTTP becomes a TargetError that says what to do."""
    from kubernetes.config.config_exception import ConfigException
    from urllib3.exceptions import HTTPError, SSLError

    try:
        yield
    except SSLError as error:
        raise Unavailable(f"the API server {host}: {error}; check certificate-authority in the kubeconfig") from error
    except ConfigException as error:
        raise Unavailable(f"the API server {host}: no credentials: {error}; log in to the cluster again") from error
    except (HTTPError, OSError, ValueError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise Unavailable(f"the API server {host} does not answer: {told}") from error


def refusal(status: int, data: bytes, verb: str, where: str, host: str) -> TargetError:
    """What an answer other than success means."""
    said, cause = _said(data)
    if status == 401:
        return Unavailable(f"the API server {host} does not know us ({said}); the token has expired: log in again")
    if status == 403 and "violates PodSecurity" not in said and "is forbidden: User" in said:
        return Forbidden(said, rule(verb, where))
    if status == 404 and "/pods/" in where:
        return Gone(said)
    if status == 404:
        nowhere = re.fullmatch(r'namespaces "(\S+)" not found', said)
        made = f"; create it (kubectl create namespace {nowhere[1]}), or name another one" if nowhere else ""
        return Missing(said + made)
    if status == 429 and "DisruptionBudget" in cause:
        return Held(said)
    kinds: Mapping[int, type[TargetError]] = {409: Conflict, 410: Expired}
    if status in kinds:
        return kinds[status](said)
    if status == 429 or status >= 500:
        return Unavailable(f"the API server {host}: {status} {said}")
    return TargetError(said)


def _said(data: bytes) -> tuple[str, str]:
    """The message of a Status, and its causes."""
    try:
        status = json.loads(data)
        causes = (status.get("details") or {}).get("causes") or []
        return str(status["message"]), ",".join(str(one.get("reason", "")) for one in causes)
    except (ValueError, KeyError, TypeError, AttributeError):
        return data[:200].decode(errors="replace"), ""


def _parsed(data: bytes, host: str) -> Json:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        told = data[:80].decode(errors="replace")
        raise Unavailable(f"something that is no API server answers at {host}: {told}")
    return found


def _again(response: Any) -> float | None:
    """Seconds after which a busy server may be asked again; None if it is not that."""
    if response.status != 429:
        return None
    given = str(response.headers.get("Retry-After", "1"))
    return float(given) if given.isdigit() else 1.0


def selected(labels: Mapping[str, str]) -> str:
    """A label selector as a query has it."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def marked(sign: str, more: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """The labels of whatever we make."""
    return {**OURS, SIGN: sign, **dict(more)}
