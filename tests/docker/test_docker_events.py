"""What the engine tells of containers, alone and in whole runs."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.docker.engine import HUNGRY, Lab, by_tcp, docker
from tests.engine.system import names, running, verdicts
from tests.infra.toxiproxy import free_port
from veloz_chaos.core import event as ev
from veloz_chaos.core.capability import Report, Target
from veloz_chaos.errors import Gone
from veloz_chaos.targets import docker as target

pytestmark = pytest.mark.docker
#: A row of the matrix that leaves time to look, and to stand still in between.
UNHURRIED = "database-down"
IDLE = "import time; time.sleep(600)"
SERVER = "import http.server; http.server.test(http.server.SimpleHTTPRequestHandler, port=80)"
#: Seconds in which the engine acts, and we hear of it, on a busy machine too.
LONG = 60.0
DIED, STARTED = Report("died", "container", "exit 137"), Report("started", "container")


def found(name: str, **keys: Any) -> Target:
    return target.find("it", target.Selector(name=name, **keys))[0]


@contextmanager
def told(watched: Target) -> Iterator[queue.Queue[Report]]:
    reports: queue.Queue[Report] = queue.Queue()
    end = watched.watch(reports.put)
    try:
        yield reports
    finally:
        end()
        end()


def until(reports: queue.Queue[Report], wanted: Report) -> None:
    while reports.get(timeout=LONG) != wanted:
        pass


def quiet(reports: queue.Queue[Report], seconds: float = 0.5) -> bool:
    try:
        reports.get(timeout=seconds)
    except queue.Empty:
        return True
    return False


def test_a_death_and_the_start_of_the_successor_are_told_once(lab: Lab) -> None:
    name = lab.run(IDLE, "--restart", "always")
    with told(found(name)) as reports:
        lab.kill(name)
        assert [reports.get(timeout=LONG) for _ in range(2)] == [DIED, STARTED]
        lab.kill(name)
        assert quiet(reports, 3)


def test_a_kill_for_memory_is_told_along_with_the_death(lab: Lab) -> None:
    name = lab.run(HUNGRY, "-m", "40m")
    lab.await_word(name, "ready")
    with told(found(name)) as reports:
        lab.kill(name, 10)
        assert reports.get(timeout=LONG) == Report("out-of-memory", "container")
        lab.kill(name)
        assert reports.get(timeout=LONG) == DIED


def test_health_is_told_when_it_changes(lab: Lab) -> None:
    check = ("--health-cmd", "test -e /tmp/well", "--health-interval", "1s", "--health-retries", "1")
    name = lab.run(IDLE, *check)
    with told(found(name)) as reports:  # it is unhealthy by now, or will be
        docker("exec", name, "touch", "/tmp/well")
        until(reports, Report("healthy", "container"))
        docker("exec", name, "rm", "/tmp/well")
        assert reports.get(timeout=LONG) == Report("unhealthy", "container")


def test_a_successor_that_is_healthy_again_is_told(lab: Lab) -> None:
    check = ("--health-cmd", "true", "--health-interval", "1s")
    name = lab.run(IDLE, "--restart", "always", *check)
    with told(found(name)) as reports:
        lab.kill(name)
        until(reports, DIED)  # it may have been healthy before, or before we listened
        assert [reports.get(timeout=LONG) for _ in range(2)] == [STARTED, Report("replaced", "container")]


def test_others_are_not_told_of_and_nothing_is_once_it_is_over(lab: Lab) -> None:
    name, other = lab.run(IDLE), lab.run(IDLE)
    with told(found(name)) as reports:
        lab.kill(other)
        assert quiet(reports)
    lab.kill(name)
    assert quiet(reports)


def test_an_incarnation_that_is_over_is_not_watched(lab: Lab) -> None:
    name = lab.run(IDLE, "--restart", "always")
    old = found(name)
    docker("restart", "-t", "0", name)
    with pytest.raises(Gone):
        old.watch(lambda _: None)


def test_a_stream_that_breaks_is_resumed_and_nothing_is_lost_meanwhile(lab: Lab) -> None:
    name = lab.run(IDLE)
    with by_tcp() as door, told(found(name, host=door.host)) as reports:
        door.shut()
        lab.kill(name)
        docker("wait", name)
        assert quiet(reports)
        door.open()
        assert reports.get(timeout=LONG) == DIED
        door.shut()
        door.open()
        assert quiet(reports, 1)


# --- whole runs ----------------------------------------------------------------------------------------------------


def environment(name: str, port: int, **selector: Any) -> dict[str, Any]:
    look = {"every": "100ms", "timeout": "2s"}
    probes = {
        "healthy": {"http": {"get": f"http://127.0.0.1:{port}/"}, "ok": "status == 200", **look},
        "reported-down": {"docker": {"name": name}, "ok": "json.restarts > 0 || !json.running", **look},
        "alarm": {"docker": {"name": name}, "ok": "json.count == 0", **look},
    }
    return {"services": {"system": {"docker": {"name": name, **selector}}}, "probes": probes}


def served(lab: Lab, *options: str) -> tuple[str, int]:
    """A container that answers, under a policy that starts it again; its name and port."""
    port = free_port()
    name = lab.run(SERVER, "--restart", "always", "-p", f"127.0.0.1:{port}:80", *options)
    lab.await_http(port)
    return name, port


def reports(events: list[ev.Event]) -> list[ev.TargetReported]:
    return [event for event in events if isinstance(event, ev.TargetReported)]


def test_the_engine_s_report_narrows_the_beginning_of_a_kill(lab: Lab, tmp_path: Path) -> None:
    name, port = served(lab)
    written = environment(name, port)
    written["probes"]["reported-down"]["every"] = "5s"  # else it would look soon in any case
    with running(tmp_path) as system:
        result, events = system.run(system.experiment(failure=UNHURRIED), system.environment(**written))
    assert result.judgement.verdict == "passed", verdicts(result)
    died = next(event for event in reports(events) if event.what == "died")
    began = result.judgement.measurement.began
    assert began is not None
    assert began.at_most <= max(died.at, began.at_least)
    assert "started" in [event.what for event in reports(events)]
    looks = [e.asked - died.at for e in events if isinstance(e, ev.LookTaken) and e.probe == "reported-down"]
    assert min(late for late in looks if late >= 0) < 2_500_000_000


def test_a_container_that_restarts_under_a_held_fault_loses_it_and_the_verdict_says_so(
    lab: Lab, tmp_path: Path
) -> None:
    name, port = served(lab, "--cpus", "0.5")
    fault = {"cpu": {"service": "system", "for": "40s"}}
    with running(tmp_path) as system:
        seen: list[ev.Event] = []

        def kill_once_in_place(event: ev.Event) -> None:
            if isinstance(event, ev.PresenceLooked) and event.outcome == "shown" and not seen:
                seen.append(event)
                lab.kill(name)

        result, events = system.run(
            system.experiment(fault, failure=UNHURRIED),
            system.environment(**environment(name, port)),
            observe=kill_once_in_place,
        )
    lost = next(event for event in events if isinstance(event, ev.FaultLost))
    assert lost.cause == "the container died under the fault (exit 137)"
    assert lost.at - seen[0].at < 15_000_000_000
    assert names(events)[-1] == "run-ended"
    place = next(finding for finding in result.judgement.findings if finding.expectation == "in place")
    assert place.reason.endswith("it ended early: the container restarted under the fault (exit 137)")
