"""Faults on real containers: how fast they are there and gone, and what is left when we are killed.

    python -m bench.docker [kill] [network] [killed] [orphaned] [latency] [ten] [--rounds 20] [--runs 50] [--seed 1]

Without names: all of them. Each keeps its rows in bench/results/docker-NAME.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from bench import containers, stand
from bench.containers import PORT, Stand
from veloz_chaos.core import event as ev
from veloz_chaos.core.capability import Target
from veloz_chaos.engine import journal as journals
from veloz_chaos.mechanisms import helper_container
from veloz_chaos.registry import Registry
from veloz_chaos.targets import docker as docker_target

Row = dict[str, Any]
LINK, SERVICE = "client->server", "client"
#: Of everything on a link: what a user would ask for.
NETWORK: tuple[tuple[str, dict[str, Any]], ...] = (
    ("partition", {}),
    ("partition", {"how": "reset"}),
    ("latency", {"delay": "100ms"}),
    ("loss", {"share": "50%"}),
    ("bandwidth", {"rate": "20KB/s"}),
    ("reset", {}),
)
HELD: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("network-latency", "latency", {"delay": "300ms"}),
    ("network-partition", "partition", {}),
)
#: Seconds after the baseline within which a run is killed: from before its preparation to its revert.
LATEST = 6.0
MANY = 10


def fault(kind: str, arguments: dict[str, Any]) -> Any:
    return TypeAdapter(Registry().fault(kind)).validate_python(arguments)


def found(backend: str, name: str, selector: dict[str, Any]) -> Target:
    module = Registry().backend(backend)
    return module.find(name, TypeAdapter(module.Selector).validate_python(selector))[0]


def link_of(container: str) -> dict[str, Any]:
    return {"name": container, "to": f"server:{PORT}", "ping": "http"}


# --- kill ----------------------------------------------------------------------------------------------------------


def kill(made: Stand, options: argparse.Namespace) -> Iterator[Row]:
    """From the call to the process gone: our fault, the signal alone through the same helper, the SDK."""
    for number in range(options.rounds):
        for way in ("ours", "raw", "sdk"):
            name = f"victim-{number}-{way}"
            container = made.container(name, containers.IDLE)
            try:
                yield {"way": way, "round": number, **_killed(made, container, f"{made.name}-{name}", way)}
            finally:
                made.remove(container)


def _killed(made: Stand, container: str, name: str, way: str) -> Row:
    target = found("docker", "victim", {"name": name})
    assert isinstance(target, docker_target.Container)
    strike, sign, pid = fault("kill", {}), f"vc-bench-{os.getpid()}", made.pid(container)
    receipt = strike.prepare(target, sign)
    helper = helper_container.obtain(target.beside, sign)
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: strike.inject(target, receipt),
        "raw": lambda: _raw(helper),
        "sdk": lambda: made.api.kill(container),
    }
    ended: list[float] = []
    watcher = containers.watching(pid, ended)
    called = time.monotonic()
    calls[way]()
    returned = time.monotonic()
    watcher.join()
    return {"gone_ms": _ms(ended[0] - called), "returned_ms": _ms(returned - called)}


def _raw(helper: helper_container.Helper) -> None:
    """It ends with its target, maybe before it has answered."""
    with suppress(helper_container.Ended):
        helper.call("signal", name="KILL")


def tell_kill(rows: list[Row]) -> None:
    medians = {way: statistics.median(_of(rows, "gone_ms", way=way)) for way in ("ours", "raw", "sdk")}
    print(*(f"{way}: {stand.spread(_of(rows, 'gone_ms', way=way))} ms" for way in medians), sep="\n")
    print(f"ours / raw {medians['ours'] / medians['raw']:.2f}, ours / SDK {medians['ours'] / medians['sdk']:.2f}")


# --- network -------------------------------------------------------------------------------------------------------


def network(made: Stand, options: argparse.Namespace) -> Iterator[Row]:
    """From the call to the first look that found it, and from the revert's call to the first that did not."""
    made.container("client", containers.IDLE)
    target = found("docker-link", LINK, link_of(f"{made.name}-client"))
    for number in range(max(1, options.rounds // 4)):
        for kind, arguments in NETWORK:
            one, sign = fault(kind, arguments), f"vc-bench-{os.getpid()}-{number}"
            receipt = one.prepare(target, sign) | {"expires": 60.0}
            there = _until(one, target, receipt, True)
            gone = _until(one, target, receipt, False)
            words = ",".join([kind, *map(str, arguments.values())])
            yield {"fault": words, "round": number, "in_place_ms": _ms(there), "gone_ms": _ms(gone)}


def _until(one: Any, target: Target, receipt: Row, shown: bool) -> float:
    """Inject, or revert: seconds from the call to the answer of the first look that sees it so."""
    called = time.monotonic()
    (one.inject if shown else one.revert)(target, receipt)
    while one.in_place(target, receipt).shown is not shown:
        assert time.monotonic() < called + 20, f"{one} is not {'there' if shown else 'gone'} after 20 s"
    return time.monotonic() - called


def tell_network(rows: list[Row]) -> None:
    for name in dict.fromkeys(row["fault"] for row in rows):
        for key in ("in_place_ms", "gone_ms"):
            print(f"{name} {key}: {stand.spread(_of(rows, key, fault=name))}")


# --- killed --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runs:
    """Whole runs of the product on a client and a server, in a folder of their own."""

    folder: Path
    made: Stand

    def files(self, name: str, services: Row, links: Row, call: Row) -> tuple[Path, Path]:
        """An environment and an experiment of one fault, which hurts nobody that is looked at."""
        environment = {
            "kind": "Environment", "version": 1, "name": self.made.name, "tier": "development",
            "services": services, "links": links, "budget": {},
            "probes": {"served": {"http": {"get": f"http://127.0.0.1:{self.made.published}/"}, "ok": "status == 200"}},
        }  # fmt: skip
        experiment = {
            "kind": "Experiment", "version": 1, "name": name, "title": name, "failure": "network-latency",
            "allowed-on": ["development"], "steady-state": ["served"], "baseline": "1s", "fault": call,
            "blast-radius": {"count": MANY, "percent": "100%", "last-replica": True},
            "expect": {"impact": "none", "recovery": {"hold": "1s"}},
        }  # fmt: skip
        paths = self.folder / f"{name}-environment.yaml", self.folder / f"{name}.yaml"
        for path, data in zip(paths, (environment, experiment), strict=True):
            path.write_text(yaml.safe_dump(data))
        return paths

    def start(self, environment: Path, experiment: Path, runs: Path) -> subprocess.Popen[bytes]:
        command = [*stand.PRODUCT, "run", str(experiment), "-e", str(environment), "--runs", str(runs), "-q"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=stand.ROOT)

    def events(self, runs: Path) -> list[ev.Event]:
        """Of the only run in that folder; none before there is one."""
        for file in runs.glob("*/journal.jsonl"):
            return list(journals.read(file.parent))
        return []

    def await_event(self, runs: Path, fits: Callable[[ev.Event], bool]) -> list[ev.Event]:
        """The journal so far, once such an event is in it."""
        deadline = time.monotonic() + 60
        while not any(map(fits, events := self.events(runs))):
            assert time.monotonic() < deadline, f"the run in {runs} does not come so far: {events[-1:]}"
            time.sleep(0.02)
        return events


@contextmanager
def running(made: Stand) -> Iterator[Runs]:
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-bench-") as folder:
        yield Runs(Path(folder), made)


def killed(made: Stand, options: argparse.Namespace) -> Iterator[Row]:
    """SIGKILL of the runner at a random moment: helpers, rules, and what a client feels, until nothing is left."""
    chance, client = random.Random(options.seed), made.container("client", containers.IDLE)
    pid = made.pid(client)
    observer = containers.Observer(pid, made.address)
    try:
        with running(made) as runs:
            for number in range(options.runs):
                name, kind, arguments = HELD[number % 2]
                links = {LINK: {"docker-link": link_of(f"{made.name}-client")}}
                files = runs.files(f"{name}-{number}", {}, links, {kind: {"link": LINK, **arguments, "for": "3s"}})
                moment = chance.uniform(0.0, LATEST)
                runner = runs.start(*files, runs.folder / str(number))
                runs.await_event(runs.folder / str(number), lambda one: isinstance(one, ev.BaselineEnded))
                time.sleep(moment)
                hurt = observer.hurt(time.monotonic() - 0.8)
                runner.kill()
                since = time.monotonic()
                runner.wait()
                after = _nothing_left(client, pid, observer, since, 15)
                again = _something_within(pid, observer, 2.0)
                yield {
                    "fault": kind, "moment_s": round(moment, 3), "hurt_when_killed": hurt, "gone_after_s": after,
                    "left": containers.left(client, pid), "reappeared": again,
                    "no_helper_after_s": _no_helper(client, since, 30),
                }  # fmt: skip
    finally:
        observer.stop()


def _nothing_left(client: str, pid: int, observer: containers.Observer, since: float, patience: float) -> float | None:
    """Seconds until neither helper nor rule is there and the client feels nothing; None if that never comes."""
    while time.monotonic() < since + patience:
        asked = time.monotonic()
        if not containers.left(client, pid):
            while (hurt := observer.hurt(asked)) is None:
                time.sleep(0.01)
            if not hurt:
                return round(time.monotonic() - since, 3)
        time.sleep(0.02)
    return None


def _no_helper(client: str, since: float, patience: float) -> float | None:
    """Seconds until none is left, of those that only look either: the guardian has ended."""
    while time.monotonic() < since + patience:
        if not containers.helpers(client):
            return round(time.monotonic() - since, 3)
        time.sleep(0.05)
    return None


def _something_within(pid: int, observer: containers.Observer, seconds: float) -> list[str]:
    """The guardian may look by a helper of its own; what counts is a rule, or a client that is hurt."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen = containers.rules(pid) + (["the client is hurt"] if observer.hurt(time.monotonic() - 0.1) else [])
        if seen:
            return seen
        time.sleep(0.1)
    return []


def tell_killed(rows: list[Row]) -> None:
    times = [row["gone_after_s"] for row in rows if row["gone_after_s"] is not None]
    print(f"killed {len(rows)} runs, {sum(bool(row['hurt_when_killed']) for row in rows)} with the fault in place")
    within = f"within 2 s {sum(t <= 2 for t in times)}; never {len(rows) - len(times)}"
    print(f"gone after s: {stand.spread(times)}; {within}")
    print(f"a helper still there in the end: {sum(row['no_helper_after_s'] is None for row in rows)}")
    print(f"reappeared: {sum(bool(row['reappeared']) for row in rows)}")


# --- orphaned ------------------------------------------------------------------------------------------------------


def orphaned(made: Stand, options: argparse.Namespace) -> Iterator[Row]:  # noqa: ARG001
    """Runner and guardian both killed; and both frozen with the connection to the helper open: its own expiry."""
    client = made.container("client", containers.IDLE)
    pid = made.pid(client)
    observer = containers.Observer(pid, made.address)
    try:
        with running(made) as runs:
            ways = [*(("killed", one) for one in HELD * 3), *(("frozen", one) for one in HELD)]
            for number, (how, held) in enumerate(ways):
                yield _orphan(runs, client, pid, observer, how, held, number)
    finally:
        observer.stop()


def _orphan(runs: Runs, client: str, pid: int, observer: containers.Observer, how: str, held: Any, number: int) -> Row:
    name, kind, arguments = held
    links = {LINK: {"docker-link": link_of(f"{runs.made.name}-client")}}
    files = runs.files(f"{name}-{number}", {}, links, {kind: {"link": LINK, **arguments, "for": "5s"}})
    folder = runs.folder / str(number)
    runner = runs.start(*files, folder)
    events = runs.await_event(folder, lambda one: isinstance(one, ev.PresenceLooked) and one.outcome == "shown")
    began = next(one.at for one in events if isinstance(one, ev.InjectionBegan))
    guardian = next(one.pid for one in runs.events(folder) if isinstance(one, ev.GuardianStarted))
    both = (runner.pid, guardian)
    for one in both:
        os.kill(one, signal.SIGSTOP)  # so that neither acts on the other's death
    if how == "killed":
        for one in both:
            os.kill(one, signal.SIGKILL)
    since = time.monotonic()
    try:
        after = _nothing_left(client, pid, observer, since, 120)
        at = time.clock_gettime(time.CLOCK_BOOTTIME) - began / 1e9
    finally:
        for one in both:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        runner.wait()
    expiry = next(one.receipt["expires"] for one in runs.events(folder) if isinstance(one, ev.FaultPrepared))
    return {"how": how, "fault": kind, "gone_after_s": after, "since_injection_s": round(at, 2), "expiry_s": expiry}


def tell_orphaned(rows: list[Row]) -> None:
    for how in ("killed", "frozen"):
        ours = [row for row in rows if row["how"] == how]
        gone = [row["since_injection_s"] <= row["expiry_s"] + 2 for row in ours if row["gone_after_s"] is not None]
        print(f"{how}: gone after {[row['gone_after_s'] for row in ours]} s; by the expiry {sum(gone)} of {len(ours)}")


# --- latency -------------------------------------------------------------------------------------------------------


def latency(made: Stand, options: argparse.Namespace) -> Iterator[Row]:  # noqa: ARG001
    """200 requests a second from inside a container, without and with 100 ms asked."""
    pid = made.pid(made.container("client", containers.IDLE))
    target = found("docker-link", LINK, link_of(f"{made.name}-client"))
    one, sign = fault("latency", {"delay": "100ms"}), f"vc-bench-{os.getpid()}-latency"
    for number in range(3):
        yield _flow("undisturbed", number, containers.driven(pid, made.address, 200, 10))
        receipt = one.prepare(target, sign) | {"expires": 60.0}
        one.inject(target, receipt)
        try:
            yield _flow("100 ms asked", number, containers.driven(pid, made.address, 200, 10))
        finally:
            one.revert(target, receipt)


def _flow(what: str, number: int, seconds: list[float]) -> Row:
    cuts = statistics.quantiles(seconds, n=100)
    return {"what": what, "round": number, "requests": len(seconds), "p50_ms": _ms(cuts[49]), "p99_ms": _ms(cuts[98])}


def tell_latency(rows: list[Row]) -> None:
    for what in dict.fromkeys(row["what"] for row in rows):
        print(what, *(f"{key} {stand.spread(_of(rows, key, what=what))}" for key in ("p50_ms", "p99_ms")), sep="; ")
    added = [after["p50_ms"] - before["p50_ms"] for before, after in zip(rows[::2], rows[1::2], strict=True)]
    print(f"added p50: {stand.spread(added)} ms")


# --- ten at once ---------------------------------------------------------------------------------------------------


def ten(made: Stand, options: argparse.Namespace) -> Iterator[Row]:
    """Whole runs that hit one container and ten: from the first injection to the last that was found in place, and
    from the first revert to the last that was found gone."""
    label = f"{containers.MARK}.many"
    for number in range(MANY):
        made.container(f"many-{number}", containers.IDLE, labels={label: made.name}, restart="always")
    service = {SERVICE: {"docker": {"label": f"{label}={made.name}"}}}
    link = {LINK: {"docker-link": {"label": f"{label}={made.name}", "to": f"server:{PORT}", "ping": "http"}}}
    calls: tuple[tuple[str, Row, Row, Row], ...] = (
        ("pause", service, {}, {"service": SERVICE, "for": "2s"}),
        ("latency", {}, link, {"link": LINK, "delay": "300ms", "for": "2s"}),
        ("kill", service, {}, {"service": SERVICE}),
    )
    with running(made) as runs:
        for number in range(max(1, options.rounds // 4)):
            for kind, services, links, call in calls:
                for count in (1, MANY):
                    _all_run(made, label)
                    files = runs.files(f"{kind}-{count}-{number}", services, links, {kind: {**call, "pick": count}})
                    folder = runs.folder / f"{kind}-{count}-{number}"
                    runner = runs.start(*files, folder)
                    _, said = runner.communicate()
                    events = runs.events(folder)
                    assert events, said.decode()
                    yield {"fault": kind, "containers": count, "round": number, **_lengths(events)}


def _all_run(made: Stand, label: str) -> None:
    """Those that were killed are started by their policy, the later the more often; we do not wait for that."""
    for one in made.api.containers(all=True, filters={"label": f"{label}={made.name}"}):
        if one["State"] != "running":
            made.api.restart(one["Id"], timeout=0)


def _lengths(events: list[ev.Event]) -> Row:
    looks = [one for one in events if isinstance(one, ev.PresenceLooked)]
    began = [one.at for one in events if isinstance(one, ev.InjectionBegan)]
    reverts = [one.at for one in events if isinstance(one, ev.RevertBegan)]
    cleared = [one.at for one in events if isinstance(one, ev.FaultCleared)]
    faults = {one.fault for one in events if isinstance(one, ev.InjectionBegan)}
    there = [min(one.answered for one in looks if one.fault == name and one.outcome == "shown") for name in faults]
    gone = [
        min(one.answered for one in looks if one.fault == name and one.outcome == "not-shown" and one.at > reverts[0])
        for name in (faults if reverts else ())
    ]
    row: Row = {"hit": len(faults), "in_place_ms": _ms((max(there) - min(began)) / 1e9)}
    row |= {"gone_ms": _ms((max(gone) - min(reverts)) / 1e9)} if gone else {}
    return row | ({"cleared_ms": _ms((max(cleared) - min(reverts)) / 1e9)} if cleared and reverts else {})


def tell_ten(rows: list[Row]) -> None:
    for kind in dict.fromkeys(row["fault"] for row in rows):
        for key in ("in_place_ms", "gone_ms", "cleared_ms"):
            one, many = (_of(rows, key, fault=kind, containers=count) for count in (1, MANY))
            if one and many:
                times = statistics.median(many) / statistics.median(one)
                print(f"{kind} {key}: one {stand.spread(one)}; ten {stand.spread(many)}: {times:.2f} ×")


# ---------------------------------------------------------------------------------------------------------------------

FIGURES: dict[str, tuple[Callable[[Stand, argparse.Namespace], Iterator[Row]], Callable[[list[Row]], None]]] = {
    "kill": (kill, tell_kill),
    "network": (network, tell_network),
    "killed": (killed, tell_killed),
    "orphaned": (orphaned, tell_orphaned),
    "latency": (latency, tell_latency),
    "ten": (ten, tell_ten),
}


def _of(rows: list[Row], key: str, **where: Any) -> list[float]:
    return [row[key] for row in rows if key in row and all(row[name] == value for name, value in where.items())]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # what was made is taken away all the same
    for name in options.figures or FIGURES:
        measure, tell = FIGURES[name]
        rows: list[Row] = []
        with containers.standing() as made:
            for row in measure(made, options):
                rows.append(row)
                print(json.dumps(row), flush=True)
        print(f"--- {name}")
        tell(rows)
        print(stand.keep(f"docker-{name}", rows))


if __name__ == "__main__":
    main()
