"""The sandbox's services as containers: `environments/compose/` brought up, looked at and taken down.

Through `docker compose` or docker-compose, whichever is there, and the daemon that those use (DOCKER_HOST, context).
The images are built from this very package, named after its content: what was built once is not built again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veloz_chaos import __version__
from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import control
from veloz_chaos.sandbox import flaws as known_flaws
from veloz_chaos.sandbox.command import attempt

PROJECT = "veloz-sandbox"
IMAGES, MONITORING = ("service", "database", "toxiproxy"), "monitoring"
BUILT_FROM = ("Dockerfile", "answers.py", "toxiproxy.json")
#: variant -> the file over compose.yaml
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "": (),
    "hardened": ("compose.hardened.yaml",),
    "child": ("compose.child.yaml",),
}
#: The file over those, and where what it starts is published, in the words of an environment.
MONITORED = "compose.monitoring.yaml"
ALERTS: Mapping[str, int] = {"prometheus": 28093, "alertmanager": 28094, "catcher": 28095}
GATEWAY = 28080
#: Where the daemon's socket is, as the daemon sees it, unless it is known to be elsewhere.
SOCKET = "/var/run/docker.sock"
#: Seconds: for the daemon's answer to one question, for building, for starting, until it trades or is watched.
PATIENCE, BUILT_WITHIN, STARTED_WITHIN, TRADES_WITHIN = 20.0, 900.0, 120.0, 60.0
LOOK_EVERY = 0.1
_PACKAGE = Path(__file__).parent.parent
_OF_PROJECT = f"label=com.docker.compose.project={PROJECT}"
#: What the tools always say, and how many of their last lines are passed on.
IDLE, LAST = r"DEPRECATED|buildx|^\s*(--->|Step \d|Removing intermediate|Sending build context)", 5
#: what the tools say -> what to do
REMEDIES = {
    r"permission denied": "add yourself to the group docker (sudo usermod -aG docker $USER, then log in again)",
    r"[Cc]annot connect to the Docker daemon|Couldn't connect|error during connect|Connection refused": (
        "start it (sudo systemctl start docker, or Docker Desktop), or point DOCKER_HOST at one that runs"
    ),
    r"port is already allocated|address already in use": "stop what listens there",
    r"pull access denied|no such host|failed to resolve|TLS handshake|i/o timeout": (
        "the registry of the base images cannot be reached: pull python:3.11-slim and ghcr.io/shopify/toxiproxy:2.12.0"
    ),
}


@dataclass(frozen=True)
class Service:
    """`state` as Docker calls it; `health` is "" where none is checked; `exit_code` is the last incarnation's."""

    state: str
    health: str
    restarts: int
    exit_code: int
    container: str


@dataclass(frozen=True)
class Status:
    services: Mapping[str, Service]
    flaws: tuple[str, ...]
    variant: str


def up(folder: Path, *, flaws: Sequence[str] = (), variant: str = "", monitored: bool = False) -> None:
    """Build what is not built, start it, seed its orders; returns when it trades, and is watched where it is
    `monitored`. `folder` has the Compose files.

    Raises UsageError: no daemon, no Compose, already up, a port in use, an unknown flaw or variant, a failed start.
    Whatever goes wrong, nothing is left behind.
    """
    chosen = known_flaws.checked(flaws, monitored)
    if variant not in VARIANTS:
        raise UsageError(f"there is no variant {variant!r}; it is one of: {', '.join(filter(None, VARIANTS))}")
    if monitored and variant == "child":
        raise UsageError(
            "Docker knows nothing of an engine that is the gateway's child: leave --variant or --monitoring out"
        )
    compose = _compose()
    if _containers():
        raise UsageError("a sandbox is already up on Docker; `veloz-chaos sandbox down --on docker` first")
    with context(folder) as made:
        environment = {**_environment(made), "VELOZ_FLAWS": ",".join(chosen), "VELOZ_VARIANT": variant}
        if "engine-never-restarts" in chosen:
            environment["VELOZ_ENGINE_RESTART"] = "no"
        if monitored:
            environment["VELOZ_DOCKER_SOCKET"] = socket()
        files = _files(folder, variant, monitored)
        if not _built(environment["VELOZ_CHAOS_TAG"], monitored):
            _run([*compose, *files, "build"], BUILT_WITHIN, environment)
        try:
            _run([*compose, *files, "up", "-d", "--no-build"], STARTED_WITHIN, environment)
            _await_trading()
            if monitored:
                _await_watching()
        except BaseException:
            down(folder)
            raise


def image(folder: Path, monitored: bool = False) -> str:
    """The name of the image that has everything, also the database; it need not be built."""
    with context(folder) as made:
        return f"{PROJECT}-{_whole(monitored)}:{digest(made)}"


def build(folder: Path, monitored: bool = False) -> str:
    """That image's name, built if it is not there. Raises UsageError."""
    _installed()
    with context(folder) as made:
        target = _whole(monitored)
        name = f"{PROJECT}-{target}:{digest(made)}"
        if attempt(["docker", "image", "inspect", name], PATIENCE).returncode:
            file = str(made / "environments" / "compose" / "Dockerfile")
            _run(["docker", "build", "-f", file, "--target", target, "-t", name, str(made)], BUILT_WITHIN)
        return name


def _whole(monitored: bool) -> str:
    return MONITORING if monitored else "database"


def down(folder: Path) -> bool:
    """Containers, networks and volumes are gone; whether there were any. Raises UsageError."""
    compose = _compose()
    if not _left():
        return False
    _run([*compose, *_files(folder), "down", "--volumes", "--remove-orphans", "--timeout", "3"], STARTED_WITHIN)
    if left := _left():
        raise UsageError(f"still there after `down`: {', '.join(left)}; remove it by hand")
    return True


def status() -> Status | None:
    """None if none of it is there. Raises UsageError where there is no daemon."""
    containers = _containers()
    if not containers:
        return None
    services = {_service(one): _state(one) for one in containers}
    labels: Mapping[str, str] = next((one["Config"]["Labels"] for one in containers if _service(one) == "gateway"), {})
    flaws = tuple(filter(None, labels.get("veloz-chaos.flaws", "").split(",")))
    return Status(dict(sorted(services.items())), flaws, labels.get("veloz-chaos.variant", ""))


def restart(service: str) -> None:
    """Start it again, whether it runs or not; returns when it is healthy. Raises UsageError."""
    found = status()
    if found is None:
        raise UsageError("no sandbox is up on Docker; start it with: veloz-chaos sandbox up --on docker")
    if service not in found.services:
        raise UsageError(f"the sandbox has no service `{service}`; known: {', '.join(found.services)}")
    _docker("restart", "--time", "3", found.services[service].container)
    if not control.until(lambda: _well(service), TRADES_WITHIN, LOOK_EVERY):
        raise UsageError(f"{service} did not become healthy; {_tail(service)}")


def _well(service: str) -> bool:
    """A sandbox that is gone needs no more waiting."""
    now = status()
    return now is None or now.services[service].health in ("healthy", "")


@contextmanager
def context(folder: Path) -> Iterator[Path]:
    """What the images are built from: this package, what it needs, and the Compose files."""
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-") as made:
        place = Path(made)
        shutil.copytree(_PACKAGE, place / "veloz_chaos", ignore=shutil.ignore_patterns("__pycache__", "data"))
        (place / "environments" / "compose").mkdir(parents=True)
        for name in BUILT_FROM:
            shutil.copy(folder / name, place / "environments" / "compose")
        shutil.copytree(folder.parent / "monitoring", place / "environments" / "monitoring")
        (place / "pyproject.toml").write_text(_project())
        yield place


def _project() -> str:
    """What pip has to know of the package."""
    lines = ["[build-system]", 'requires = ["hatchling"]', 'build-backend = "hatchling.build"', "[project]"]
    lines += ['name = "veloz-chaos"', f'version = "{__version__}"', f"dependencies = {json.dumps(_dependencies())}"]
    lines += ["[project.scripts]", 'veloz-chaos = "veloz_chaos.__main__:main"']
    return "\n".join([*lines, "[tool.hatch.build.targets.wheel]", 'packages = ["veloz_chaos"]', ""])


def _dependencies() -> list[str]:
    """In a checkout what its pyproject.toml says, else what was installed."""
    beside = _PACKAGE.parent / "pyproject.toml"
    if beside.exists():
        project: dict[str, Any] = tomllib.loads(beside.read_text())["project"]
        return sorted(project["dependencies"])
    return sorted(one for one in importlib.metadata.requires("veloz-chaos") or () if "extra ==" not in one)


def digest(place: Path) -> str:
    """Of every file's name and content."""
    total = hashlib.sha256()
    for file in sorted(path for path in place.rglob("*") if path.is_file()):
        content = file.read_bytes()
        total.update(f"{file.relative_to(place)}\0{len(content)}\0".encode() + content)
    return total.hexdigest()[:12]


def _environment(made: Path) -> dict[str, str]:
    return {"VELOZ_CHAOS_CONTEXT": str(made), "VELOZ_CHAOS_TAG": digest(made)}


def _built(tag: str, monitored: bool) -> bool:
    images = [f"{PROJECT}-{name}:{tag}" for name in (*IMAGES, *([MONITORING] if monitored else []))]
    return attempt(["docker", "image", "inspect", *images], PATIENCE).returncode == 0


def _await_trading() -> None:
    """Seeded, too. Raises UsageError."""
    if not control.until(lambda: control.trades(GATEWAY), TRADES_WITHIN, LOOK_EVERY):
        raise UsageError(f"the sandbox does not trade within {TRADES_WITHIN:.0f} s; {_tail()}")
    if refused := control.seed(GATEWAY):
        raise UsageError(f"{refused}; {_tail('gateway')}")


def _await_watching() -> None:
    """Every target answers, and no alert is pending. Raises UsageError."""
    if not control.until(lambda: control.watched(ALERTS["prometheus"]), TRADES_WITHIN, LOOK_EVERY):
        raise UsageError(f"the sandbox is not watched within {TRADES_WITHIN:.0f} s; {_tail()}")


def socket() -> str:
    """Where the daemon finds its own socket. In Docker Desktop, or elsewhere, that is not where we find it."""
    if given := os.environ.get("VELOZ_DOCKER_SOCKET"):
        return given
    place = attempt(["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"], PATIENCE).stdout.strip()
    system = attempt(["docker", "info", "--format", "{{.OperatingSystem}}"], PATIENCE).stdout
    here = place.startswith("unix://") and "Docker Desktop" not in system
    return place.removeprefix("unix://") if here else SOCKET


def _installed() -> None:
    """Raises UsageError."""
    if not shutil.which("docker"):
        raise UsageError("there is no command `docker`; install Docker: https://docs.docker.com/engine/install")


def _compose() -> list[str]:
    """The command, also of the project. Raises UsageError."""
    _installed()
    if attempt(["docker", "compose", "version"], PATIENCE).returncode == 0:
        return ["docker", "compose", "-p", PROJECT]
    if shutil.which("docker-compose"):
        return ["docker-compose", "-p", PROJECT]
    raise UsageError(
        "neither `docker compose` nor docker-compose is installed; apt-get install docker-compose-plugin (Docker's own "
        "packages) or docker-compose (Debian's)"
    )


def _files(folder: Path, variant: str = "", monitored: bool = False) -> list[str]:
    names = ("compose.yaml", *VARIANTS[variant], *([MONITORED] if monitored else []))
    return [word for name in names for word in ("-f", str(folder / name))]


def _containers() -> list[dict[str, Any]]:
    """What `docker inspect` says of each."""
    ids = _docker("ps", "--all", "--quiet", "--filter", _OF_PROJECT).split()
    found: list[dict[str, Any]] = json.loads(_docker("inspect", *ids)) if ids else []
    return found


def _left() -> list[str]:
    """The project's containers, networks and volumes."""
    names = _docker("ps", "--all", "--filter", _OF_PROJECT, "--format", "{{.Names}}").split()
    networks = _docker("network", "ls", "--filter", _OF_PROJECT, "--format", "{{.Name}}").split()
    return [*names, *networks, *_docker("volume", "ls", "--filter", _OF_PROJECT, "--format", "{{.Name}}").split()]


def _service(container: Mapping[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def _state(container: Mapping[str, Any]) -> Service:
    state = container["State"]
    health = state.get("Health", {}).get("Status", "")
    return Service(state["Status"], health, container["RestartCount"], state["ExitCode"], container["Name"].lstrip("/"))


def _docker(*arguments: str) -> str:
    return _run(["docker", *arguments], PATIENCE)


def _run(command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """What it prints. Raises UsageError, with what it said and what to do."""
    done = attempt(command, seconds, environment)
    if done.returncode:
        raise UsageError(explained(command, done.stdout + done.stderr))
    return done.stdout


def explained(command: Sequence[str], said: str) -> str:
    """The last that it said, and the remedy for what is known."""
    remedy = next((text for pattern, text in REMEDIES.items() if re.search(pattern, said)), "")
    port = re.search(r"127\.0\.0\.1:(\d+).*(?:allocated|in use)", said)
    if port:
        return f"port {port[1]} is in use; {remedy}, then try again"
    lines = [line.strip() for line in said.splitlines() if line.strip() and not re.search(IDLE, line)][-LAST:]
    words = " ".join(word for word in command if not word.startswith("/"))
    return f"`{words}` failed: {' | '.join(lines)}" + (f"; {remedy}" if remedy else "")


def _tail(service: str = "") -> str:
    """The last lines of one container's log, or of all."""
    parts = []
    for one in _containers():
        if service in ("", _service(one)):
            done = attempt(["docker", "logs", "--tail", "3", one["Id"]], PATIENCE)
            parts += [f"{_service(one)}: {line}" for line in (done.stdout + done.stderr).splitlines()]
    return "\n".join(["the log says:", *parts])
