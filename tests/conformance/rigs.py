"""A rig starts a real thing that a backend can hurt, and knows how to replace it and take it away behind our back."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest

from tests.infra import containers, upstreams
from tests.infra.require import absent
from tests.infra.toxiproxy import Admin, Server, free_port, program
from tests.kubernetes.lab import answers, kubeconfig, lab, until
from veloz_chaos.core.capability import (
    Delayable,
    Exhaustible,
    Fillable,
    Killable,
    Pausable,
    Pressable,
    Reference,
    Saturable,
    Severable,
    Target,
    Wipeable,
)
from veloz_chaos.errors import Missing, TargetError
from veloz_chaos.mechanisms import helper_container, straining
from veloz_chaos.mechanisms.contained_link import LinePing
from veloz_chaos.mechanisms.kube_api import path
from veloz_chaos.targets import (
    dns_proxy,
    docker,
    docker_link,
    fake,
    http_proxy,
    kubernetes_node,
    kubernetes_policy,
    kubernetes_workload,
    process,
    toxiproxy,
)

numbers = itertools.count(1)
CGROUPS = Path("/sys/fs/cgroup")


class Backend(Protocol):
    """The module of a target."""

    def reopen(self, reference: Reference) -> Target: ...


class Rig(ABC):
    """One thing under test. `kind` says what it can bear."""

    kind: type[Target]
    backend: Backend
    #: which backends of the tests it wants
    marks: ClassVar[tuple[pytest.MarkDecorator, ...]] = ()
    #: what of its kind's capabilities it is for; none: all of them
    capabilities: ClassVar[tuple[type[Target], ...]] = ()
    #: fault -> arguments, where it can't do those of the others
    examples: ClassVar[Mapping[str, list[dict[str, Any]]]] = {}

    def __init__(self, folder: Path) -> None:
        self.folder, self.stack = folder, ExitStack()

    @classmethod
    def bears(cls, capability: type[Target]) -> bool:
        return issubclass(cls.kind, capability) and (not cls.capabilities or capability in cls.capabilities)

    @abstractmethod
    def begin(self) -> None: ...

    def stop(self) -> None:
        self.stack.close()

    @abstractmethod
    def target(self) -> Target:
        """Found afresh, in a new object."""

    @abstractmethod
    def replace(self) -> None:
        """Another incarnation takes its place under the same name."""

    @abstractmethod
    def remove(self) -> None:
        """It is gone for good."""

    def traces(self) -> list[str]:
        """What an independent look finds done to it."""
        return []


class SharedRig(Rig):
    """Behind a server's API, which others use as well."""

    process: subprocess.Popen[bytes]

    @abstractmethod
    def add_foreign(self) -> str:
        """Somebody else's toxic, which does no harm; its name as `traces` shows it."""


class LinkRig(SharedRig):
    """A link that real sockets can use."""

    send = b""

    @abstractmethod
    def dial(self) -> socket.socket: ...


CHILD = """
import socket, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    for line in connection.makefile("rb"):
        connection.sendall(b"PONG\\n")
"""


class ProcessRig(Rig):
    kind, backend = process.Process, process
    capabilities: ClassVar[tuple[type[Target], ...]] = (Killable, Pausable)

    def begin(self) -> None:
        self.pidfile = self.folder / "child.pid"
        child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE)
        self.stack.callback(self._end, child)
        assert child.stdout
        self.child, self.port = child, int(child.stdout.readline())
        self.pidfile.write_text(f"{child.pid}\n")

    def target(self) -> Target:
        return process.find("child", process.Selector(pidfile=str(self.pidfile)))[0]

    def replace(self) -> None:
        self.remove()
        self.begin()

    def remove(self) -> None:
        self._end(self.child)

    def traces(self) -> list[str]:
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return ["stopped"] if "State:\tT" in status else []

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> None:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


class VolumeRig(ProcessRig):
    """A process with a volume that may be wiped. Both are replaced together."""

    capabilities: ClassVar[tuple[type[Target], ...]] = (Wipeable,)

    def begin(self) -> None:
        super().begin()
        self.volume = self.folder.resolve() / "data"
        (self.volume / "deep" / "er").mkdir(parents=True)
        (self.volume / "deep" / "er" / "file").write_text("x")
        (self.volume / ".hidden").write_text("x")
        (self.folder / "beside").write_text("x")
        (self.volume / "link").symlink_to(self.folder / "beside")

    def target(self) -> Target:
        volumes = {"data": process.OwnVolume(path=str(self.volume), wipe=True)}
        return process.find("child", process.Selector(pidfile=str(self.pidfile), volumes=volumes))[0]

    def replace(self) -> None:
        self._end(self.child)
        self.volume.rename(self.folder / "former")  # so that its number is not given again at once
        self.begin()

    def remove(self) -> None:
        self._end(self.child)
        shutil.rmtree(self.volume)

    def traces(self) -> list[str]:
        beside = [] if (self.folder / "beside").exists() else ["beside"]
        return beside + ([] if len(list(self.volume.iterdir())) == 3 else ["wiped"])


class LimitedRig(ProcessRig):
    """A process with limits of its own: control groups for memory and CPU, a volume in its own mount namespace."""

    capabilities: ClassVar[tuple[type[Target], ...]] = (Saturable, Pressable, Exhaustible, Fillable)
    JOIN = (
        'for group in $1; do echo 0 > "$group" || exit 125; done; '
        'mount -t tmpfs -o size=4m rig "$2" && shift 2 && exec "$@"'
    )

    def begin(self) -> None:
        if os.geteuid() != 0:
            absent("root", "control groups and mounts need it")
        self.pidfile, self.volume = self.folder / "child.pid", self.folder / "volume"
        self.volume.mkdir(exist_ok=True)
        self.groups = self._limits()
        joins = " ".join(str(group / "cgroup.procs") for group in self.groups)
        script = ["unshare", "--mount", "sh", "-c", self.JOIN, "sh", joins, str(self.volume)]
        child = subprocess.Popen(
            [*script, sys.executable, "-c", "held = b'x' * (16 << 20)\n" + CHILD], stdout=subprocess.PIPE
        )
        self.stack.callback(self._end, child)
        assert child.stdout
        self.child, self.port = child, int(child.stdout.readline())
        self.pidfile.write_text(f"{child.pid}\n")

    def _limits(self) -> list[Path]:
        """New groups: one for memory and one for the CPU in version 1, one for both in version 2."""
        if (CGROUPS / "cgroup.controllers").exists():
            (CGROUPS / "cgroup.subtree_control").write_text("+memory +cpu")
            return [self._group(CGROUPS, {"memory.max": "96M", "memory.swap.max": "0", "cpu.max": "60000 100000"})]
        cpu = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "60000"}
        return [self._group(CGROUPS / "memory", {"memory.limit_in_bytes": "96M"}), self._group(CGROUPS / "cpu", cpu)]

    def _group(self, parent: Path, limits: Mapping[str, str]) -> Path:
        group = parent / f"vc-test-{os.getpid()}-{next(numbers)}"
        if not parent.is_dir():
            absent("root", "this machine has no control groups")
        group.mkdir()
        self.stack.callback(self._remove, group)
        for name, value in limits.items():
            if (group / name).exists():  # a kernel may count no swap
                (group / name).write_text(value)
        return group

    @staticmethod
    def _remove(group: Path) -> None:
        """With whatever is still in it: its processes are this rig's."""
        deadline = time.monotonic() + 30
        while pids := (group / "cgroup.procs").read_text().split():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            assert time.monotonic() < deadline, pids
            time.sleep(0.01)
        group.rmdir()

    def target(self) -> Target:
        volumes = {"logs": process.OwnVolume(path=str(self.volume))}
        return process.find("child", process.Selector(pidfile=str(self.pidfile), volumes=volumes))[0]

    def traces(self) -> list[str]:
        return straining.on(self.child.pid)


class UnlimitedRig(LimitedRig):
    """A process pinned to one CPU, its volume a folder of declared size: what there is without root."""

    def begin(self) -> None:
        self.volume = self.folder / "volume"
        self.volume.mkdir(exist_ok=True)
        ProcessRig.begin(self)
        os.sched_setaffinity(self.child.pid, {max(os.sched_getaffinity(0))})

    def target(self) -> Target:
        volumes = {"logs": process.OwnVolume(path=str(self.volume), size="1MB")}  # type: ignore[arg-type]
        return process.find("child", process.Selector(pidfile=str(self.pidfile), volumes=volumes))[0]

    def traces(self) -> list[str]:
        return [*super().traces(), *(file.name for file in self.volume.iterdir())]


class DockerRig(Rig):
    """An ordinary container with limits, a volume of its own, and a restart policy."""

    kind, backend = docker.Container, docker
    image: ClassVar[str] = containers.IMAGE
    command: ClassVar[list[str]] = ["python3", "-c", containers.SERVICE]
    process: ClassVar[str | None] = None
    how: ClassVar[dict[str, Any]] = {}

    def begin(self) -> None:
        self.container = containers.create(
            self.image, self.command, mem_limit="96m", nano_cpus=600_000_000, tmpfs={"/var/log/veloz": "size=4m"},
            restart_policy={"Name": "always"}, **self.how,
        )  # fmt: skip
        self.name = containers.engine().inspect_container(self.container)["Name"].lstrip("/")
        self.stack.callback(containers.destroy, self.container)

    def target(self) -> Target:
        return docker.find("service", self.selector())[0]

    def selector(self) -> docker.Selector:
        volumes = {"logs": docker.OwnVolume(path="/var/log/veloz")}
        return docker.Selector(name=self.name, process=self.process, volumes=volumes)

    def replace(self) -> None:
        containers.engine().restart(self.container, timeout=0)

    def remove(self) -> None:
        containers.engine().remove_container(self.container, force=True)

    def traces(self) -> list[str]:
        state = containers.engine().inspect_container(self.container)["State"]
        helpers = [one["Id"] for one in helper_container.find(containers.engine(), target=self.container)]
        strains = [line for one in (self.container, *helpers) for line in containers.running(one) if ".strain " in line]
        return [*(["paused"] if state["Paused"] else []), *self.stopped(), *strains]

    def stopped(self) -> list[str]:
        found = containers.engine().top(self.container, "-eo pid,stat,args")["Processes"] or []
        return [line[-1] for line in found if line[1].startswith("T")]


class HardenedRig(DockerRig):
    """No shell, no root, no capability, nothing that can be written but its volume."""

    capabilities: ClassVar[tuple[type[Target], ...]] = (Killable, Saturable, Pressable, Exhaustible, Fillable)

    image: ClassVar[str] = containers.BARE
    how: ClassVar[dict[str, Any]] = {
        "user": "65534", "read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"],
    }  # fmt: skip


class DockerProcessRig(DockerRig):
    """A child process inside a container, started again by its parent."""

    kind = docker.Inner
    capabilities: ClassVar[tuple[type[Target], ...]] = (Killable, Pausable, Saturable)
    command: ClassVar[list[str]] = ["python3", "-c", containers.PARENT, containers.SERVICE]
    process: ClassVar[str | None] = " veloz_engine$"

    def begin(self) -> None:
        super().begin()
        containers.until(lambda: self._now() is not None)

    def replace(self) -> None:
        before = self.target().reference
        kill = "import os; [os.kill(int(p), 9) for p in os.listdir('/proc') if p.isdigit() and self(p)]"
        kill = kill.replace("self(p)", "open(f'/proc/{p}/cmdline').read().endswith('\\0veloz_engine\\0')")
        api = containers.engine()
        api.exec_start(api.exec_create(self.container, ["python3", "-c", kill])["Id"])
        containers.until(lambda: self._now() not in (None, before))

    def _now(self) -> Reference | None:
        """None between the death of one and the start of the next."""
        try:
            return self.target().reference
        except Missing:
            return None


class DockerLinkRig(Rig):
    """A container and another one that it talks to by name, on a network of their own."""

    kind: type[Target] = docker_link.ContainerLink
    backend = docker_link
    image: ClassVar[str] = containers.IMAGE
    how: ClassVar[dict[str, Any]] = {}
    there: ClassVar[dict[str, Any]] = {
        "to": f"{containers.FAR}:7000", "ping": LinePing(send="PING\n", answer="PONG"),
    }  # fmt: skip

    def begin(self) -> None:
        if os.geteuid() != 0:
            absent("root", "the rules in a container's network namespace are looked at by nsenter")
        self.container = containers.create(self.image, network_mode=containers.network(), **self.how)
        self.stack.callback(containers.destroy, self.container)
        self.name = containers.engine().inspect_container(self.container)["Name"].lstrip("/")

    def target(self) -> Target:
        return docker_link.find("link", docker_link.Selector(name=self.name, **self.there))[0]

    def replace(self) -> None:
        containers.engine().restart(self.container, timeout=0)

    def remove(self) -> None:
        containers.engine().remove_container(self.container, force=True)

    def traces(self) -> list[str]:
        pid = str(containers.engine().inspect_container(self.container)["State"]["Pid"])
        said = subprocess.run(["nsenter", "-t", pid, "-n", "iptables-save"], capture_output=True, text=True, check=True)
        return [line for line in said.stdout.splitlines() if "vc-" in line]


class HardenedLinkRig(DockerLinkRig):
    """The same with nothing in the container that could help."""

    image, how = HardenedRig.image, HardenedRig.how
    capabilities: ClassVar[tuple[type[Target], ...]] = (Delayable,)


class InboundRig(DockerLinkRig):
    """A container's own port, as the outside reaches it."""

    capabilities: ClassVar[tuple[type[Target], ...]] = (Delayable, Severable)

    def target(self) -> Target:
        found = containers.engine().inspect_container(self.container)["NetworkSettings"]["Networks"]
        address = f"{found[containers.network()]['IPAddress']}:7000"
        ping = LinePing(send="PING\n", answer="PONG")
        selector = docker_link.Selector(name=self.name, inbound=7000, address=address, ping=ping)
        return docker_link.find("link", selector)[0]


class DockerNamesRig(DockerLinkRig):
    """A container and what its name server tells it."""

    kind: type[Target] = docker_link.ContainerNames
    there: ClassVar[dict[str, Any]] = {"to": "dns", "lookup": containers.FAR}


class WorkloadRig(Rig):
    """A Deployment in a namespace of its own, on a real cluster."""

    marks: ClassVar[tuple[pytest.MarkDecorator, ...]] = (pytest.mark.kubernetes,)
    kind: type[Target] = kubernetes_workload.Workload
    backend = kubernetes_workload
    owner: ClassVar[str] = "deployment"
    COPIES = 2

    def begin(self) -> None:
        self.lab = self.stack.enter_context(lab())
        self._make()

    def target(self) -> Target:
        selector = kubernetes_workload.Selector(self.lab.name, f"{self.owner}/web", kubeconfig=kubeconfig())
        return kubernetes_workload.find("workload", selector)[0]

    def replace(self) -> None:
        self.remove()
        self._make()

    def remove(self) -> None:
        self.lab.gone(f"{self.owner}s.apps", "web")

    def traces(self) -> list[str]:
        found = self.lab.get(f"{self.owner}s.apps", "web")
        marks = [key for key in found["metadata"].get("annotations") or {} if key.startswith("veloz-chaos/")]
        return marks + [f"{found['spec']['replicas']} replicas"] * (found["spec"]["replicas"] != self.COPIES)

    def _make(self) -> None:
        self.lab.deployment(replicas=self.COPIES, kind=f"{self.owner}s.apps")
        self.lab.ready(self.COPIES, kind=f"{self.owner}s.apps")


class StatefulRig(WorkloadRig):
    """A StatefulSet."""

    owner: ClassVar[str] = "statefulset"


class PolicyRig(Rig):
    """A Deployment that serves on every node's own port, in a namespace of its own."""

    marks: ClassVar[tuple[pytest.MarkDecorator, ...]] = (pytest.mark.kubernetes,)
    kind: type[Target] = kubernetes_policy.PolicyLink
    backend = kubernetes_policy
    examples: ClassVar[Mapping[str, list[dict[str, Any]]]] = {"partition": [{"connections": "new"}]}

    def begin(self) -> None:
        self.lab = self.stack.enter_context(lab())
        self.address = self.lab.node_port()
        self._make()

    def target(self) -> Target:
        selector = kubernetes_policy.Selector(
            self.lab.name, "deployment/web", inbound=8080, address=self.address, path="/healthz",
            kubeconfig=kubeconfig(),
        )  # fmt: skip
        return kubernetes_policy.find("link", selector)[0]

    def replace(self) -> None:
        self.remove()
        self._make()

    def remove(self) -> None:
        self.lab.gone("deployments.apps", "web")

    def traces(self) -> list[str]:
        return [one["metadata"]["name"] for one in self.lab.api.listed(self.lab.path(kubernetes_policy.POLICIES)).items]

    def _make(self) -> None:
        self.lab.deployment()
        self.lab.ready(1)
        until(lambda: answers(self.address))


class NodeRig(Rig):
    """A node of a real cluster that no machine is behind, so that nobody else's pods are sent away."""

    marks: ClassVar[tuple[pytest.MarkDecorator, ...]] = (pytest.mark.kubernetes,)
    kind: type[Target] = kubernetes_node.Node
    backend = kubernetes_node

    def begin(self) -> None:
        self.lab, self.name = self.stack.enter_context(lab()), f"vc-test-{os.getpid()}-{next(numbers)}"
        self._make()
        self.stack.callback(self.remove)
        self.lab.tenants(self.name)

    def target(self) -> Target:
        selector = kubernetes_node.Selector(self.name, kubeconfig=kubeconfig())
        return kubernetes_node.find("node", selector)[0]

    def replace(self) -> None:
        self.remove()
        self._make()

    def remove(self) -> None:
        with suppress(TargetError):
            self.lab.api.delete(path("nodes", name=self.name))

    def traces(self) -> list[str]:
        found = self.lab.api.get(path("nodes", name=self.name))
        marks = [key for key in found["metadata"].get("annotations") or {} if key.startswith("veloz-chaos/")]
        return marks + ["unschedulable"] * bool(found["spec"].get("unschedulable"))

    def _make(self) -> None:
        self.lab.node(self.name, **{kubernetes_node.ALLOWED: "true"})


class FakeRig(Rig):
    kind, backend = fake.Fake, fake

    def begin(self) -> None:
        self.id = f"rig-{next(numbers)}"

    def target(self) -> Target:
        return fake.find("fake", fake.Selector(id=self.id))[0]

    def replace(self) -> None:
        fake.restart(self.id)

    def remove(self) -> None:
        fake.WORLD.pop(self.id, None)

    def traces(self) -> list[str]:
        state = fake.WORLD[self.id]
        return [*state.toxics, *state.strains, *(["stopped"] if state.paused else [])]


class ProxyRig(LinkRig):
    """A proxy of a server that speaks Toxiproxy's API, in front of an upstream of ours."""

    kind, backend = toxiproxy.Proxy, toxiproxy
    ping: ClassVar[dict[str, Any]] = {}
    upstream = staticmethod(upstreams.http)
    send = b"GET / HTTP/1.1\r\nHost: rig\r\n\r\n"

    def begin(self) -> None:
        self.admin = self.serve()
        self.proxy = f"rig {next(numbers)}"
        self.listen = self._create(f"127.0.0.1:{free_port()}")

    @abstractmethod
    def serve(self) -> Admin:
        """Start the server."""

    def target(self) -> Target:
        selector = toxiproxy.Selector(api=self.admin.api, proxy=self.proxy, **self.ping)
        return toxiproxy.find("link", selector)[0]

    def replace(self) -> None:
        self.remove()
        self._create(self.listen)

    def remove(self) -> None:
        self.admin.delete(self.quoted)

    def traces(self) -> list[str]:
        return [toxic["name"] for toxic in self.admin.toxics(self.quoted)]

    def dial(self) -> socket.socket:
        host, _, port = self.listen.rpartition(":")
        return socket.create_connection((host, int(port)), 20)

    def add_foreign(self) -> str:
        self.admin.add(self.quoted, name="vc-other-run", type="latency", attributes={"latency": 0})
        return "vc-other-run"

    @property
    def quoted(self) -> str:
        return self.proxy.replace(" ", "%20")

    def _create(self, listen: str) -> str:
        return self.admin.create(self.proxy, self.stack.enter_context(self.upstream()), listen)


class ToxiproxyHttp(ProxyRig):
    """The real server, HTTP behind it."""

    def serve(self) -> Admin:
        path = program()
        if path is None:
            absent("toxiproxy", "no toxiproxy-server found; build it by tests/infra/toxiproxy.sh")
        server = Server(path)
        self.stack.callback(server.stop)
        self.process = server.process
        return server.admin


class ToxiproxyLine(ToxiproxyHttp):
    """The real server, a line protocol behind it."""

    ping: ClassVar[dict[str, Any]] = {"ping": {"send": "PING\n", "answer": "\n"}}
    upstream = staticmethod(upstreams.line)
    send = b"PING\n"


class SandboxLink(ProxyRig):
    """The sandbox's own link proxy, as the process that the sandbox runs."""

    def serve(self) -> Admin:
        try:
            from veloz_chaos.sandbox import settings
        except ImportError:
            absent("sandbox", "its links are not built yet")
        ports = {name: free_port() for name in settings.PORTS}
        (self.folder / settings.FILE).write_text(settings.to_json(settings.Settings(self.folder, ports)))
        self.process = self._start()
        return Admin(f"127.0.0.1:{ports['links']}")

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "veloz_chaos.sandbox.links", str(self.folder)]
        links = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.stack.enter_context(links)
        self.stack.callback(links.kill)
        assert links.stdout
        assert links.stdout.readline() == b"ready\n"
        return links


class FaultProxyRig(SharedRig):
    """The product's own fault proxy, as the process that users run."""

    kind: type[Target]
    speaks: ClassVar[str]
    upstream: ClassVar[upstreams.Upstream]
    harmless: ClassVar[dict[str, Any]]

    def begin(self) -> None:
        assert any(self._serves() for _ in range(5))
        self.admin, self.proxy, self.listen = Admin(self.api), f"rig-{next(numbers)}", f"127.0.0.1:{free_port()}"
        self._create()

    def _serves(self) -> bool:
        """False if somebody else has taken the port meanwhile."""
        self.api = f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "veloz_chaos", "proxy", "--api", self.api]
        self.process = self.stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        self.stack.callback(self.process.kill)
        assert self.process.stdout
        return self.process.stdout.readline() == f"API: http://{self.api}\n".encode()

    def replace(self) -> None:
        self.remove()
        self._create()

    def remove(self) -> None:
        self.admin.delete(self.proxy)

    def traces(self) -> list[str]:
        return [fault["name"] for fault in self.admin.call("GET", f"/proxies/{self.proxy}/faults")]

    def add_foreign(self) -> str:
        self.put("vc-other-run", **self.harmless)
        return "vc-other-run"

    def put(self, name: str, **effect: Any) -> None:
        self.admin.call("POST", f"/proxies/{self.proxy}/faults", {"name": name, **effect})

    def traffic(self) -> dict[str, Any]:
        return dict(self.admin.call("GET", f"/proxies/{self.proxy}/traffic"))

    def _create(self) -> None:
        place = {"name": self.proxy, "kind": self.speaks, "listen": self.listen, "upstream": self._upstream()}
        self.admin.call("POST", "/proxies", place)

    def _upstream(self) -> str:
        return self.stack.enter_context(type(self).upstream())


class HttpProxyRig(FaultProxyRig):
    kind, backend = http_proxy.HttpProxy, http_proxy
    speaks, upstream, harmless = "http", staticmethod(upstreams.http), {"status": 503, "path": "/never"}

    def target(self) -> Target:
        return http_proxy.find("link", http_proxy.Selector(api=self.api, proxy=self.proxy))[0]

    def _upstream(self) -> str:
        return f"http://{super()._upstream()}"


class DnsProxyRig(FaultProxyRig):
    kind, backend = dns_proxy.DnsProxy, dns_proxy
    speaks, upstream, harmless = "dns", staticmethod(upstreams.names), {"answer": "none", "names": ["never.test"]}

    def target(self) -> Target:
        selector = dns_proxy.Selector(api=self.api, proxy=self.proxy, name="exchange.rig.test")
        return dns_proxy.find("link", selector)[0]


LINKS: tuple[type[LinkRig], ...] = (ToxiproxyHttp, ToxiproxyLine, SandboxLink)
FAULT_PROXIES: tuple[type[FaultProxyRig], ...] = (HttpProxyRig, DnsProxyRig)
SHARED: tuple[type[SharedRig], ...] = (*LINKS, *FAULT_PROXIES)
CONTAINERS: tuple[type[Rig], ...] = (DockerRig, HardenedRig, DockerProcessRig)
CONTAINER_LINKS: tuple[type[Rig], ...] = (DockerLinkRig, HardenedLinkRig, InboundRig, DockerNamesRig)
WORKLOADS: tuple[type[Rig], ...] = (WorkloadRig, StatefulRig)
NODES: tuple[type[Rig], ...] = (NodeRig, PolicyRig)
RIGS: tuple[type[Rig], ...] = (
    ProcessRig, VolumeRig, LimitedRig, UnlimitedRig, FakeRig,
    *CONTAINERS, *CONTAINER_LINKS, *WORKLOADS, *NODES, *SHARED,
)  # fmt: skip


def as_json(receipt: dict[str, Any]) -> dict[str, Any]:
    """Through a journal and back."""
    return dict(json.loads(json.dumps(receipt)))
