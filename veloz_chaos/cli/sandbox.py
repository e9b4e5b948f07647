"""`veloz-chaos sandbox`: the trading stack by hand, as processes or `--on docker` as containers; `run` starts one
of its own, of processes, where none is up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos.cli import options, screen
from veloz_chaos.cli.choice import SANDBOX, terminable
from veloz_chaos.engine import files
from veloz_chaos.errors import PASSED, UsageError
from veloz_chaos.reports.table import table
from veloz_chaos.sandbox import control, docker
from veloz_chaos.sandbox.database import ANNOUNCED
from veloz_chaos.sandbox.flaws import FLAWS

Directory = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the sandbox lives.")]
On = Annotated[str, typer.Option("--on", metavar="docker", help="As containers, by Docker Compose.")]
DOCKER = "docker"

app = typer.Typer(
    help="Start and stop the embedded trading stack.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def up(
    directory: Directory = SANDBOX,
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Any ports, not the usual ones.")] = False,
    flaw: options.Flaws = None,
    emulated: Annotated[bool, typer.Option("--emulated", help="No control group, no mount, even for root.")] = False,
    on: On = "",
    variant: Annotated[
        str,
        typer.Option("--variant", metavar="NAME", help="Of the containers: hardened, or child (engine in gateway)."),
    ] = "",
) -> int:
    """Start it; returns when it trades."""
    if _on_docker(on, directory != SANDBOX, free_ports, emulated):
        return _up_on_docker(flaw or (), variant)
    if variant:
        raise UsageError("--variant is of containers: add --on docker")
    base = files.find("environments", "sandbox")
    sandbox = control.up(directory, free_ports=free_ports, flaws=flaw or (), base=base, emulated=emulated)
    screen.out(f"the sandbox is up: {sandbox.url('gateway')}", f"environment: {directory / sandbox.environment.name}")
    screen.out(_database(sandbox))
    return PASSED


@app.command()
def down(directory: Directory = SANDBOX, on: On = "") -> int:
    """Stop it and remove all that it created."""
    if _on_docker(on, directory != SANDBOX):
        was_there = docker.down(_compose_files())
        screen.out("the sandbox on Docker is down" if was_there else "no sandbox was up on Docker")
        return PASSED
    was_up = control.find(directory) is not None
    control.down(directory)
    screen.out("the sandbox is down" if was_up else f"no sandbox was up in {directory}")
    return PASSED


@app.command()
def status(directory: Directory = SANDBOX, as_json: options.Json = False, on: On = "") -> int:
    """Show its services; exit 1 if it is not up."""
    if _on_docker(on, directory != SANDBOX):
        return _status_on_docker(as_json)
    found = control.status(directory)
    if as_json:
        services = {name: vars(one) for name, one in found.services.items()} if found else {}
        flaws = list(found.sandbox.flaws) if found else []
        kind = found.sandbox.database if found else None
        screen.out(json.dumps({"up": found is not None, "flaws": flaws, "services": services, "database": kind}))
    elif found is None:
        screen.out(f"no sandbox is up in {directory}; start it with: veloz-chaos sandbox up")
    else:
        screen.out(*_services(found))
    return PASSED if found else 1


def _on_docker(on: str, *others: bool) -> bool:
    """Raises UsageError for another platform, and for options of processes."""
    if on not in ("", DOCKER):
        raise UsageError(f"--on {on}: it is docker, or leave it out for processes of this machine")
    if on and any(others):
        raise UsageError("--dir, --free-ports and --emulated are of processes: leave them out with --on docker")
    return bool(on)


def _compose_files() -> Path:
    """Raises UsageError."""
    places = [shelf / "compose" for shelf in files.shelves("environments")]
    found = next((place for place in places if (place / "compose.yaml").is_file()), None)
    if found is None:
        raise UsageError("environments/compose/ is missing; reinstall veloz-chaos")
    return found


def _up_on_docker(flaws: Sequence[str], variant: str) -> int:
    with terminable():
        docker.up(_compose_files(), flaws=flaws, variant=variant)
    environment = "compose-child" if variant == "child" else "compose"
    screen.out(f"the sandbox is up on Docker: http://127.0.0.1:{docker.GATEWAY}", f"environment: {environment}")
    return PASSED


def _status_on_docker(as_json: bool) -> int:
    found = docker.status()
    if as_json:
        services = {name: vars(one) for name, one in found.services.items()} if found else {}
        of_all = {"flaws": found.flaws, "variant": found.variant} if found else {"flaws": [], "variant": ""}
        screen.out(json.dumps({"up": found is not None, **of_all, "services": services}))
    elif found is None:
        screen.out("no sandbox is up on Docker; start it with: veloz-chaos sandbox up --on docker")
    else:
        rows = [
            [name, one.state, one.health or "—", str(one.restarts), one.container]
            for name, one in found.services.items()
        ]
        head = table(["service", "state", "health", "restarts", "container"], rows, screen.width())
        flaws = f"flaws: {', '.join(found.flaws)}" if found.flaws else "no flaws"
        screen.out(*head, f"variant: {found.variant or 'usual'}", flaws)
    return PASSED if found else 1


def _services(found: control.Status) -> list[str]:
    rows = [
        [name, one.state, str(one.pid or "—"), str(one.restarts), one.last_exit or "—"]
        for name, one in found.services.items()
    ]
    limits = "limits: the kernel's" if found.cgroups else "limits: emulated"
    flaws = f"flaws: {', '.join(found.sandbox.flaws)}" if found.sandbox.flaws else "no flaws"
    head = table(["service", "state", "pid", "restarts", "last exit"], rows, screen.width())
    return [*head, _database(found.sandbox), limits, flaws]


def _database(sandbox: control.Sandbox) -> str:
    return f"database: {ANNOUNCED.get(sandbox.database, sandbox.database)}"


@app.command()
def flaws() -> int:
    """List the weaknesses that can be seeded, and the experiments that must catch each."""
    for name, flaw in FLAWS.items():
        caught = [f"  {experiment} must fail: {', '.join(said)}" for experiment, said in flaw.caught_by.items()]
        caught += [f"  {experiment} may fail too: {', '.join(said)}" for experiment, said in flaw.by_chance.items()]
        screen.out(name, f"  {flaw.title}", *caught, "")
    return PASSED


@app.command()
def restart(service: str, directory: Directory = SANDBOX, on: On = "") -> int:
    """Have its supervisor start a service again."""
    if _on_docker(on, directory != SANDBOX):
        docker.restart(service)
        screen.out(f"{service} is healthy")
        return PASSED
    sandbox = control.find(directory)
    if sandbox is None:
        raise UsageError(f"no sandbox is up in {directory}; start it with: veloz-chaos sandbox up")
    control.restart(directory, service)
    screen.out(f"{service} is starting again")
    return PASSED
