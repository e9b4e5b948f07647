"""Looking at pods, workloads and nodes: plain requests to the API server on one connection of the look's own.

A look may come every 100 ms, and a server that hangs must hold no thread, so the SDK is not in its way. Where the
server is and who we are is `kube_api`'s to know.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass as plain
from dataclasses import replace
from functools import partial
from typing import Any, Self
from urllib.parse import SplitResult, urlencode

import h11
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.errors import TargetError, Unavailable, UsageError
from veloz_chaos.mechanisms import http, kube_api, kube_objects
from veloz_chaos.mechanisms.aside import aside
from veloz_chaos.mechanisms.kube_api import PAGE, Api, Json, Place, path

#: Bytes of one answer.
LIMIT = 32 << 20


@dataclass(config=ConfigDict(extra="forbid"))
class Objects:
    """Exactly one of owner (`deployment/gateway`, all its pods), selector (labels), pod (a name), with their namespace,
    and node; `service`: the Service whose endpoints are counted as well. `context`, `kubeconfig`: which cluster."""

    namespace: str | None = None
    owner: str | None = None
    selector: dict[str, str] | None = None
    pod: str | None = None
    node: str | None = None
    service: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(bool(way) for way in (self.owner, self.selector, self.pod, self.node)) != 1:
            raise ValueError("write exactly one of owner, selector, pod and node")
        if (self.namespace is None) != (self.node is not None):
            raise ValueError("write namespace: as well" if self.node is None else "a node is in no namespace")
        if self.node is not None and self.service is not None:
            raise ValueError("service: goes with pods, not with a node")
        if self.owner is not None and "${" not in self.owner:
            kube_objects.owner(self.owner)
        return self

    def filled(self, fill: Callable[[str], str]) -> Self:
        """Raises UsageError."""
        texts = {key: fill(value) for key, value in vars(self).items() if isinstance(value, str)}
        labels = {key: fill(value) for key, value in self.selector.items()} if self.selector else None
        try:
            return replace(self, **texts, selector=labels)
        except ValueError as error:
            raise UsageError(str(error)) from None

    @property
    def place(self) -> Place:
        return Place(self.context, self.kubeconfig)

    async def found(self, ask: Ask) -> Found:
        """Raises Missing or Gone if the one thing that is named is not there, TargetError."""
        if self.node is not None:
            return Found(node=await ask.get(path("nodes", name=self.node)))
        pods, workload = path("pods", self.namespace), None
        if self.owner is not None:
            workload = await ask.get(kube_objects.owner(self.owner).path(str(self.namespace)))
            mine = partial(kube_objects.owns, workload)
            found = list(filter(mine, await ask.listed(pods, labelSelector=kube_objects.selector(workload))))
        elif self.pod is not None:
            found = [await ask.get(f"{pods}/{self.pod}")]
        else:
            found = await ask.listed(pods, labelSelector=kube_api.selected(self.selector or {}))
        return Found(found, workload, None if self.service is None else await self._slices(ask, self.service))

    async def _slices(self, ask: Ask, service: str) -> list[Json]:
        where = path("endpointslices.discovery.k8s.io", self.namespace)
        return await ask.listed(where, labelSelector=f"kubernetes.io/service-name={service}")


@plain(frozen=True)
class Found:
    """`workload`, `slices`, `node`: if they were asked for."""

    pods: list[Json] | None = None
    workload: Json | None = None
    slices: list[Json] | None = None
    node: Json | None = None


@plain(frozen=True)
class Server:
    """Raises Forbidden, Missing, Gone, Unavailable, TargetError. Unbounded in time: the look is bounded."""

    api: Api
    way: http.Way

    @classmethod
    def of(cls, place: Place) -> Server:
        """Reads the kubeconfig; blocks for as long as that takes. Raises UsageError."""
        try:
            api = kube_api.client(place)
        except TargetError as error:
            raise UsageError(str(error)) from None
        settings = api.sdk.configuration
        if settings.proxy or settings.tls_server_name:
            raise UsageError(
                f"{api.host}: a probe reaches an API server by its own name and without a proxy; forward a port of it "
                "and name that in a context of its own"
            )
        pair = (settings.cert_file, settings.key_file) if settings.cert_file and settings.key_file else None
        return cls(api, http.Way(settings.ssl_ca_cert, bool(settings.verify_ssl), None, pair))

    async def open(self) -> None:
        await self.way.open(self.api.host)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Ask]:
        """One connection, for as many questions as a look has."""
        url, host = http.split(self.api.host), self.api.host
        with kube_api.asking(host):
            headers = await aside(self.api.headers, Exception)
        try:
            reader, writer = await self.way.connect(url)
            try:
                yield Ask(host, url, headers, h11.Connection(our_role=h11.CLIENT), (reader, writer))
            finally:
                writer.transport.abort()
        except (EOFError, h11.ProtocolError):
            raise Unavailable(f"the API server {host} broke off") from None
        except TimeoutError:
            raise
        except OSError as error:
            raise Unavailable(f"the API server {host} does not answer: {http.why(error)}") from None


@plain(frozen=True)
class Ask:
    """The questions on one connection, one after another."""

    host: str
    url: SplitResult
    headers: Mapping[str, str]
    connection: h11.Connection
    streams: http.Streams

    async def get(self, where: str, /, **query: Any) -> Json:
        return await self._asked(where, query, "get")

    async def listed(self, where: str, /, **query: Any) -> list[Json]:
        items: list[Json] = []
        more: dict[str, Any] = {}
        while True:
            page = await self._asked(where, {**query, "limit": PAGE, **more}, "list")
            items += page["items"]
            if not page["metadata"].get("continue"):
                return items
            more = {"continue": page["metadata"]["continue"]}

    async def stream(self, where: str, query: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """The body of an answer as it comes; nothing where there is nothing to tell yet (400)."""
        self._send(where, query)
        status, refused = 0, bytearray()
        while not isinstance(event := await http.next_event(self.streams[0], self.connection), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                if status < 300:
                    yield bytes(event.data)
                else:
                    refused += event.data
        if status >= 300 and status != 400:
            raise kube_api.refusal(status, bytes(refused), "get", where, self.host)

    def _send(self, where: str, query: Mapping[str, Any]) -> None:
        target = self.url.path.rstrip("/") + where + (f"?{urlencode(query)}" if query else "")
        if self.connection.our_state is h11.DONE:
            self.connection.start_next_cycle()
        head = h11.Request(method="GET", target=target, headers=[("Host", self.url.netloc), *self.headers.items()])
        self.streams[1].write(http.wire(self.connection, head, b""))

    async def _asked(self, where: str, query: Mapping[str, Any], verb: str) -> Json:
        self._send(where, query)
        status, data = await self._answer()
        if status >= 300:
            raise kube_api.refusal(status, data, verb, where, self.host)
        try:
            return dict(json.loads(data))
        except (ValueError, TypeError):
            raise Unavailable(f"something that is no API server answers at {self.host}") from None

    async def _answer(self) -> tuple[int, bytes]:
        status, data = 0, bytearray()
        while not isinstance(event := await http.next_event(self.streams[0], self.connection), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                data += event.data
            if len(data) > LIMIT:
                raise TargetError(f"the API server {self.host}: an answer of more than {LIMIT >> 20} MB; select less")
        return status, bytes(data)
