"""The watcher: tells a Prometheus what the platform knows of the services, as the supervisor does of processes.

It asks the Docker Engine (by its socket, VELOZ_DOCKER) or the cluster around it (by the pod's account) whenever that
reports that something happened, and answers GET /metrics. When the platform does not answer it ends, and is started
again: a target that is down is seen, numbers that no longer change are not.

Of Docker's host it sees all processes, and so how much CPU those want that share the gateway's limit, whoever put them
there; a pod sees its own.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread
from typing import Any, Protocol
from urllib.parse import quote

from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import plain_http, process, service_metrics
from veloz_chaos.sandbox.cpu_demand import CpuDemand
from veloz_chaos.sandbox.deaths import Deaths, Incarnation, reason
from veloz_chaos.sandbox.docker import PROJECT, SOCKET
from veloz_chaos.sandbox.kubernetes import NAME
from veloz_chaos.sandbox.limits import LIMITED
from veloz_chaos.sandbox.settings import EVERYWHERE, PORTS, in_pod

#: What a container's end and beginning are called by the engine, and when its health is another one.
HAPPENED = ("die", "oom", "start", "destroy", "health_status")
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: Seconds: for an answer. It is asked at least so often, whatever it reports.
PATIENCE = 5.0
#: So often in a row it may answer too late.
LATE = 5
#: Characters of an answer that is passed on.
SAID = 200


class Missing(ValueError):
    """What was asked for is not there."""


class Platform(Protocol):
    #: What is told besides.
    def more(self) -> str: ...

    def look(self) -> list[Incarnation]: ...

    def events(self) -> http.client.HTTPResponse:
        """A line for each thing that happened since it was asked."""
        ...


# --- Docker -----------------------------------------------------------------------------------------------------------


class Docker:
    """The containers of a Compose project, by the engine whose socket is at that place."""

    def __init__(self, place: str, project: str = PROJECT) -> None:
        self._place, self._filter = place, [f"com.docker.compose.project={project}"]
        self._limited, self._cpus = "", 0.0
        self._cpu = CpuDemand(lambda: members(self._limited) if self._limited else ())

    def more(self) -> str:
        return service_metrics.of_cpu(self._cpu.seconds(), self._cpus) if self._limited else ""

    def look(self) -> list[Incarnation]:
        filters = {"label": self._filter}
        listed = _json(self._connection(), f"/containers/json?all=1&filters={quote(json.dumps(filters))}")
        return [found for one in listed for found in self._inspected(one["Id"])]

    def _inspected(self, container: str) -> Iterator[Incarnation]:
        with suppress(Missing):  # it was removed just now
            said = _json(self._connection(), f"/containers/{container}/json")
            found = of_container(said)
            if found.service == LIMITED:
                self._limited, self._cpus = container, said["HostConfig"]["NanoCpus"] / 1e9 or float("inf")
            yield found

    def events(self) -> http.client.HTTPResponse:
        filters = {"label": self._filter, "event": HAPPENED}
        return _asked(self._connection(), f"/events?filters={quote(json.dumps(filters))}")

    def _connection(self) -> http.client.HTTPConnection:
        return _Local(self._place)


class _Local(http.client.HTTPConnection):
    """HTTP over a socket of this machine."""

    def __init__(self, place: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._place = place

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._place)


def of_container(said: Mapping[str, Any]) -> Incarnation:
    """From what `docker inspect` says of it. One that waits to be started again is still called running."""
    state = said["State"]
    runs = state["Running"] and not state.get("Restarting", False)
    service = said["Config"]["Labels"]["com.docker.compose.service"]
    serves = runs and state.get("Health", {}).get("Status", "healthy") == "healthy"
    ended = not runs or state["OOMKilled"]
    why = reason(state["ExitCode"], state["OOMKilled"]) if ended else ""
    return Incarnation(service, f"{said['Id']} {state['StartedAt']}", runs, serves, why)


def members(container: str, root: Path = Path("/proc")) -> Iterator[int]:
    """The processes whose CPU is limited with that container's: its own, and whoever was put into its control group."""
    for folder in root.iterdir():
        if folder.name.isdigit() and container in _of_cpu(folder / "cgroup"):
            yield int(folder.name)


def _of_cpu(file: Path) -> str:
    """The control group that limits a process's CPU; "" of one that has just ended."""
    try:
        lines = [line.split(":", 2) for line in file.read_text().splitlines()]
    except OSError:
        return ""
    groups = {name: path for _, names, path in lines for name in names.split(",")}
    return groups.get("cpu", groups.get("", ""))


# --- Kubernetes -------------------------------------------------------------------------------------------------------


class Kubernetes:
    """The pods of the namespace that we are in, by the account that our pod has."""

    def __init__(self, host: str, port: int, account: Path = ACCOUNT) -> None:
        self._host, self._port, self._account = host, port, account
        self._trust = ssl.create_default_context(cafile=str(account / "ca.crt"))
        self._pods = f"/api/v1/namespaces/{(account / 'namespace').read_text()}/pods"

    def more(self) -> str:
        return ""

    def look(self) -> list[Incarnation]:
        listed = _json(self._connection(), self._pods, self._token())
        return [one for pod in listed["items"] for one in of_pod(pod)]

    def events(self) -> http.client.HTTPResponse:
        now = _json(self._connection(), f"{self._pods}?limit=1", self._token())["metadata"]["resourceVersion"]
        return _asked(self._connection(), f"{self._pods}?watch=1&resourceVersion={now}", self._token())

    def _token(self) -> dict[str, str]:
        """The kubelet renews it."""
        return {"Authorization": f"Bearer {(self._account / 'token').read_text()}"}

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPSConnection(self._host, self._port, timeout=PATIENCE, context=self._trust)


def of_pod(said: Mapping[str, Any]) -> Iterator[Incarnation]:
    """Its containers' incarnations, the last one before included, from the pod as the API has it."""
    service = said["metadata"].get("labels", {}).get(NAME, said["metadata"]["name"])
    for one in said["status"].get("containerStatuses", ()):
        for state in (one["state"], one.get("lastState", {})):
            if "running" in state:
                yield Incarnation(service, one["containerID"], True, one["ready"])
            if (ended := state.get("terminated")) and ended.get("containerID"):
                why = reason(ended["exitCode"], ended.get("reason") == "OOMKilled")
                yield Incarnation(service, ended["containerID"], False, False, why)


# --- both -------------------------------------------------------------------------------------------------------------


def _asked(
    connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str] | None = None
) -> http.client.HTTPResponse:
    """Raises OSError, HTTPException, ValueError."""
    connection.request("GET", path, headers=dict(headers or {}))
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        said = answer.read()[:SAID].decode(errors="replace")
        raise (Missing if answer.status == http.client.NOT_FOUND else ValueError)(f"{path}: {answer.status} {said}")
    return answer


def _json(connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str] | None = None) -> Any:
    """Raises OSError, HTTPException, ValueError."""
    with closing(connection):
        return json.load(_asked(connection, path, headers))


def follow(platform: Platform, deaths: Deaths) -> None:
    """Look whenever something happened, and when nothing did; for ever. One that is late now and then is asked again.
    Raises OSError, HTTPException, ValueError."""
    late = 0
    while True:
        try:
            with platform.events() as events:
                deaths.saw(platform.look())
                late = 0
                while events.readline():
                    deaths.saw(platform.look())
        except TimeoutError:
            late += 1
            if late > LATE:
                raise


def of(environment: Mapping[str, str]) -> Platform:
    """The cluster that we are a pod of, or the engine. Raises UsageError."""
    if in_pod(environment):
        return Kubernetes(environment["KUBERNETES_SERVICE_HOST"], int(environment["KUBERNETES_SERVICE_PORT"]))
    place = environment.get("VELOZ_DOCKER", SOCKET)
    if not Path(place).is_socket():
        raise UsageError(f"there is no socket of a Docker Engine at {place}; mount it there")
    return Docker(place)


def main(environment: Mapping[str, str]) -> None:
    platform, deaths = of(environment), Deaths()
    Thread(target=_until_it_fails, args=(platform, deaths), name="follow", daemon=True).start()
    asyncio.run(_serve(platform, deaths))


def _until_it_fails(platform: Platform, deaths: Deaths) -> None:
    try:
        follow(platform, deaths)
    except Exception as error:  # noqa: BLE001 -- it ends in any case, and says why
        print(f"the platform does not answer as it should: {type(error).__name__}: {error}", flush=True)
    finally:
        os._exit(1)


async def _serve(platform: Platform, deaths: Deaths) -> None:
    stop = process.stop_on_sigterm()
    answers = {"/metrics": lambda: service_metrics.of_services(deaths.told) + platform.more()}
    async with await plain_http.serve(PORTS["supervisor"], answers, EVERYWHERE):
        await stop.wait()
