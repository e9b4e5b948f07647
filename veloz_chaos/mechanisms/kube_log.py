"""The output of containers as a cluster keeps it: one log for each start, for as long as its pod is there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from veloz_chaos.errors import Gone
from veloz_chaos.mechanisms import kube_pods
from veloz_chaos.mechanisms.kube_api import path
from veloz_chaos.mechanisms.kube_look import Objects, Server
from veloz_chaos.mechanisms.log_tail import LONGEST, Line, parts, stamped


@dataclass(frozen=True)
class Logs:
    """A `log_tail.Source`; a name is that of a pod, of a container in it, and the id of one start."""

    wanted: Objects
    server: Server
    container: str | None = None

    async def listed(self) -> list[str]:
        """Those that run, and those before them of which the cluster still has the log."""
        async with self.server.connected() as ask:
            pods = (await self.wanted.found(ask)).pods or []
        return [name for pod in pods for name in self._starts(pod)]

    async def lines(
        self, container: str, since: int = 0, tail: int | None = None, *, follow: bool = False
    ) -> AsyncIterator[Line]:
        pod, name, start = container.split("/")
        where = path("pods", self.wanted.namespace, pod)
        async with self.server.connected() as ask:
            status = kube_pods.status_of(await ask.get(where), name)
        current = kube_pods.id_of(status) == start
        if not current and (follow or not kube_pods.ended(status, start)):
            raise Gone(f"container {name} of pod {pod} has been started again")
        asked: dict[str, Any] = {"container": name, "timestamps": "true"}
        asked |= {} if current else {"previous": "true"}
        asked |= {"follow": "true"} if follow else {}
        asked |= {} if tail is None else {"tailLines": tail}
        if since:
            asked["sinceTime"] = datetime.fromtimestamp(since // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        rest = b""
        async with self.server.connected() as ask:
            async for data in ask.stream(f"{where}/log", asked):
                *whole, rest = (rest + data).split(b"\n")
                for line in whole:
                    for part in parts(line)[1:]:
                        yield part
                    stamp, text = stamped(line)
                    yield 1, stamp, text[:LONGEST].decode("utf-8", "replace").rstrip("\r")
        for part in parts(rest):
            yield part

    def _starts(self, pod: Mapping[str, Any]) -> list[str]:
        name = kube_pods.chosen(pod, self.container)
        status = kube_pods.status_of(pod, name) if name else {}
        before = ((status.get("lastState") or {}).get("terminated") or {}).get("containerID") or ""
        starts = [str(before).rpartition("://")[2], kube_pods.id_of(status)]
        return [f"{kube_pods.name_of(pod)}/{name}/{start}" for start in starts if start]
