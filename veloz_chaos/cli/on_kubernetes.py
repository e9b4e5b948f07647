"""`--on kubernetes`: the sandbox's services as pods, for `veloz-chaos sandbox`.

`environments/kubernetes.yaml` is for who runs inside the cluster. For this machine `up` writes one that says where the
Services are: a node's address; or, where no node is within reach, this machine, to which kubectl forwards.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from veloz_chaos.cli import on_docker, screen
from veloz_chaos.engine import files
from veloz_chaos.errors import UsageError
from veloz_chaos.reports.table import table
from veloz_chaos.sandbox import docker, kubernetes
from veloz_chaos.sandbox.kubernetes import Cluster

#: The environment's file that `up` writes and `down` removes, and its first line, by which it is known as ours.
ENVIRONMENT = Path(".sandbox-kubernetes.yaml")
HEADER = "# Written by `veloz-chaos sandbox up --on kubernetes`, and removed by `down`."
LOOPBACK, REGISTRY = "127.0.0.1", "docker.io/library/"
#: Service -> the ports that experiments look at.
PORTS: Mapping[str, Sequence[int]] = {
    "gateway": (30080,),
    "exchange": (30081,),
    "database": (30077,),
    "vault": (30079,),
    "toxiproxy": (30074, 30083, 30078, 30070),
    "faults": (30075, 30076, 30072),
}
#: The same of what monitors, in the words of an environment.
ALERTS: Mapping[str, int] = {"prometheus": kubernetes.PROMETHEUS, "alertmanager": 30084, "catcher": 30073}


def up(
    cluster: Cluster, flaws: Sequence[str], variant: str, replicas: int, image: str, monitored: bool = False
) -> list[str]:
    if ENVIRONMENT.exists() and not _ours():
        raise UsageError(f"{ENVIRONMENT} is in the way, and not ours; rename it, or start from another folder")
    overlay = overlaid(variant, replicas, monitored)
    image = image or REGISTRY + docker.image(on_docker.folder(), monitored)
    kubernetes.up(_folder(), cluster, flaws=flaws, variant=overlay, image=image, monitored=monitored)
    host = kubernetes.reached(cluster)
    base = "kubernetes" if overlay == kubernetes.VARIANTS[0] else f"kubernetes-{overlay}"
    ENVIRONMENT.write_text(environment(base, host or LOOPBACK, kubernetes.context(cluster), monitored))
    config = f"KUBECONFIG={shlex.quote(cluster.kubeconfig)} " if cluster.kubeconfig else ""
    forwards = [] if host else forwarded(cluster, monitored)
    said = ["the sandbox is up on Kubernetes" + (f": http://{host}:{kubernetes.GATEWAY}" if host else "")]
    return [*said, *forwards, f"next: {config}veloz-chaos run pod-kill -e {ENVIRONMENT}"]


def down(cluster: Cluster) -> list[str]:
    was_there = kubernetes.down(cluster)
    if was_there and _ours():
        ENVIRONMENT.unlink()
    return ["the sandbox on Kubernetes is down" if was_there else "no sandbox was up on Kubernetes"]


def status(cluster: Cluster, as_json: bool) -> tuple[bool, list[str]]:
    """Is it up, and what to say of it."""
    found = kubernetes.status(cluster)
    if as_json:
        services = {name: vars(one) for name, one in found.services.items()} if found else {}
        of_all = {"flaws": found.flaws, "variant": found.variant} if found else {"flaws": [], "variant": ""}
        return found is not None, [json.dumps({"up": found is not None, **of_all, "services": services})]
    if found is None:
        return False, ["no sandbox is up on Kubernetes; start it with: veloz-chaos sandbox up --on kubernetes"]
    rows = [
        [name, one.state, one.ready, str(one.restarts), one.node or "—", ", ".join(one.pods) or "—"]
        for name, one in found.services.items()
    ]
    head = table(["service", "state", "ready", "restarts", "node", "pods"], rows, screen.width())
    flaws = f"flaws: {', '.join(found.flaws)}" if found.flaws else "no flaws"
    return True, [*head, f"variant: {found.variant}", flaws]


def environment(base: str, host: str, context: str, monitored: bool = False) -> str:
    """The text of an environment's file, for Services that are reached at that host's ports."""
    values = {
        "context": context,
        "gateway": f"http://{host}:30080",
        "exchange": f"http://{host}:30081",
        "toxiproxy": f"{host}:30074",
        "faults": f"{host}:30075",
        "database": f"postgresql://veloz@{host}:30077/veloz",
        "vault": f"http://{host}:30079",
        "vault-link": f"http://{host}:30070",
    }
    used = files.find("environments", base).resolve()
    head = [HEADER, "kind: Environment", "version: 1", f"name: {base}", "tier: development"]
    lines = [*head, f"uses: [{json.dumps(str(used))}]", "values:"]
    lines += [f"  {name}: {json.dumps(value)}" for name, value in values.items()]
    if monitored:
        lines += ["alerts:", *(f"  {name}: http://{host}:{port}" for name, port in ALERTS.items())]
    return "\n".join([*lines, ""])


def forwarded(cluster: Cluster, monitored: bool = False) -> list[str]:
    """What to say where no node can be reached from here."""
    begin = shlex.join([*cluster.words, "-n", kubernetes.NAMESPACE, "port-forward"])
    wanted = {**PORTS, **({name: (port,) for name, port in ALERTS.items()} if monitored else {})}
    calls = [
        f"  while true; do {begin} svc/{name} {' '.join(map(str, ports))}; sleep 0.2; done &"
        for name, ports in wanted.items()
    ]
    return [
        "this machine does not reach the nodes' ports; forward them first:",
        *calls,
        "a forward ends with its pod, and takes no UDP: pod-kill, oom-kill and dns-failure want veloz-chaos inside",
    ]


def overlaid(variant: str, replicas: int, monitored: bool = False) -> str:
    """The overlay. Raises UsageError."""
    if variant not in ("", "child"):
        hardened = "; pods are hardened in any case" if variant == "hardened" else ""
        raise UsageError(f"there is no variant {variant!r} on Kubernetes, only child{hardened}")
    if variant and monitored:
        raise UsageError(
            "Kubernetes knows nothing of an engine that is the gateway's child: leave --variant or --monitoring out"
        )
    if not 1 <= replicas <= 2:
        raise UsageError(f"--replicas {replicas}: the sandbox has one gateway or two")
    if variant and replicas == 2:
        raise UsageError("a gateway whose child is the engine is alone: leave --replicas or --variant out")
    return variant or kubernetes.VARIANTS[replicas - 1]


def _ours() -> bool:
    return ENVIRONMENT.exists() and ENVIRONMENT.read_text().startswith(HEADER)


def _folder() -> Path:
    """With the overlays. Raises UsageError."""
    places = [shelf / "kubernetes" for shelf in files.shelves("environments")]
    found = next((place for place in places if (place / "base").is_dir()), None)
    if found is None:
        raise UsageError("environments/kubernetes/ is missing; reinstall veloz-chaos")
    return found
