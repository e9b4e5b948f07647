"""What `doctor` looks at: the machine, the guardian (a real one, whose runner is killed), the targets."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from veloz_chaos.core.capability import capability_of
from veloz_chaos.core.environment import Environment, ways
from veloz_chaos.core.survey import Inventory, Wanted
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine.survey import survey
from veloz_chaos.registry import Registry

#: Bytes that a run's journal should find free.
_ROOM = 100 << 20
#: So long may the guardian need to come up, and then to notice that its runner is dead. Seconds.
_PATIENCE = 20.0
_CI = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "BUILDKITE")


@dataclass(frozen=True)
class Check:
    state: Literal["good", "note", "bad"]
    what: str
    found: str


def machine(runs: Path) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("good" if sys.version_info >= (3, 11) else "bad", "Python", f"{version} on {sys.platform}")
    yield _able(Path("/proc/self/stat").exists(), "/proc", "is mounted", "is not mounted: no process can be reached")
    yield _able(
        hasattr(os, "pidfd_open"), "pidfd", "signals reach one incarnation only", "is missing: Linux 5.3 or later"
    )
    yield _able(
        hasattr(time, "CLOCK_BOOTTIME"), "clock", "counts suspend", "a sleep of the machine can hide in a length"
    )
    yield _room(runs)
    yield from _surroundings()


def _able(good: bool, what: str, found: str, otherwise: str) -> Check:
    return Check("good", what, found) if good else Check("bad", what, otherwise)


def _room(runs: Path) -> Check:
    """In the nearest folder that exists."""
    there = next(path for path in (runs.resolve(), *runs.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        return Check("bad", "runs", f"{there} can't be written to; choose another place with --runs")
    return Check("good" if free > _ROOM else "bad", "runs", f"{free >> 20} MiB free in {there}")


def _surroundings() -> Iterator[Check]:
    """Whatever kills whole groups of processes kills the guardian with its runner."""
    cgroup = Path("/proc/self/cgroup")
    group = cgroup.read_text() if cgroup.exists() else ""
    if ".service" in group.rsplit("/", 1)[-1]:
        yield Check("note", "systemd", "this is a unit: its stop kills the guardian too, unless KillMode=process")
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or "KUBERNETES_SERVICE_HOST" in os.environ:
        yield Check("note", "container", "its end takes the guardian along; what is held beyond it stays: use `revert`")
    named = [name for name in _CI if os.environ.get(name)]
    if named:
        yield Check("note", "CI", f"{named[0]} is set: a cancelled job may kill the guardian; add a step `revert`")


def guardian() -> Iterator[Check]:
    """Starts one for a runner that is then killed; it must close the journal."""
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-doctor-") as scratch:
        folder = Path(scratch) / "run"
        command = [sys.executable, "-m", "veloz_chaos.cli.victim", str(folder)]
        runner = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert runner.stdout is not None
        ready = runner.stdout.readline() == b"ready\n"
        runner.send_signal(signal.SIGKILL)
        _, complaint = runner.communicate()
        if not ready:
            yield Check("bad", "guardian", f"does not start: {complaint.decode(errors='replace').strip()[-300:]}")
            return
        began = time.monotonic()
        closed = _closed(folder)
        took = f"{(time.monotonic() - began) * 1000:.0f} ms"
        yield _able(closed, "guardian", f"outlived its killed runner and was done after {took}", "died with its runner")


def _closed(folder: Path) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if journals.finished(folder):
            return True
        time.sleep(0.02)
    return False


def reach(environment: Environment) -> tuple[list[list[str]], list[Check]]:
    """Each fault on each service and link: the mechanism, or why not; then what stands in the way."""
    known = Registry()
    wanted, unknown = _wanted(environment, known)
    inventory = survey(wanted, known)
    rows = [row for one in wanted for row in _possible(one, inventory, known)]
    checks = [Check("bad", name, why) for name, why in inventory.missing.items()]
    for name, found in inventory.found.items():
        left = [text for one in found for text in one.leftovers]
        checks += [Check("bad", name, text) for text in left] or [Check("good", name, str(found[0].reference))]
    return rows, unknown + checks


def _wanted(environment: Environment, known: Registry) -> tuple[list[Wanted], list[Check]]:
    wanted: list[Wanted] = []
    checks: list[Check] = []
    bound: list[tuple[Literal["service", "link"], str, Any]] = []
    bound += [("service", name, service) for name, service in environment.services.items()]
    bound += [("link", name, link) for name, link in environment.links.items()]
    for kind, name, binding in bound:
        for way in ways(binding):
            if way.type in known.backends():
                wanted.append(Wanted(name, kind, way.type, way.arguments))
            elif way.type == "stand-in":
                checks.append(Check("note", name, f"only a stand-in: {binding.models or 'see the environment'}"))
            else:
                checks.append(Check("bad", name, f"`{way.type}` targets can't be reached by this version"))
    return wanted, checks


def _possible(one: Wanted, inventory: Inventory, known: Registry) -> Iterator[list[str]]:
    for name in known.faults():
        fault = known.fault(name)
        if fault.on != one.kind:
            continue
        needs = capability_of(fault.needs)
        found = [f for f in inventory.found.get(one.name, ()) if f.reference.backend == one.backend]
        offers = [target.offers[needs] for target in found if needs in target.offers]
        lacks = next((f.lacks[needs] for f in found if needs in f.lacks), "")
        why_not = (
            inventory.missing.get(one.name) or (lacks and f"no: {lacks}") or f"no: {one.backend} does not offer {needs}"
        )
        yield [one.name, name, offers[0].mechanism if offers else why_not]
