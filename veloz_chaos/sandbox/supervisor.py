"""The supervisor: container runtime and engine watchdog in one. It starts the services, notices at once when one exits,
restarts it a little later, and kills a gateway that no longer answers its liveness check.

GET /status says what an operator would read: each service is "down" until restarted, "starting" until it serves,
then "healthy"; `last_exit` tells how its incarnation before ended. GET /metrics says the same to a Prometheus. SIGHUP
starts at once what is down. Ends with SIGTERM; when it dies otherwise, its children die with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from veloz_chaos.sandbox import limits, monitoring, plain_http, process, service_metrics, site, traces
from veloz_chaos.sandbox import settings as settings_file
from veloz_chaos.sandbox.limits import LIMITED, Limits
from veloz_chaos.sandbox.settings import MONITORS, Settings
from veloz_chaos.sandbox.truth import TruthLog

#: Seconds. What is not the platform's own stays away long enough for the gateway to call it unavailable.
RESTART_AFTER = {"gateway": 0.5, "engine": 1.0, "links": 0.5, "faults": 0.5, "dns": 0.5}
RESTART_AFTER |= dict.fromkeys(("exchange", "database", "vault"), 2.0) | dict.fromkeys(MONITORS, 0.5)
LIVENESS_EVERY = LIVENESS_TIMEOUT = 0.5
LIVENESS_MISSES = 3
RELAPSE_AFTER, RELAPSES_FOR = 2.5, 15.0
#: A guardian has so long to take out what its dead run left in the sandbox. Seconds.
ORPHAN_STAYS = 10.0


class Service:
    """One supervised service: the state that /status shows, and the process of its present incarnation."""

    def __init__(self, name: str, settings: Settings, truth: TruthLog, limited: Limits) -> None:
        self.name, self.settings, self.truth, self.limits = name, settings, truth, limited
        self.state, self.restarts, self.last_exit = "starting", 0, ""
        self.deaths: Counter[str] = Counter()
        self.process: asyncio.subprocess.Process | None = None
        self.first_death: float | None = None
        self.wanted = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.state != "down" else None

    def status(self) -> dict[str, object]:
        return {"state": self.state, "pid": self.pid, "restarts": self.restarts, "last_exit": self.last_exit}

    def told(self) -> service_metrics.Told:
        return service_metrics.told(self.name, self.state, self.restarts, self.last_exit, self.deaths)

    async def keep_running(self) -> None:
        """Start it; whenever it exits, wait (or be told by SIGHUP that it is wanted) and start it again."""
        while True:
            await self._live_once()
            self.wanted.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wanted.wait(), restart_delay(self.name, self.settings))
            await self._until_its_disk_is_there()
            self.restarts += 1

    async def _until_its_disk_is_there(self) -> None:
        while site.lost(self.settings.directory, self.name):
            self.wanted.clear()
            await self.wanted.wait()

    async def _live_once(self) -> None:
        child = self.process = await spawn(self.name, self.settings, self.limits)
        self.state = "starting"
        self.truth.write("started", service=self.name, pid=child.pid)
        watching = asyncio.gather(self._watch(child), self.limits.watch(self.name, child.pid))
        code = await child.wait()
        self.state, self.last_exit = "down", self.limits.ended(self.name, child.pid, code)
        self.deaths[service_metrics.reason(self.last_exit)] += 1
        if self.last_exit == limits.OOM:
            self.truth.write("oom", service=self.name, pid=child.pid)
        self.truth.write("exited", service=self.name, pid=child.pid, **how_it_ended(code))
        self.first_death = self.first_death or time.monotonic()
        watching.cancel()

    async def _watch(self, child: asyncio.subprocess.Process) -> None:
        if not await self._until_ready(child):
            return
        self.state = "healthy"
        self.truth.write("healthy", service=self.name, pid=child.pid)
        if self.name == "gateway":
            await kill_when_not_live(child, self.settings.ports["gateway"])
        if self.name == "engine" and self.settings.has("relapses-after-recovery"):
            await self._relapse(child)

    async def _until_ready(self, child: asyncio.subprocess.Process) -> bool:
        if self.name in MONITORS:
            await monitoring.until_ready(self.name, self.settings)
            return True
        assert child.stdout
        return await child.stdout.readline() == b"ready\n"

    async def _relapse(self, child: asyncio.subprocess.Process) -> None:
        await asyncio.sleep(RELAPSE_AFTER)
        if self.first_death is not None and time.monotonic() < self.first_death + RELAPSES_FOR:
            child.kill()

    async def end(self) -> None:
        """Ask it to end, also if it is stopped; after a second, kill it."""
        child = self.process
        if child is None or child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            child.terminate()
            child.send_signal(signal.SIGCONT)
            await _wait(child, 1.0)
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            child.kill()
            await _wait(child, 5.0)


async def _wait(child: asyncio.subprocess.Process, seconds: float) -> None:
    await asyncio.wait_for(asyncio.shield(child.wait()), seconds)


def restart_delay(name: str, settings: Settings) -> float | None:
    """Seconds between a service's death and its restart; None: it stays dead until somebody wants it."""
    if name == "engine" and settings.has("engine-never-restarts"):
        return None
    if name == "engine" and settings.has("engine-slow-restart"):
        return 12.0
    return RESTART_AFTER[name]


def how_it_ended(code: int) -> dict[str, int]:
    return {"signal": -code} if code < 0 else {"code": code}


async def spawn(name: str, settings: Settings, limited: Limits) -> asyncio.subprocess.Process:
    """Start a service's process in its own session and within its limits; record it before it does anything."""
    directory, foreign = settings.directory, name in MONITORS
    command = (sys.executable, "-m", f"veloz_chaos.sandbox.{name}", str(directory))
    with open(directory / "log" / f"{name}.stderr", "ab") as stderr:
        child = await asyncio.create_subprocess_exec(
            *(monitoring.command(name, settings) if foreign else limited.command(name, command)),
            stdin=asyncio.subprocess.PIPE,
            stdout=stderr if foreign else asyncio.subprocess.PIPE,
            stderr=stderr,
            env=environment(name),
            start_new_session=True,
            preexec_fn=process.dies_with_us() if foreign else None,
        )
    process.record(directory, name, child.pid)
    return child


def environment(name: str) -> dict[str, str]:
    """The gateway's holds what it falls back to when there is no Vault."""
    credentials = {"VELOZ_BINANCE_API_KEY": "sandbox-environment", "VELOZ_BINANCE_API_SECRET": "sandbox"}
    return {**os.environ, **(credentials if name == "gateway" else {})}


async def kill_when_not_live(child: asyncio.subprocess.Process, port: int) -> None:
    """Ask /health/live every half second; return after the kill that follows three misses in a row."""
    misses = 0
    while misses < LIVENESS_MISSES:
        await asyncio.sleep(LIVENESS_EVERY)
        status = await plain_http.get_status(port, "/health/live", LIVENESS_TIMEOUT)
        misses = 0 if status == 200 else misses + 1
    with contextlib.suppress(ProcessLookupError):
        child.kill()


async def supervise(settings: Settings, limited: Limits) -> None:
    stop = process.stop_on_sigterm()
    truth = TruthLog(settings.directory, "supervisor")
    services = [Service(name, settings, truth, limited) for name in settings.services]
    answers = {"/status": lambda: overview(services, limited), "/metrics": lambda: metrics(services, limited)}
    server = await plain_http.serve(settings.ports["supervisor"], answers)
    keepers = [asyncio.create_task(service.keep_running()) for service in services]
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, start_all, services)
    orphaned = watch_owner(settings.owner, stop)
    await stop.wait()
    for keeper in keepers:
        keeper.cancel()
    await asyncio.gather(*(service.end() for service in reversed(services)))
    server.close()
    limited.release()
    if orphaned.is_set():
        traces.remove(settings.directory)
        traces.remove_empty(settings.made)


def watch_owner(owner: int | None, stop: asyncio.Event) -> asyncio.Event:
    """When the run that owns the sandbox is dead, its guardian gets a moment; then there is nobody left to stop for."""
    orphaned = asyncio.Event()
    if owner is None:
        return orphaned
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(owner)

    def leave() -> None:
        loop.remove_reader(descriptor)
        orphaned.set()
        loop.call_later(ORPHAN_STAYS, stop.set)

    loop.add_reader(descriptor, leave)
    return orphaned


def start_all(services: list[Service]) -> None:
    for service in services:
        service.wanted.set()


def overview(services: list[Service], limited: Limits) -> dict[str, object]:
    return {"cgroups": limited.cgroups, "services": {service.name: service.status() for service in services}}


def metrics(services: list[Service], limited: Limits) -> str:
    (gateway,) = (service for service in services if service.name == LIMITED)
    return service_metrics.text([service.told() for service in services], limited.used(gateway.pid))


def main() -> None:
    settings = settings_file.read(Path(sys.argv[1]))
    with limits.applied(settings) as limited:
        asyncio.run(supervise(settings, limited))


if __name__ == "__main__":
    main()
