"""Looking at containers: one plain request to the Docker Engine on a connection of its own, beside no SDK.

A look may come every 100 ms, so neither the SDK's 130 ms to import nor its threads are in its way. Where an engine is,
and by which certificates, is `docker_api`'s to know.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass as plain
from dataclasses import replace
from typing import Any, Self
from urllib.parse import quote, urlencode

import h11
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.errors import Gone, TargetError, Unavailable, UsageError
from veloz_chaos.mechanisms import http
from veloz_chaos.mechanisms.docker_api import Place, Wanted, eldest_first, eligible, endpoint

#: Bytes of a listing or an inspection.
LIMIT = 8 << 20


@dataclass(config=ConfigDict(extra="forbid"))
class Containers:
    """Exactly one of name, label (`key` or `key=value`), and project with service; `host` or `context`: which engine,
    if not the one that Docker's command line would take."""

    name: str | None = None
    label: str | None = None
    project: str | None = None
    service: str | None = None
    host: str | None = None
    context: str | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.project is None) != (self.service is None):
            raise ValueError("write project and service together")
        if sum(way is not None for way in (self.name, self.label, self.project)) != 1:
            raise ValueError("write exactly one of name, label, and project with service")
        if self.host is not None and self.context is not None:
            raise ValueError("write host or context, not both")
        return self

    def filled(self, fill: Callable[[str], str]) -> Containers:
        return replace(self, **{key: fill(value) for key, value in vars(self).items() if isinstance(value, str)})

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.name, self.label, self.project, self.service)


@plain(frozen=True)
class Engine:
    """Raises Gone (404), Unavailable (no answer, with why), TargetError (any other refusal); OSError of our own
    machine's. Unbounded in time: the look is bounded."""

    host: str
    url: str
    way: http.Way

    @classmethod
    def of(cls, containers: Containers) -> Engine:
        """Reads contexts and certificates' places; blocks for as long as that takes. Raises UsageError."""
        try:
            end = endpoint(Place(containers.host, containers.context))
        except TargetError as error:
            raise UsageError(str(error)) from None
        pair = (end.cert, end.key) if end.cert and end.key else None
        kind, _, rest = end.host.partition("://")
        if kind == "unix":
            return cls(end.host, "http://docker", http.Way(unix=rest))
        if kind not in ("tcp", "http", "https"):
            raise UsageError(
                f"{end.host}: a probe reaches an engine by unix:// or tcp:// only; forward its socket "
                "(`ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST`) and write host: unix:///tmp/docker.sock"
            )
        secure = end.tls or kind == "https"
        return cls(
            end.host, f"{'https' if secure else 'http'}://{rest}".rstrip("/"), http.Way(end.ca, end.verify, None, pair)
        )

    async def get(self, path: str, /, **query: Any) -> Any:
        """The JSON of the answer."""
        async with self.asked("GET", path, query) as (_, body):
            data = b"".join([part async for part in body])
        try:
            return json.loads(data)
        except ValueError:
            raise Unavailable(f"no engine at {self.host}: it answers no JSON") from None

    async def head(self, path: str, /, **query: Any) -> Mapping[str, str]:
        """The headers of the answer, by lower-case name."""
        async with self.asked("HEAD", path, query) as (headers, _):
            return headers

    @asynccontextmanager
    async def asked(
        self, method: str, path: str, query: Mapping[str, Any]
    ) -> AsyncIterator[tuple[Mapping[str, str], AsyncIterator[bytes]]]:
        """The headers of the answer, and its body as it comes."""
        text = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        head, _ = http.request(method, http.split(text), {})
        try:
            reader, writer = await self.way.connect(http.split(text))
            try:
                connection = h11.Connection(our_role=h11.CLIENT)
                writer.write(http.wire(connection, head, b""))
                response = await self._response(reader, connection)
                body = _body(reader, connection)
                if response.status_code >= 300:
                    raise _refusal(response.status_code, b"".join([part async for part in body]), self.host)
                yield http.joined(response), body
            finally:
                writer.transport.abort()
        except (EOFError, h11.RemoteProtocolError):
            raise Unavailable(f"no engine at {self.host}: it broke off") from None
        except PermissionError:
            raise Unavailable(
                f"no engine at {self.host}: permission denied; add yourself to the group docker"
            ) from None
        except OSError as error:
            raise Unavailable(f"no engine at {self.host}: {http.why(error)}") from None

    async def _response(self, reader: asyncio.StreamReader, connection: h11.Connection) -> h11.Response:
        while not isinstance(event := await http.next_event(reader, connection), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise EOFError
        return event

    # --- containers ------------------------------------------------------------------------------------------------

    async def listed(self, wanted: Wanted) -> list[dict[str, Any]]:
        """Whether they run or not, eldest first; neither helpers of ours nor one-off runs."""
        found = await self.get("/containers/json", all=1, filters=json.dumps(wanted.filters()))
        mine = [one for one in found if eligible(one["Labels"] or {})]
        return sorted(mine, key=lambda one: (one["Created"], one["Id"]))

    async def inspected(self, wanted: Wanted) -> list[dict[str, Any]]:
        """The same with the engine's whole word on each. What is removed while we look is left out."""
        if wanted.name is not None:
            with suppress(Gone):
                found = await self.get(f"/containers/{quote(wanted.name, safe='')}/json")
                return [found] if found["Name"] == f"/{wanted.name}" else []
            return []
        ids = [one["Id"] for one in await self.listed(wanted)]
        found = await asyncio.gather(*map(self._inspect, ids))
        return eldest_first(one for one in found if one is not None)

    async def _inspect(self, container: str) -> dict[str, Any] | None:
        with suppress(Gone):
            return dict(await self.get(f"/containers/{container}/json"))
        return None


async def _body(reader: asyncio.StreamReader, connection: h11.Connection) -> AsyncIterator[bytes]:
    """Raises EOFError where it breaks off."""
    while not isinstance(event := await http.next_event(reader, connection), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            yield bytes(event.data)


def _refusal(status: int, body: bytes, host: str) -> TargetError:
    said = body.decode("utf-8", "replace").strip()[:300]
    with suppress(ValueError, TypeError, KeyError):
        said = str(json.loads(body)["message"])
    if status == 404:
        return Gone(said or "missing")
    text = f"the engine at {host} refuses ({status}): {said}"
    return Unavailable(text) if status >= 500 else TargetError(text)


def running(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of a listing."""
    return [one for one in found if one["State"] in ("running", "paused")]
