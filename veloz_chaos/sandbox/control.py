"""The way into the sandbox: `up` starts it and waits until it trades, `down` ends it without a trace.

Processes are known by pid, start time and boot id (`<directory>/processes.jsonl`); nothing else is ever signalled.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import backup, limits, monitoring, ports, process, site, traces
from veloz_chaos.sandbox import database as databases
from veloz_chaos.sandbox import flaws as known_flaws
from veloz_chaos.sandbox import settings as settings_file
from veloz_chaos.sandbox.process import Identity
from veloz_chaos.sandbox.settings import LOOPBACK, Settings

READY_WITHIN, GRACE = 20.0, 5.0
WATCHED_WITHIN = 2 * READY_WITHIN
#: What the gateway's metrics say once it has its engine and its exchange; /health may lie, by a flaw.
TRADING = ("veloz_engine_connected 1", 'veloz_exchange_status{status="ok"} 1')
PART = "veloz_part_ok{"
#: The supervisor's file descriptor of the claim to its ports.
_CLAIM = 100
SEEDS = (
    {"side": "BUY", "symbol": "BTCUSDT", "qty": 0.01, "price": 25_000, "client_order_id": "seed-resting-buy"},
    {"side": "SELL", "symbol": "ETHUSDT", "qty": 0.5, "price": 6_000, "client_order_id": "seed-resting-sell"},
    {"side": "BUY", "symbol": "BTCUSDT", "qty": 0.05, "type": "MARKET", "client_order_id": "seed-filled"},
)


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox. `environment` is the file that binds experiments to it; `database` is the kind of it."""

    directory: Path
    ports: Mapping[str, int]
    flaws: tuple[str, ...]
    database: str

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    @property
    def environment(self) -> Path:
        return self.directory / traces.ENVIRONMENT

    @property
    def alerts(self) -> Mapping[str, str]:
        """Where its Prometheus, its Alertmanager and its catcher are; empty without monitoring."""
        return monitoring.urls(self.ports)


@dataclass(frozen=True)
class ServiceStatus:
    """`state` is healthy, starting or down; `pid` is None while it is down; `last_exit` is how its incarnation before
    ended: "oom-killed", "killed", "exit N", or "" if this is its first."""

    state: str
    pid: int | None
    restarts: int
    last_exit: str


@dataclass(frozen=True)
class Status:
    """`cgroups`: the gateway's limits are the kernel's, not emulated."""

    sandbox: Sandbox
    services: Mapping[str, ServiceStatus]
    cgroups: bool


def up(
    directory: Path,
    *,
    free_ports: bool = False,
    flaws: Sequence[str] = (),
    base: Path | None = None,
    owner: int | None = None,
    database: str | None = None,
    lease: float = 30.0,
    emulated: bool = False,
    monitored: Path | None = None,
    backups: bool = False,
) -> Sandbox:
    """Start a sandbox in a directory and seed its orders; returns when it trades, about a second later.

    `base` is the environment file that the sandbox's own `environment.yaml` builds on. Raises UsageError: a port in
    use, already up, an unknown flaw, a start that fails. Whatever goes wrong, nothing is left behind. Soon after
    the process `owner` is dead the sandbox ends by itself. `database` is "postgresql" or "stand-in", None for the first
    that this machine has; `lease` is how long what Vault leases lives, in seconds. `emulated`: no control group, no
    mount, even for root. `monitored`: with a Prometheus, an Alertmanager and a catcher, by the files in that folder.
    `backups`: of a PostgreSQL, whose disk and those of gateway and engine can then be lost; raises Refused where there
    is none.
    """
    directory = directory.resolve()
    chosen = known_flaws.checked(flaws, monitored is not None)
    if monitored:
        monitoring.require()
    if backups:
        backup.require()
        database = databases.POSTGRESQL
    with traces.locked(directory) as made, contextlib.ExitStack() as kept:
        if find(directory):
            raise UsageError(f"a sandbox is already up in {directory}; use it, or `veloz-chaos sandbox down` first")
        made = (*traces.made_by(directory), *made)
        try:
            _clear(directory)
            claim = None
            if free_ports:
                numbers, claim = ports.unused(monitored is not None)
                kept.enter_context(claim)
            else:
                numbers = ports.fixed(monitored is not None)
            settings = Settings(directory, numbers, chosen, made, owner=owner)
            settings = replace(settings, database=database or databases.kind(), lease=lease)
            settings = replace(settings, group=limits.new_group(), emulated=emulated, backups=backups)
            _start(settings, monitored, claim)
            if backups:
                if not until(lambda: _persisted(settings.ports["gateway"]), READY_WITHIN):
                    raise UsageError(f"the first orders do not come to be in the database; {_tail(directory)}")
                backup.take(settings)
                site.mark(directory)
            traces.write_environment(settings, base)
        except BaseException:
            _clear(directory)
            traces.remove_empty(made)
            raise
    return Sandbox(directory, settings.ports, chosen, settings.database)


def down(directory: Path) -> None:
    """End every process of the sandbox in a directory and remove all that `up` created there. Safe twice."""
    directory = directory.resolve()
    made = traces.made_by(directory)
    _clear(directory)
    traces.remove_empty(made)


def _clear(directory: Path) -> None:
    """End what runs there and remove the files, but no directory that `up` may be holding."""
    identities = _identities(directory)
    _signal((one for one in identities if one["service"] == "supervisor"), signal.SIGTERM)
    if not until(lambda: not _alive(identities), GRACE):
        _signal(_identities(directory), signal.SIGKILL)
        until(lambda: not _alive(identities), GRACE)
    _reap(identities)
    traces.remove(directory)


def find(directory: Path) -> Sandbox | None:
    """The sandbox that runs in a directory, if one does."""
    directory = directory.resolve()
    supervisors = [one for one in _identities(directory) if one["service"] == "supervisor"]
    if not _alive(supervisors):
        return None
    settings = settings_file.read(directory)
    return Sandbox(directory, settings.ports, settings.flaws, settings.database)


def status(directory: Path) -> Status | None:
    """What the supervisor says of its services; None if no sandbox runs there or it does not answer."""
    sandbox = find(directory)
    answer = _ask(sandbox.ports["supervisor"], "GET", "/status") if sandbox else None
    if sandbox is None or answer is None:
        return None
    told = json.loads(answer)
    services = {name: ServiceStatus(**fields) for name, fields in told["services"].items()}
    return Status(sandbox, services, told["cgroups"])


def restart(directory: Path, service: str) -> None:
    """Kill a service if it lives, start it again at once, wait until it serves. Raises UsageError."""
    known = settings_file.read(directory.resolve()).services
    if service not in known:
        raise UsageError(f"the sandbox has no service `{service}`; known: {', '.join(known)}")
    identities = _identities(directory.resolve())
    ended = [one for one in identities if one["service"] == service]
    supervisor = [one for one in identities if one["service"] == "supervisor"]
    dead = {identity.pid for identity in _alive(ended)}
    _signal(ended, signal.SIGKILL)
    if not until(lambda: not _alive(ended) and _serves(directory, service, supervisor, dead), READY_WITHIN):
        raise UsageError(f"{service} did not start; {_tail(directory.resolve())}")


def end(directory: Path, services: Container[str]) -> None:
    """Kill these, and wait until the supervisor knows: without their disks they stay down."""
    ended = [one for one in _identities(directory) if one["service"] in services]
    _signal(ended, signal.SIGKILL)

    def known() -> bool:
        found = status(directory)
        states = {name: one.state for name, one in found.services.items() if name in services} if found else {}
        return bool(states) and not _alive(ended) and set(states.values()) == {"down"}

    if not until(known, GRACE):
        raise UsageError(f"{directory}: what is to be restored does not end")


def start(directory: Path, services: Sequence[str]) -> None:
    """What is down, at once; returns when all of these serve. Raises UsageError."""
    supervisor = [one for one in _identities(directory) if one["service"] == "supervisor"]
    if not until(lambda: all(_serves(directory, name, supervisor, ()) for name in services), READY_WITHIN):
        raise UsageError(f"{', '.join(services)} did not start; {_tail(directory)}")


def _serves(
    directory: Path, service: str, supervisor: Iterable[Mapping[str, Any]], dead: Container[int | None]
) -> bool:
    """Tells the supervisor, again and again, not to wait with what is down; it may not know yet of who is `dead`."""
    found = status(directory)
    if found is not None and found.services[service].state == "down":
        _signal(supervisor, signal.SIGHUP)
    if found is None or found.services[service].pid in dead:
        return False
    return found.services[service].state == "healthy"


def _start(settings: Settings, templates: Path | None, claim: socket.socket | None) -> None:
    traces.leave(settings)
    if templates:
        from veloz_chaos.sandbox import monitoring_files

        monitoring_files.leave(settings, templates)
    supervisor = _spawn_supervisor(settings.directory, claim)
    deadline = time.monotonic() + (WATCHED_WITHIN if settings.monitored else READY_WITHIN)
    while not _ready(settings):
        failed = process.start_time(supervisor) is None or _restarted(settings.directory)
        if failed or time.monotonic() > deadline:
            raise UsageError(f"the sandbox did not start; {_tail(settings.directory)}")
        time.sleep(0.02)
    if refused := seed(settings.ports["gateway"]):
        raise UsageError(f"{refused}; {_tail(settings.directory)}")


def seed(gateway: int, host: str = LOOPBACK) -> str:
    """Give it the orders that every sandbox begins with; why that failed, or nothing. Safe twice."""
    for order in SEEDS:
        answer = _ask(gateway, "POST", "/api/order", order, host)
        if answer is None or not json.loads(answer)["ok"]:
            return f"the sandbox refused its first order: {answer}"
    return ""


def _spawn_supervisor(directory: Path, claim: socket.socket | None) -> int:
    """Start it detached, in a session of its own, with its output in the log directory; the claim to its ports is its
    own from then on."""
    output = str(directory / "log" / "supervisor.stderr")
    arguments = [sys.executable, "-m", "veloz_chaos.sandbox.supervisor", str(directory)]
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        *([(os.POSIX_SPAWN_DUP2, claim.fileno(), _CLAIM)] if claim else []),
    ]
    waiting = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:  # a Ctrl-C comes before there is a supervisor, or when it is on record
        pid = os.posix_spawn(sys.executable, arguments, os.environ, file_actions=files, setsid=True, setsigmask=waiting)
        process.record(directory, "supervisor", pid)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting)


def _restarted(directory: Path) -> bool:
    """Whether some service died while it was being started."""
    services = [recorded["service"] for recorded in _identities(directory)]
    return len(services) > len(set(services))


def _ready(settings: Settings) -> bool:
    """All services serve, and the gateway has its engine, its exchange and all else."""
    overview = _ask(settings.ports["supervisor"], "GET", "/status")
    states = json.loads(overview)["services"] if overview else {}
    if any(states.get(name, {}).get("state") != "healthy" for name in settings.services):
        return False
    return trades(settings.ports["gateway"]) and (not settings.monitored or watched(settings.ports["prometheus"]))


def watched(prometheus: int, host: str = LOOPBACK) -> bool:
    """The Prometheus on that port reads every target and evaluates every rule, and all is quiet."""
    told = [
        _ask(prometheus, "GET", f"/api/v1/{what}", host=host) for what in ("targets?state=active", "rules?type=alert")
    ]
    return all(told) and monitoring.watches(*(json.loads(one or "") for one in told))


def trades(gateway: int, host: str = LOOPBACK) -> bool:
    """The gateway on that port has its engine, its exchange and all else."""
    metrics = _ask(gateway, "GET", "/metrics", host=host)
    lines = metrics.splitlines() if metrics else []
    return all(line in lines for line in TRADING) and all(
        line.endswith(" 1") for line in lines if line.startswith(PART)
    )


def _persisted(gateway: int) -> bool:
    """Nothing waits to be written to the database."""
    health = _ask(gateway, "GET", "/health")
    part = json.loads(health).get("database", {}) if health else {}
    return part.get("status") == "ok" and not part.get("pending")


def _ask(port: int, method: str, path: str, body: object = None, host: str = LOOPBACK) -> str | None:
    """The text that one request is answered with; None if there is no answer."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _identities(directory: Path) -> list[dict[str, Any]]:
    """Every process that the supervisor recorded; a line torn by a kill is left out."""
    file = directory / process.PROCESSES
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _identity(recorded: Mapping[str, Any]) -> Identity:
    return Identity(recorded["pid"], recorded["start"], recorded["boot"])


def _alive(identities: Iterable[Mapping[str, Any]]) -> list[Identity]:
    return [identity for identity in map(_identity, identities) if process.alive(identity)]


def _signal(identities: Iterable[Mapping[str, Any]], number: signal.Signals) -> None:
    for identity in _alive(identities):
        try:
            os.kill(identity.pid, number)
        except ProcessLookupError:
            continue


def _reap(identities: Iterable[Mapping[str, Any]]) -> None:
    """Take the supervisor's exit status if this very process started it, so that no zombie stays."""
    for recorded in identities:
        try:
            os.waitpid(recorded["pid"], os.WNOHANG)
        except ChildProcessError:
            continue


def until(holds: Callable[[], object], seconds: float, every: float = 0.01) -> bool:
    """Whether it came to hold in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def _tail(directory: Path) -> str:
    """The last lines that the processes wrote before they failed."""
    parts = []
    for file in sorted((directory / "log").glob("*.stderr")):
        lines = file.read_text(errors="replace").splitlines()[-5:]
        parts += [f"{file.stem}: {line}" for line in lines]
    return "\n".join(["the log says:", *parts]) if parts else "the log is empty: try again"
