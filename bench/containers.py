"""What the Docker bench stands on: containers of its own on a network of its own, and looks from inside them.

Needs the Engine on this machine, and root: looks are made in a container's network namespace by `nsenter`, beside
everything that is measured. Run as a program, in such a namespace, it is the one that looks:

    python -m bench.containers observe HOST PORT        # one request after the other, each on a new connection
    python -m bench.containers drive HOST PORT RATE SECONDS
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from bench import stand
from bench.http_proxy import ANSWER, REQUEST, drive
from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms import docker_api, helper_container

IMAGE = "python:3.11-slim"
MARK = "veloz-chaos.bench"
PORT = 8000
#: Seconds between two looks, and until one is given up.
EVERY, PATIENCE = 0.02, 0.25
SERVER = f"""
import asyncio
ANSWER = {ANSWER!r}
class Upstream(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(ANSWER * data.count(b"\\r\\n\\r\\n"))
async def main():
    server = await asyncio.get_running_loop().create_server(Upstream, "0.0.0.0", {PORT})
    await server.serve_forever()
asyncio.run(main())
"""
IDLE = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"


@dataclass
class Stand:
    """A server, and what is made of it; all of it goes when the bench ends."""

    name: str
    server: str = ""
    address: str = ""
    published: int = 0
    made: list[str] = field(default_factory=list)

    @property
    def api(self) -> Any:
        return docker_api.client()

    def container(self, alias: str, code: str, *, labels: dict[str, str] | None = None, restart: str = "no") -> str:
        """The id of one that runs."""
        host = self.api.create_host_config(
            network_mode=self.name, restart_policy={"Name": restart}, port_bindings={PORT: ("127.0.0.1", None)}
        )
        networking = self.api.create_networking_config({self.name: self.api.create_endpoint_config(aliases=[alias])})
        made = str(
            self.api.create_container(
                IMAGE, ["python3", "-u", "-c", code], name=f"{self.name}-{alias}", ports=[PORT], host_config=host,
                networking_config=networking, labels={MARK: self.name, **(labels or {})},
            )["Id"]
        )  # fmt: skip
        self.made.append(made)
        self.api.start(made)
        return made

    def pid(self, container: str) -> int:
        return int(self.api.inspect_container(container)["State"]["Pid"])

    def remove(self, container: str) -> None:
        self.api.remove_container(container, force=True)
        self.made.remove(container)


@contextmanager
def standing() -> Iterator[Stand]:
    try:
        api = docker_api.client()
    except TargetError as error:
        sys.exit(str(error))
    if os.geteuid() != 0:
        sys.exit("this bench looks into network namespaces, which needs root")
    made = Stand(f"vcb-{os.getpid()}")
    network = api.create_network(made.name, labels={MARK: made.name})["Id"]
    try:
        made.server = made.container("server", SERVER)
        about = api.inspect_container(made.server)["NetworkSettings"]
        made.address = about["Networks"][made.name]["IPAddress"]
        made.published = int(about["Ports"][f"{PORT}/tcp"][0]["HostPort"])
        _until_served(made)
        yield made
    finally:
        for container in list(made.made):
            with suppress(Exception):
                api.remove_container(container, force=True)
        api.remove_network(network)


def _until_served(made: Stand) -> None:
    deadline = time.monotonic() + 20
    while look(made.address, PORT) is None:
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.05)


# --- looks -------------------------------------------------------------------------------------------------------


def look(host: str, port: int) -> float | None:
    """Seconds from the first byte sent to the last one answered, by a new connection; None without an answer."""
    with suppress(OSError), socket.create_connection((host, port), PATIENCE) as connection:
        connection.settimeout(PATIENCE)
        begun, came = time.monotonic(), 0
        connection.sendall(REQUEST)
        while came < len(ANSWER):
            piece = connection.recv(4096)
            if not piece:
                return None
            came += len(piece)
        return time.monotonic() - begun
    return None


class Observer:
    """Looks from inside a container without end; `hurt` says what the latest one that was asked after `since` saw."""

    def __init__(self, pid: int, host: str) -> None:
        command = ["nsenter", "-t", str(pid), "-n", sys.executable, "-u", "-m", "bench.containers", "observe"]
        self._process = subprocess.Popen([*command, host, str(PORT)], stdout=subprocess.PIPE, cwd=stand.ROOT, text=True)
        self._looks: list[tuple[float, float | None]] = []
        threading.Thread(target=self._read, daemon=True).start()
        while not self._looks:
            time.sleep(0.01)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            asked, seconds = json.loads(line)
            self._looks.append((asked, seconds))

    def hurt(self, since: float) -> bool | None:
        """None: nothing was asked since."""
        later = [seconds for asked, seconds in self._looks[-20:] if asked >= since]
        return later[-1] is None or later[-1] > 0.1 if later else None

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def rules(pid: int) -> list[str]:
    """What of ours is in a network namespace: rules of iptables, and queueing disciplines beside the usual ones."""
    found: list[str] = []
    for command in (["iptables-save"], ["ip6tables-save"], ["tc", "qdisc", "show"]):
        told = subprocess.run(["nsenter", "-t", str(pid), "-n", *command], capture_output=True, text=True, check=False)
        found += [line for line in told.stdout.splitlines() if re.search(r"\bvc-|netem|NFQUEUE| tbf | htb ", line)]
    return found


def helpers(container: str, *, looking: bool = True) -> list[str]:
    """The names of the helper containers beside one; those that only look (the guardian's, say) count or not."""
    found = helper_container.find(docker_api.client(), target=container)
    signs = (docker_api.name_of(one) for one in found if looking or not _looks(one["Labels"][docker_api.SIGN]))
    return list(signs)


def _looks(sign: str) -> bool:
    return sign.startswith(helper_container.LOOKS)


def left(container: str, pid: int) -> list[str]:
    """All that a fault leaves on a container, beside its effect."""
    return [*helpers(container, looking=False), *rules(pid)]


def watching(pid: int, ended: list[float]) -> threading.Thread:
    """Notes the moment (monotonic, seconds) at which a process ends. It is watched for when this returns."""
    file = os.pidfd_open(pid)

    def wait() -> None:
        if select.select([file], [], [], 10)[0]:
            ended.append(time.monotonic())
        os.close(file)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def driven(pid: int, host: str, rate: int, seconds: float) -> list[float]:
    """Seconds of each request of an open flow from inside a container."""
    command = ["nsenter", "-t", str(pid), "-n", sys.executable, "-m", "bench.containers", "drive"]
    told = subprocess.run(
        [*command, host, str(PORT), str(rate), str(seconds)], capture_output=True, text=True, cwd=stand.ROOT, check=True
    )
    return [float(one) for one in json.loads(told.stdout)]


def main() -> None:
    what, host, port, *rest = sys.argv[1:]
    if what == "drive":
        rate, seconds = int(rest[0]), float(rest[1])
        print(json.dumps(asyncio.run(drive(int(port), rate, seconds, host))))
        return
    while True:
        asked = time.monotonic()
        print(json.dumps([asked, look(host, int(port))]), flush=True)
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
