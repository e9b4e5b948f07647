"""A sandbox with the real Prometheus and Alertmanager: each failure raises its own alert and no other, tells whom the
document names, and is over soon after; each flaw spoils that; and nothing is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.infra import prometheus, require
from tests.sandbox import watched
from tests.sandbox.hurt import Filler, cgroups, filling, group_of, lower_limit
from tests.sandbox.stack import Stack, call, processes_of, until
from tests.sandbox.watched import TEMPLATES, Watched
from veloz_chaos.engine import files
from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import control, limits
from veloz_chaos.sandbox.monitoring_files import STORM
from veloz_chaos.sandbox.settings import MONITORS

pytestmark = [pytest.mark.sandbox, pytest.mark.prometheus, pytest.mark.timeout(240)]
Hurt = Callable[[Watched], "contextlib.AbstractContextManager[None]"]
ROWS = files.matrix().rows


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    prometheus.require()


def gone(directory: Path, pids: list[int]) -> bool:
    return not processes_of(directory) and not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids)


@contextlib.contextmanager
def started(directory: Path, *flaws: str, emulated: bool = False) -> Iterator[Watched]:
    stack = watched.start(directory, *flaws, emulated=emulated)
    pids = [stack.pid(name) for name in MONITORS]
    try:
        yield stack
    finally:
        control.down(directory)
    assert gone(directory, pids) and not directory.exists()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """With the kernel's limits where we are root."""
    with started(tmp_path_factory.mktemp("real") / "sandbox") as stack:
        yield stack


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with started(tmp_path_factory.mktemp("emulated") / "sandbox", emulated=True) as stack:
        yield stack


# --- what hurts -----------------------------------------------------------------------------------------------------


def killed(service: str) -> Hurt:
    @contextlib.contextmanager
    def hurting(stack: Watched) -> Iterator[None]:
        stack.kill(service, signal.SIGKILL)
        yield

    return hurting


def on_link(link: str, *toxics: Mapping[str, object]) -> Hurt:
    @contextlib.contextmanager
    def hurting(stack: Watched) -> Iterator[None]:
        for toxic in toxics:
            assert stack.links("POST", f"/proxies/{link}/toxics", toxic).status == 200
        yield
        for toxic in toxics:
            stack.links("DELETE", f"/proxies/{link}/toxics/{toxic['name']}")

    return hurting


SILENT = [{"type": "timeout", "stream": stream, "name": stream} for stream in ("upstream", "downstream")]
LATE = {"type": "latency", "name": "late", "attributes": {"latency": 600, "jitter": 50}}


@contextlib.contextmanager
def rate_limited(stack: Watched) -> Iterator[None]:
    fault = {"name": "limit", "status": 429, "retry-after": "2s", "binance": True, "expires": 60}
    place = f"{stack.sandbox.url('faults')}/proxies/exchange/faults"
    assert call(place, "POST", fault).status == 201
    yield
    call(f"{place}/limit", "DELETE")


@contextlib.contextmanager
def without_memory(stack: Watched) -> Iterator[None]:
    with oom_killed(stack, megabytes=int(0.7 * limits.MEMORY) >> 20, share=0.9):
        yield


@contextlib.contextmanager
def oom_killed(stack: Watched, megabytes: int = limits.MEMORY >> 20, share: float = 1.1) -> Iterator[None]:
    if cgroups(stack):
        with filling(stack, megabytes):
            yield
        return
    gateway = stack.pid("gateway")
    lower_limit(gateway, share)
    yield
    if share < 1:
        lower_limit(gateway, 0.1)


@contextlib.contextmanager
def without_cpu(stack: Watched) -> Iterator[None]:
    command = [sys.executable, "-c", "while True: pass"]
    if cgroups(stack):
        command = group_of(stack).launched(command)
    else:
        command = ["taskset", "-c", ",".join(map(str, os.sched_getaffinity(stack.pid("gateway")))), *command]
    busy = [subprocess.Popen(command) for _ in range(2)]
    try:
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()


@contextlib.contextmanager
def without_room(stack: Watched) -> Iterator[None]:
    filler = Filler(stack)
    until(lambda: filler.fill() and "disk-full" in stack.firing())
    yield
    filler.file.unlink()


HURTS: dict[str, Hurt] = {
    "engine-crash": killed("engine"),
    "gateway-crash": killed("gateway"),
    "oom-kill": oom_killed,
    "network-partition": on_link("engine", *SILENT),
    "exchange-down": on_link("exchange", *SILENT),
    "network-latency": on_link("exchange", LATE),
    "exchange-rate-limit": rate_limited,
    "cpu-saturation": without_cpu,
    "memory-pressure": without_memory,
    "disk-full": without_room,
}
#: Rows without an alert: nobody is woken.
QUIET: dict[str, Hurt] = {
    "database-down": on_link("database", *SILENT),
    "vault-down": on_link("vault", *SILENT),
}


def raises_its_own_alert(stack: Watched, row: str) -> None:
    alert = ROWS[row].alert
    assert alert
    wanted, begun, after = set(alert.channels), time.time(), len(stack.caught())
    with HURTS[row](stack):
        labels = until(lambda: stack.labels(row))
        until(lambda: stack.told(row, "firing", after) == wanted)
    assert (labels["alertname"], labels["severity"]) == (alert.as_.replace(" ", ""), alert.severity)
    until(lambda: stack.told(row, "resolved", after) == wanted and not stack.alerts())
    until(stack.healthy)
    assert stack.fired_since(begun) == {row}
    assert {name for one in stack.caught(after) for name in one["failures"]} == {row}


def test_every_row_with_an_alert_is_hurt() -> None:
    assert set(HURTS) == {name for name, row in ROWS.items() if row.alert}


@pytest.mark.parametrize("row", HURTS)
def test_a_failure_raises_its_own_alert_and_no_other(real: Watched, row: str) -> None:
    raises_its_own_alert(real, row)


@pytest.mark.parametrize("row", ["oom-kill", "cpu-saturation", "memory-pressure", "disk-full"])
def test_the_same_with_emulated_limits(emulated: Watched, row: str) -> None:
    if row == "cpu-saturation" and (os.cpu_count() == 1 or not shutil.which("taskset")):
        pytest.skip("one CPU for everybody, or no taskset")
    raises_its_own_alert(emulated, row)


@pytest.mark.parametrize("row", QUIET)
def test_what_has_no_alert_raises_none(real: Watched, row: str) -> None:
    begun = time.time()
    with QUIET[row](real):
        until(lambda: not real.healthy())
        time.sleep(4)
    until(real.healthy)
    assert real.fired_since(begun) == set()


def test_what_died_before_the_alerts_does_not_matter(real: Watched) -> None:
    """The monitoring's own parts come back, and go on."""
    for name in ("alertmanager", "prometheus"):
        real.kill(name, signal.SIGKILL)
        until(lambda name=name: real.service(name)["restarts"] == 1)  # type: ignore[misc]
        until(lambda name=name: real.service(name)["state"] == "healthy")  # type: ignore[misc]
    raises_its_own_alert(real, "engine-crash")


# --- flaws ----------------------------------------------------------------------------------------------------------


def test_flaws_of_severity_and_channel(tmp_path: Path) -> None:
    with started(tmp_path / "sandbox", "alert-wrong-severity") as stack:
        stack.kill("engine", signal.SIGKILL)
        assert until(lambda: stack.labels("engine-crash"))["severity"] == "high"
        until(lambda: stack.told("engine-crash", "resolved", 0) == {"pagerduty"})
    with started(tmp_path / "sandbox", "alert-wrong-channel") as stack:
        stack.kill("engine", signal.SIGKILL)
        assert until(lambda: stack.labels("engine-crash"))["severity"] == "critical"
        until(lambda: stack.told("engine-crash", "resolved", 0) == {"slack"})


def test_a_flaw_by_which_nothing_is_raised(tmp_path: Path) -> None:
    with started(tmp_path / "sandbox", "alert-never-fires") as stack:
        begun = time.time()
        stack.kill("engine", signal.SIGKILL)
        until(lambda: stack.service("engine")["restarts"] == 1)
        time.sleep(5)
        assert stack.fired_since(begun) == set() and not stack.caught()


def test_a_flaw_by_which_nothing_is_over(tmp_path: Path) -> None:
    with started(tmp_path / "sandbox", "alert-never-resolves") as stack:
        stack.kill("engine", signal.SIGKILL)
        until(lambda: "engine-crash" in stack.firing())
        until(stack.healthy)
        time.sleep(8)
        assert set(stack.firing()) == {"engine-crash"} and not stack.told("engine-crash", "resolved", 0)


def test_a_flaw_that_raises_more(tmp_path: Path) -> None:
    with started(tmp_path / "sandbox", "alert-storm") as stack:
        begun = time.time()
        stack.kill("engine", signal.SIGKILL)
        until(lambda: set(stack.firing()) == {"engine-crash", *STORM})
        until(lambda: not stack.alerts())
        assert stack.fired_since(begun) == {"engine-crash", *STORM}
        assert stack.told("engine-crash", "firing", 0) == {"pagerduty"}


# --- up and down ----------------------------------------------------------------------------------------------------


def test_the_files_it_was_started_with_are_in_order(real: Watched) -> None:
    assert prometheus.check(real.directory / "monitoring") == []
    assert prometheus.check(TEMPLATES) == []


def test_its_places_are_told(real: Watched) -> None:
    alerts = files.environment(real.sandbox.environment).environment.alerts
    assert alerts and alerts.prometheus and alerts.catcher
    places = {"prometheus": alerts.prometheus.url, "alertmanager": alerts.alertmanager[0].url}
    assert {**places, "catcher": alerts.catcher.url} == real.sandbox.alerts
    found = control.status(real.directory)
    assert found and {found.services[name].state for name in MONITORS} == {"healthy"}


def test_nobody_else_can_reach_it(real: Watched) -> None:
    ports = {f"{real.sandbox.ports[name]:04X}" for name in MONITORS}
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
    mine = [place for place in listening if place.split(":")[1] in ports]
    assert len(mine) == 3 and all(place.startswith("0100007F:") for place in mine)
    listening6 = [line.split()[1] for line in Path("/proc/net/tcp6").read_text().splitlines()[1:] if " 0A " in line]
    assert not [place for place in listening6 if place.split(":")[1] in ports]


def test_it_dies_with_its_supervisor(tmp_path: Path) -> None:
    directory = tmp_path / "sandbox"
    stack = watched.start(directory)
    pids = [stack.pid(name) for name in MONITORS]
    stack.kill("supervisor", signal.SIGKILL)
    until(lambda: gone(directory, pids))
    control.down(directory)
    assert not directory.exists()


def test_what_keeps_it_from_starting_is_told(tmp_path: Path) -> None:
    """In its own words."""
    (tmp_path / "templates").mkdir()
    for file in TEMPLATES.iterdir():
        text = file.read_text()
        broken = text.replace("receiver: slack\n", "receiver: nobody\n") if file.name == "alertmanager.yml" else text
        (tmp_path / "templates" / file.name).write_text(broken)
    with pytest.raises(UsageError, match=r"(?s)did not start.*undefined receiver .?\"nobody"):
        control.up(tmp_path / "sandbox", free_ports=True, monitored=tmp_path / "templates")
    assert not (tmp_path / "sandbox").exists() and not processes_of(tmp_path)


def test_without_it_nothing_of_it_is_there(tmp_path: Path) -> None:
    sandbox = control.up(tmp_path / "sandbox", free_ports=True)
    try:
        assert not sandbox.alerts and not set(MONITORS) & set(sandbox.ports)
        assert files.environment(sandbox.environment).environment.alerts is None
        metrics = call(sandbox.url("supervisor") + "/metrics")
        assert metrics.headers["Content-Type"].startswith("text/plain") and "prometheus" not in metrics.text
        assert 'veloz_service_deaths_total{service="engine",reason="killed"} 0' in metrics.text
        assert Stack(sandbox).healthy()
    finally:
        control.down(tmp_path / "sandbox")


def test_root_or_not(real: Watched) -> None:
    """What is tried above with the kernel's limits is tried so where CI says that it can be."""
    if not cgroups(real):
        require.absent("root", "no control group can be made here: the limits were emulated twice")
