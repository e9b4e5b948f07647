"""`--on kubernetes`: the sandbox's services as pods, for `veloz-chaos sandbox`.

An environment for it says where the Services are: by their names for who runs in the cluster, else by the addresses
that `up` found, in a file here. Where those lead nowhere from this machine, it names ports of loopback that kubectl
forwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from veloz_chaos.cli import screen
from veloz_chaos.engine import files
from veloz_chaos.errors import UsageError
from veloz_chaos.reports.table import table
from veloz_chaos.sandbox import kubernetes

restart = kubernetes.restart

#: The environment's file that `up` writes and `down` removes, and its first line, by which it is known as ours.
ENVIRONMENT = Path(".sandbox-kubernetes.yaml")
HEADER = "# Written by `veloz-chaos sandbox up --on kubernetes`, and removed by `down`."
LOOPBACK = "127.0.0.1"
#: Service -> the ports that experiments look at.
PORTS: Mapping[str, Sequence[int]] = {
    "gateway": (38080,),
    "exchange": (38081,),
    "database": (38087,),
    "vault": (38089,),
    "toxiproxy": (38474, 38083, 38088, 38090),
    "faults": (38475, 38086, 38092),
}


def up(flaws: Sequence[str], variant: str, image: str) -> list[str]:
    if not _ours():
        raise UsageError(f"{ENVIRONMENT} is in the way, and not ours; rename it, or start from another folder")
    addresses = kubernetes.up(_files(), flaws=flaws, variant=variant, image=image)
    base = "kubernetes-child" if variant == "child" else "kubernetes"
    if kubernetes.inside():
        return ["the sandbox is up on Kubernetes", f"environment: {base}"]
    reached = kubernetes.reached(addresses)
    hosts = addresses if reached else dict.fromkeys(addresses, LOOPBACK)
    ENVIRONMENT.write_text(environment(base, hosts))
    said = ["the sandbox is up on Kubernetes", f"environment: {ENVIRONMENT}"]
    return said if reached else [*said, *forwarded()]


def down() -> list[str]:
    was_there = kubernetes.down()
    if ENVIRONMENT.exists() and _ours():
        ENVIRONMENT.unlink()
    return ["the sandbox on Kubernetes is down" if was_there else "no sandbox was up on Kubernetes"]


def status(as_json: bool) -> tuple[bool, list[str]]:
    """Is it up, and what to say of it."""
    found = kubernetes.status()
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


def environment(base: str, hosts: Mapping[str, str]) -> str:
    """The text of an environment's file, for Services that are reached there."""
    values = {
        "gateway": f"http://{hosts['gateway']}:38080",
        "exchange": f"http://{hosts['exchange']}:38081",
        "toxiproxy": f"{hosts['toxiproxy']}:38474",
        "faults": f"{hosts['faults']}:38475",
        "database": f"postgresql://veloz@{hosts['database']}:38087/veloz",
        "vault": f"http://{hosts['vault']}:38089",
        "vault-link": f"http://{hosts['toxiproxy']}:38090",
    }
    file = next(shelf / f"{base}.yaml" for shelf in files.shelves("environments") if (shelf / f"{base}.yaml").is_file())
    head = [HEADER, "kind: Environment", "version: 1", f"name: {base}", "tier: development"]
    lines = [*head, f"uses: [{json.dumps(str(file.resolve()))}]", "values:"]
    return "\n".join([*lines, *(f"  {name}: {json.dumps(value)}" for name, value in values.items()), ""])


def forwarded() -> list[str]:
    """What to say where Services can't be reached from here."""
    calls = [
        f"  while kubectl -n {kubernetes.NAMESPACE} port-forward svc/{name} {' '.join(map(str, ports))}; do :; done &"
        for name, ports in PORTS.items()
    ]
    return [
        "this machine does not reach the cluster's Services: forward their ports first,",
        *calls,
        "a forward ends with the pod that it leads to: for pod-kill and oom-kill run inside the cluster, or route the",
        "Services' network to here",
    ]


def _ours() -> bool:
    return not ENVIRONMENT.exists() or ENVIRONMENT.read_text().startswith(HEADER)


def _files() -> Path:
    """The folder with the overlays. Raises UsageError."""
    places = [shelf / "kubernetes" for shelf in files.shelves("environments")]
    found = next((place for place in places if (place / "base").is_dir()), None)
    if found is None:
        raise UsageError("environments/kubernetes/ is missing; reinstall veloz-chaos")
    return found
