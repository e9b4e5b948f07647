"""`veloz-chaos sandbox`: the trading stack by hand, as processes, `--on docker` as containers, or `--on kubernetes` as
pods; `run` starts one of its own, of processes, where none is up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos.cli import on_docker, on_kubernetes, options, screen
from veloz_chaos.cli.choice import SANDBOX, monitoring, terminable
from veloz_chaos.engine import files
from veloz_chaos.errors import PASSED, UsageError
from veloz_chaos.reports.table import table
from veloz_chaos.sandbox import control, docker, kubernetes
from veloz_chaos.sandbox.database import ANNOUNCED
from veloz_chaos.sandbox.flaws import FLAWS
from veloz_chaos.sandbox.kubernetes import Cluster

Directory = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the sandbox lives.")]
On = Annotated[
    str, typer.Option("--on", metavar="PLATFORM", help="docker: as containers, by Compose; kubernetes: as pods.")
]
Context = Annotated[str, typer.Option("--context", metavar="NAME", help="Which cluster; without it the current one.")]
Monitoring = Annotated[bool, typer.Option("--monitoring", help="With a real Prometheus, Alertmanager, and a catcher.")]
Kubeconfig = Annotated[str, typer.Option("--kubeconfig", metavar="FILE", help="Where clusters are named.")]
DOCKER, KUBERNETES = "docker", "kubernetes"
#: Proving a backup must not disturb who trades.
_POLITE = 10

app = options.group("Start and stop the embedded trading stack.")


@app.command()
def up(
    directory: Directory = SANDBOX,
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Any ports, not the usual ones.")] = False,
    flaw: options.Flaws = None,
    emulated: Annotated[bool, typer.Option("--emulated", help="No control group, no mount, even for root.")] = False,
    monitored: Monitoring = False,
    backups: Annotated[
        bool, typer.Option("--backups", help="Of a real PostgreSQL; its disk and the others' can then be lost.")
    ] = False,
    on: On = "",
    variant: Annotated[
        str, typer.Option("--variant", metavar="NAME", help="child: engine in gateway; hardened: of containers.")
    ] = "",
    replicas: Annotated[int, typer.Option("--replicas", metavar="N", help="Gateways on Kubernetes: 1 or 2.")] = 1,
    image: Annotated[
        str, typer.Option("--image", metavar="NAME", help="The services' image, where the cluster's nodes find it.")
    ] = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> int:
    """Start it; returns when it trades."""
    _fit(
        on,
        directory != SANDBOX or free_ports or emulated or backups,
        bool(image or context or kubeconfig) or replicas != 1,
    )
    watched = monitoring(flaw or (), monitored)
    if on:
        with terminable():
            if on == DOCKER:
                said = on_docker.up(flaw or (), variant, watched is not None)
            else:
                where = Cluster(context, kubeconfig)
                said = on_kubernetes.up(where, flaw or (), variant, replicas, image, watched is not None)
        screen.out(*said)
        return PASSED
    if variant:
        raise UsageError("--variant is of containers and pods: add --on docker or --on kubernetes")
    base = files.find("environments", "sandbox")
    sandbox = control.up(
        directory,
        free_ports=free_ports,
        flaws=flaw or (),
        base=base,
        emulated=emulated,
        monitored=watched,
        backups=backups,
    )
    screen.out(f"the sandbox is up: {sandbox.url('gateway')}", f"environment: {directory / sandbox.environment.name}")
    screen.out(_database(sandbox), *_alerts(sandbox))
    return PASSED


@app.command()
def down(directory: Directory = SANDBOX, on: On = "", context: Context = "", kubeconfig: Kubeconfig = "") -> int:
    """Stop it and remove all that it created."""
    _fit(on, directory != SANDBOX, bool(context or kubeconfig))
    if on:
        screen.out(*(on_docker.down() if on == DOCKER else on_kubernetes.down(Cluster(context, kubeconfig))))
        return PASSED
    was_up = control.find(directory) is not None
    control.down(directory)
    screen.out("the sandbox is down" if was_up else f"no sandbox was up in {directory}")
    return PASSED


@app.command()
def status(
    directory: Directory = SANDBOX,
    as_json: options.Json = False,
    on: On = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> int:
    """Show its services; exit 1 if it is not up."""
    _fit(on, directory != SANDBOX, bool(context or kubeconfig))
    if on:
        cluster = Cluster(context, kubeconfig)
        is_up, said = on_docker.status(as_json) if on == DOCKER else on_kubernetes.status(cluster, as_json)
        screen.out(*said)
        return PASSED if is_up else 1
    found = control.status(directory)
    if as_json:
        services = {name: vars(one) for name, one in found.services.items()} if found else {}
        flaws = list(found.sandbox.flaws) if found else []
        kind = found.sandbox.database if found else None
        alerts = dict(found.sandbox.alerts) if found else {}
        told = {"up": found is not None, "flaws": flaws, "services": services, "database": kind, "alerts": alerts}
        screen.out(json.dumps(told))
    elif found is None:
        screen.out(f"no sandbox is up in {directory}; start it with: veloz-chaos sandbox up")
    else:
        screen.out(*_services(found))
    return PASSED if found else 1


def _fit(on: str, of_processes: bool, of_pods: bool) -> None:
    """Raises UsageError for a platform that is none, and for options of another one."""
    if on not in ("", DOCKER, KUBERNETES):
        raise UsageError(f"--on {on}: it is docker or kubernetes, or leave it out for processes of this machine")
    if on and of_processes:
        raise UsageError(
            f"--dir, --free-ports, --emulated and --backups are of processes: leave them out with --on {on}"
        )
    if on != KUBERNETES and of_pods:
        raise UsageError("--context, --kubeconfig, --replicas and --image are of pods: add --on kubernetes")


def _services(found: control.Status) -> list[str]:
    rows = [
        [name, one.state, str(one.pid or "—"), str(one.restarts), one.last_exit or "—"]
        for name, one in found.services.items()
    ]
    limits = "limits: the kernel's" if found.cgroups else "limits: emulated"
    flaws = f"flaws: {', '.join(found.sandbox.flaws)}" if found.sandbox.flaws else "no flaws"
    head = table(["service", "state", "pid", "restarts", "last exit"], rows, screen.width())
    return [*head, _database(found.sandbox), *_alerts(found.sandbox), limits, flaws]


def _database(sandbox: control.Sandbox) -> str:
    return f"database: {ANNOUNCED.get(sandbox.database, sandbox.database)}"


def _alerts(sandbox: control.Sandbox) -> list[str]:
    return [f"{name}: {url}" for name, url in sandbox.alerts.items()]


@app.command()
def flaws() -> int:
    """List the weaknesses that can be seeded, and the experiments that must catch each."""
    for name, flaw in FLAWS.items():
        caught = [f"  {experiment} must fail: {', '.join(said)}" for experiment, said in flaw.caught_by.items()]
        caught += [f"  {experiment} may fail too: {', '.join(said)}" for experiment, said in flaw.by_chance.items()]
        where = ["  one of the monitoring, which is started with it"] if flaw.monitored else []
        screen.out(name, f"  {flaw.title}", *where, *caught, "")
    return PASSED


@app.command()
def build(monitored: Monitoring = False) -> int:
    """Build the image that pods run, by Docker, unless it is there, and print its name."""
    with terminable():
        screen.out(docker.build(on_docker.folder(), monitored))
    return PASSED


@app.command()
def restart(
    service: str, directory: Directory = SANDBOX, on: On = "", context: Context = "", kubeconfig: Kubeconfig = ""
) -> int:
    """Have its supervisor start a service again."""
    _fit(on, directory != SANDBOX, bool(context or kubeconfig))
    if on:
        if on == DOCKER:
            docker.restart(service)
        else:
            kubernetes.restart(Cluster(context, kubeconfig), service)
        screen.out(f"{service} is healthy")
        return PASSED
    sandbox = control.find(directory)
    if sandbox is None:
        raise UsageError(f"no sandbox is up in {directory}; start it with: veloz-chaos sandbox up")
    control.restart(directory, service)
    screen.out(f"{service} is starting again")
    return PASSED


@app.command()
def backup(
    directory: Directory = SANDBOX,
    check: Annotated[bool, typer.Option("--check", help="Restore the last one somewhere else, and count.")] = False,
) -> int:
    """Take a base backup, or prove the last one; of a sandbox that is up with --backups."""
    from veloz_chaos.sandbox import backup as backups
    from veloz_chaos.sandbox import restore as restoring

    settings = restoring.settings_of(directory)
    if check:
        os.nice(_POLITE)
        screen.out(json.dumps(backups.check(settings)))
    else:
        screen.out(f"the base backup has {backups.take(settings)} bytes")
    return PASSED


@app.command()
def restore(
    directory: Directory = SANDBOX,
    to: Annotated[
        str, typer.Option("--to", metavar="TIME", help="An instant, as 2026-01-02T03:04:05Z; else all there is.")
    ] = "",
) -> int:
    """Bring gateway, engine and database back from the backups, whatever is left of them."""
    from veloz_chaos.sandbox import restore as restoring

    screen.out(f"the site is restored, with {restoring.restore(directory, to)} orders")
    return PASSED
