"""A small system to hurt: an HTTP server whose health is that of a fake target, with a supervisor that restarts it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from tests.infra.upstreams import HttpServer
from veloz_chaos.core import event as ev
from veloz_chaos.engine.conduct import Request, Result, conduct
from veloz_chaos.registry import Registry
from veloz_chaos.targets import fake

#: What is judged wants a look at least every three periods: so long this process, and its disk, may stand still.
LOOK = {"every": "200ms", "timeout": "500ms"}
#: Seconds between two looks of the supervisor.
TICK = 0.005


@dataclass
class System:
    """`restarts_after` seconds of being dead, a supervisor starts it again; None: nobody does. What counts is the time
    in which this process is at work: who stands still does not see what dies and comes back meanwhile."""

    folder: Path
    flaw: str | None = None
    restarts_after: float | None = 0.5
    name: str = field(default_factory=lambda: f"system-{uuid4().hex[:8]}")
    #: paths that always answer 200, and what each request carried
    lying: tuple[str, ...] = ()
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        state = fake.WORLD.get(self.name)
        return state is None or (state.alive and not state.paused)

    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def begin(self) -> None:
        self.server = HttpServer(("127.0.0.1", 0), _handler(self))
        self.over = threading.Event()
        self._threads = [
            threading.Thread(target=self.server.serve_forever, args=(0.01,)),
            threading.Thread(target=self._supervise),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        for thread in self._threads:
            thread.join()

    def _supervise(self) -> None:
        while not self.over.wait(TICK):
            state = fake.WORLD.get(self.name)
            if state is not None and not state.alive and self.restarts_after is not None:
                for _ in range(round(self.restarts_after / TICK)):
                    self.over.wait(TICK)
                fake.restart(self.name)

    # --- what a user would write -------------------------------------------------------------------------------

    def environment(self, **changes: Any) -> Path:
        data: dict[str, Any] = {
            "kind": "Environment",
            "version": 1,
            "name": "small",
            "tier": "development",
            "values": {"url": self.url()},
            "services": {"system": {"fake": {"id": self.name} | ({"flaw": self.flaw} if self.flaw else {})}},
            "probes": {
                "healthy": {"http": {"get": "${url}/health"}, "ok": "status == 200", **LOOK},
                "reported-down": {"http": {"get": "${url}/status"}, "ok": "status == 503", **LOOK},
                "alarm": {"http": {"get": "${url}/alarm"}, "ok": "status == 503", **LOOK},
            },
        }
        return self._write("environment", data | changes)

    def experiment(
        self, fault: dict[str, Any] | None = None, expect: dict[str, Any] | None = None, **changes: Any
    ) -> Path:
        data: dict[str, Any] = {
            "kind": "Experiment",
            "version": 1,
            "name": "small",
            "title": "A small system is hurt",
            "failure": "engine-crash",
            "allowed-on": ["development"],
            "blast-radius": {"last-replica": True},
            "steady-state": ["healthy"],
            "baseline": "300ms",
            "fault": fault or {"kill": {"service": "system"}},
            "expect": {"detection": ["reported-down"], "recovery": {"hold": "300ms"}} | (expect or {}),
        }
        return self._write("experiment", data | {key.replace("_", "-"): value for key, value in changes.items()})

    def _write(self, name: str, data: dict[str, Any]) -> Path:
        path = self.folder / f"{name}-{uuid4().hex[:6]}.yaml"
        path.write_text(yaml.safe_dump(data))
        return path

    def run(self, experiment: Path, environment: Path | None = None, **changes: Any) -> tuple[Result, list[ev.Event]]:
        events: list[ev.Event] = []
        registry = changes.pop("registry", None) or Registry()
        observe = changes.pop("observe", lambda _: None)

        def both(event: ev.Event) -> None:
            events.append(event)
            observe(event)

        request = Request(experiment, environment or self.environment(), **({"runs": self.folder / "runs"} | changes))
        return conduct(request, registry, both), events


def _handler(system: System) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            system.headers.append(dict(self.headers))
            status = 200 if system.healthy or self.path in system.lying else 503
            body = f"{status} for {self.headers.get('X-Token', 'nobody')}".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def running(folder: Path, **how: Any) -> Iterator[System]:
    system = System(folder, **how)
    system.begin()
    try:
        yield system
    finally:
        system.stop()
        fake.WORLD.pop(system.name, None)


def names(events: list[ev.Event]) -> list[str]:
    """The events that say what happened, without the looks and what comes whenever it likes."""
    return [
        e.event
        for e in events
        if e.event not in ("look-taken", "presence-looked", "guardian-started", "loop-stalled", "target-reported")
    ]


def verdicts(result: Result) -> dict[str, str]:
    return {finding.expectation: finding.verdict for finding in result.judgement.findings}
