"""One service of the sandbox as a container of its own: `python -m veloz_chaos.sandbox.container SERVICE`.

The platform is its supervisor: it starts, limits and restarts it, and SIGTERM ends it. What the embedded sandbox has in
its settings file is in the environment here:

    VELOZ_DIRECTORY   what is kept; a volume at `<directory>/SERVICE` outlives the container, the gateway's log is in
                      `<directory>/volume`
    VELOZ_FLAWS       names of flaws, separated by commas
    VELOZ_ENGINE, VELOZ_EXCHANGE, VELOZ_DATABASE, VELOZ_VAULT, VELOZ_DNS
                      host:port of what a service needs; VELOZ_EXCHANGE is also what the DNS server answers
    VELOZ_GATEWAY, VELOZ_WATCHER, VELOZ_ALERTMANAGER, VELOZ_CATCHER
                      host:port of what `prometheus` and `alertmanager` need
    VAULT_TOKEN       what the gateway shows to Vault, and Vault accepts
    VELOZ_ENGINE_AS   "child": the gateway has its engine as a child process and watches over it, as the real one does
    VELOZ_ADDRESS     host:port at which others reach this gateway: a second one then stands by and passes on to it
    VELOZ_RELEASE     changes when an operator starts the engine anew; unset where the platform may be told not to start
                      it again

Flaws of the supervisor that a platform has no setting for are the engine's own here: it starts late, falls again, or
never serves again. `seed` is no service: it waits until the gateway at VELOZ_GATEWAY trades, gives it its first orders,
and ends. Nor are those that monitor: `watcher` is watcher.py; `prometheus` and `alertmanager` fill in their files of
environments/monitoring/ and become the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import control, flaws, process, standby, supervisor, vault_store, volume
from veloz_chaos.sandbox.process import Serve
from veloz_chaos.sandbox.settings import EVERYWHERE, LOOPBACK, MONITOR_PORTS, PORTS, Settings
from veloz_chaos.sandbox.truth import TruthLog

SERVICES = ("gateway", "engine", "exchange", "database", "vault", "dns")
SEED, WATCHER, PROGRAMS = "seed", "watcher", ("prometheus", "alertmanager")
#: Those that two of at once would spoil the state of.
ONE_AT_A_TIME = ("gateway", "engine")
#: variable -> the port's name in the settings
PLACES = {f"VELOZ_{name.upper()}": f"{name}-link" for name in ("engine", "exchange", "database", "vault", "dns")}
PLACES |= {f"VELOZ_{name.upper()}": name for name in ("gateway", "alertmanager", "catcher")}
PLACES |= {"VELOZ_WATCHER": "supervisor"}
DIRECTORY, TOKEN = "/var/lib/veloz", "veloz-sandbox"
TEMPLATES = Path("/opt/veloz/environments/monitoring")
#: Seconds that a late engine stays away, and what a killed process leaves as its exit code.
LATE, KILLED = 11.0, 137
#: Seconds until it must trade, and between two looks.
TRADES_WITHIN, LOOK_EVERY = 100.0, 0.2


def settings(environment: Mapping[str, str]) -> Settings:
    """Raises UsageError."""
    places = {port: _place(name, environment[name]) for name, port in PLACES.items() if environment.get(name)}
    ports = {**PORTS, **MONITOR_PORTS, **{name: port for name, (_, port) in places.items()}}
    chosen = flaws.checked([name for name in environment.get("VELOZ_FLAWS", "").split(",") if name], True)
    found = Settings(Path(environment.get("VELOZ_DIRECTORY", DIRECTORY)), ports, chosen, contained=True)
    hosts = {name: host for name, (host, _) in places.items()}
    return replace(found, hosts=hosts, listen=environment.get("VELOZ_LISTEN", EVERYWHERE))


def _place(name: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"{name}={text}: write host:port")
    return host, int(port)


def main(service: str, environment: Mapping[str, str]) -> None:
    if service == SEED:
        seed(*_place("VELOZ_GATEWAY", environment.get("VELOZ_GATEWAY", "")))
        return
    if service == WATCHER:
        from veloz_chaos.sandbox import watcher

        watcher.main(environment)
        return
    made = settings(environment)
    if service in PROGRAMS:
        become(service, made)
    if service not in SERVICES:
        raise UsageError(f"no service {service!r}; it is one of: {', '.join(SERVICES)}")
    for name in ("log", service):
        (made.directory / name).mkdir(parents=True, exist_ok=True)
    serve: Serve = importlib.import_module(f"veloz_chaos.sandbox.{service}").serve
    prepared = _prepared(service, made, environment, serve)
    if service in ONE_AT_A_TIME:
        address = environment.get("VELOZ_ADDRESS", "") if service == "gateway" else ""
        prepared = standby.alone(prepared, service, address)
    process.run_alone(made, prepared)


def seed(host: str, port: int) -> None:
    """The gateway's first orders, once it trades. Raises UsageError."""
    if not control.until(lambda: control.trades(port, host), TRADES_WITHIN, LOOK_EVERY):
        raise UsageError(f"the gateway at {host}:{port} does not trade within {TRADES_WITHIN:.0f} s")
    if refused := control.seed(port, host):
        raise UsageError(refused)


def become(program: str, made: Settings) -> NoReturn:
    """This process is that program, with its files filled in. Raises UsageError where it is not installed."""
    from veloz_chaos.sandbox import monitoring, monitoring_files

    monitoring_files.leave(made, TEMPLATES)
    command = monitoring.command(program, made)
    os.execv(command[0], command)


def _prepared(service: str, made: Settings, environment: Mapping[str, str], serve: Serve) -> Serve:
    """What `up` and the supervisor do elsewhere before a service runs, and beside it."""
    token = environment.get("VAULT_TOKEN", TOKEN)
    if service == "vault" and not (made.directory / "vault" / "store.json").exists():
        vault_store.leave(made.directory / "vault", token)
    if service == "gateway":
        _write_token(made.directory / "vault", token)
        if not any((made.directory / volume.NAME).iterdir()):
            volume.fill_with_old_logs(made.directory)
        if environment.get("VELOZ_ENGINE_AS") == "child":
            return beside(serve, keep_engine)
    if service == "engine":
        return flawed_engine(made, serve, environment.get("VELOZ_RELEASE", ""))
    return serve


def _write_token(folder: Path, token: str) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / vault_store.TOKEN).write_text(token)


def beside(serve: Serve, keep: Callable[[Settings], Awaitable[None]]) -> Serve:
    """Both, until the service ends."""

    async def both(made: Settings, stop: asyncio.Event) -> None:
        keeping = asyncio.ensure_future(keep(made))
        try:
            await serve(made, stop)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    return both


async def keep_engine(made: Settings) -> None:
    """The gateway's watchdog: starts the engine, and a second after its death again, unless a flaw forbids it."""
    truth = TruthLog(made.directory, "watchdog")
    command = (sys.executable, "-m", "veloz_chaos.sandbox.container", "engine")
    while True:
        child = await asyncio.create_subprocess_exec(*command, env={**os.environ, "VELOZ_LISTEN": LOOPBACK})
        truth.write("started", service="engine", pid=child.pid)
        try:
            code = await child.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            await child.wait()
            raise
        truth.write("exited", service="engine", pid=child.pid, **supervisor.how_it_ended(code))
        if made.has("engine-never-restarts"):
            return
        await asyncio.sleep(supervisor.RESTART_AFTER["engine"])


def flawed_engine(made: Settings, serve: Serve, release: str = "") -> Serve:
    """Late at every start of a release but its first; or gone again soon, for a while after its first death; or, where
    the platform starts whatever has ended, there but never serving again."""
    first = made.directory / "engine" / "first-death"
    started = made.directory / "engine" / "started"
    again = started.exists() and started.read_text() == release
    started.write_text(release)
    if not again:
        first.unlink(missing_ok=True)
    elif not first.exists():
        first.write_text(str(time.time()))
    if again and release and made.has("engine-never-restarts"):
        return never
    if again and made.has("engine-slow-restart"):
        return later(serve, LATE)
    if again and made.has("relapses-after-recovery"):
        return beside(serve, lambda _: relapse(float(first.read_text())))
    return serve


async def never(_: Settings, stop: asyncio.Event) -> None:
    await stop.wait()


def later(serve: Serve, seconds: float) -> Serve:
    async def late(made: Settings, stop: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)
        if not stop.is_set():
            await serve(made, stop)

    return late


async def relapse(first_death: float) -> None:
    """`first_death` in seconds since the epoch."""
    await asyncio.sleep(supervisor.RELAPSE_AFTER)
    if time.time() < first_death + supervisor.RELAPSES_FOR:
        os._exit(KILLED)


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) == 2 else "", os.environ)
    except UsageError as problem:
        sys.exit(str(problem))
