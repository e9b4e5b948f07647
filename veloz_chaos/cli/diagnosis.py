"""What `doctor` looks at: the machine, the guardian (a real one, whose runner is killed), the targets."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from veloz_chaos.core.capability import Target, capability_of
from veloz_chaos.core.environment import Environment, ways
from veloz_chaos.core.guard import mistaken
from veloz_chaos.core.planning import by_one_way
from veloz_chaos.core.survey import Inventory, Wanted
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine import rights
from veloz_chaos.engine.survey import survey
from veloz_chaos.registry import Registry
from veloz_chaos.reports.planned import spaced

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


#: What one service or link is, and for each fault the mechanism, or why not.
Reach = tuple[str, list[tuple[str, str]]]


def reach(environment: Environment) -> tuple[list[Reach], list[Check]]:
    """Each fault on each service and link; then what stands in the way."""
    known = Registry()
    wanted, unknown = _wanted(environment, known)
    inventory = survey(wanted, known, identify=True)
    names = dict.fromkeys(one.name for one in wanted)
    rows = [_possible([one for one in wanted if one.name == name], inventory, known) for name in names]
    checks = [Check("bad", names, why) for why, names in _together(inventory.missing).items()]
    checks += [Check("bad", "identity", why) for why in mistaken(environment, inventory)] or [
        Check("good" if environment.identity else "note", ", ".join(told), f"{key} is {value}")
        for key, told in inventory.systems.items()
        for value in dict.fromkeys(told.values())
    ]
    for name, found in inventory.found.items():
        left = [text for one in found for text in one.leftovers]
        there = [Check("good", name, spaced(str(one.reference))) for one in found]
        checks += [Check("bad", name, text) for text in left] or there
    return rows, unknown + checks


def allowed(environment: Environment) -> tuple[list[Check], list[str]]:
    """What this account may not do in the clusters of the environment; then the Roles that would grant it."""
    known = Registry()
    wanted, _ = _wanted(environment, known)
    needs = {"lease and mirror": list(rights.of_environment(environment))}
    vital = dict.fromkeys(needs)
    for one in wanted:
        looking = rights.of_target(one, "", known)
        needs[one.name], vital[one.name] = looking, None
        for fault in known.faults() if looking else ():
            if known.fault(fault).on == one.kind:
                needs[f"{fault} on {one.name}"] = rights.of_target(one, capability_of(known.fault(fault).needs), known)
    lacking, unknown = rights.lacking(needs)
    if unknown:
        return [Check("bad", "rights", f"they can't be asked for: {unknown}")], []
    checks = [
        Check("bad", name, "this account may not do what every run needs; see below")
        for name in lacking
        if name in vital
    ]
    if blocked := [name for name in lacking if name not in vital]:
        checks.append(Check("note", "rights", f"missing for {', '.join(blocked)}; what would grant them is below"))
    return checks, rights.granting(needs, lacking)


def _together(missing: Mapping[str, str]) -> dict[str, str]:
    """Reason -> whom it concerns."""
    return {why: ", ".join(name for name in missing if missing[name] == why) for why in missing.values()}


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


def _possible(ways: list[Wanted], inventory: Inventory, known: Registry) -> Reach:
    """What several faults have in common is told once."""
    told = dict[str, list[str]]()
    for fault in known.faults():
        kind = known.fault(fault)
        if kind.on == ways[0].kind:
            told.setdefault(_how(ways, inventory, known, kind.needs), []).append(fault)
    by = ", ".join(dict.fromkeys(way.backend for way in ways))
    return f"{ways[0].name} ({by})", [_answer(faults, how) for how, faults in told.items()]


def _answer(faults: list[str], how: str) -> tuple[str, str]:
    return (faults[0], how) if len(faults) == 1 else ("", f"{', '.join(faults)}: {how}")


def _how(ways: list[Wanted], inventory: Inventory, known: Registry, capability: type[Target]) -> str:
    """The mechanism of the first way that can, which is the one that a plan takes; or what would have to be written."""
    name, needs = ways[0].name, capability_of(capability)
    found = inventory.found.get(name, ())
    if not found:
        return "no: it was not found; see below"
    able = [one for one in found if needs in one.offers]
    if able:
        chosen = by_one_way(able)
        others = dict.fromkeys(one.reference.backend for one in able if one not in chosen)
        offer = chosen[0].offers[needs]
        also = f" (the environment also binds {' and '.join(others)})" if others else ""
        return ("emulated: " if offer.emulated else "") + offer.mechanism + also
    reasons = dict.fromkeys(one.lacks[needs] for one in found if needs in one.lacks)
    reasons |= {inventory.missing[name]: None} if name in inventory.missing else {}
    if reasons:
        return f"no: {'; '.join(reasons)}"
    tried = dict.fromkeys(way.backend for way in ways)
    can = [one for one in known.able(capability) if one not in tried]
    return f"no: not by {' or '.join(tried)}" + (f"; {' or '.join(can)} can" if can else "")
