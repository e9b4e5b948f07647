"""The monitoring beside a sandbox comes and goes with it, is where it says, and has the flaws that it is asked for."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.infra import prometheus
from tests.sandbox import watched
from tests.sandbox.stack import Stack, call, processes_of, until
from tests.sandbox.watched import TEMPLATES, Watched, gone, started
from veloz_chaos.engine import files
from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import control
from veloz_chaos.sandbox.monitoring_files import STORM
from veloz_chaos.sandbox.settings import MONITORS

pytestmark = [pytest.mark.sandbox, pytest.mark.prometheus, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    prometheus.require()


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
        broken = text.replace("name: pagerduty\n", "name: pager\n") if file.name == "alertmanager.yml" else text
        (tmp_path / "templates" / file.name).write_text(broken)
    with pytest.raises(UsageError, match=r"(?s)did not start.*undefined receiver .?\"pagerduty"):
        control.up(tmp_path / "sandbox", free_ports=True, monitored=tmp_path / "templates")
    assert not (tmp_path / "sandbox").exists() and not processes_of(tmp_path)


def test_without_it_nothing_of_it_is_there(tmp_path: Path) -> None:
    sandbox = control.up(tmp_path / "sandbox", free_ports=True)
    try:
        assert not sandbox.alerts and not set(MONITORS) & set(sandbox.ports)
        assert "alerts" not in yaml.safe_load(sandbox.environment.read_text())
        metrics = call(sandbox.url("supervisor") + "/metrics")
        assert metrics.headers["Content-Type"].startswith("text/plain") and "prometheus" not in metrics.text
        assert 'veloz_service_deaths_total{service="engine",reason="killed"} 0' in metrics.text
        assert Stack(sandbox).healthy()
    finally:
        control.down(tmp_path / "sandbox")


# --- flaws ----------------------------------------------------------------------------------------------------------


def test_flaws_of_severity_and_channel(tmp_path: Path) -> None:
    with started(tmp_path / "sandbox", "alert-wrong-severity", "alert-wrong-channel") as stack:
        stack.kill("engine", signal.SIGKILL)
        assert until(lambda: stack.labels("engine-crash"))["severity"] == "high"
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


# --- of one that is up ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with started(tmp_path_factory.mktemp("up") / "sandbox") as stack:
        yield stack


def test_the_files_it_was_started_with_are_in_order(up: Watched) -> None:
    assert prometheus.check(up.directory / "monitoring") == []
    assert prometheus.check(TEMPLATES) == []


def test_its_places_are_told(up: Watched) -> None:
    alerts = files.environment(up.sandbox.environment).environment.alerts
    assert alerts and alerts.prometheus and alerts.catcher
    places = {"prometheus": alerts.prometheus.url, "alertmanager": alerts.alertmanager[0].url}
    assert {**places, "catcher": alerts.catcher.url} == up.sandbox.alerts
    found = control.status(up.directory)
    assert found and {found.services[name].state for name in MONITORS} == {"healthy"}


def test_nobody_else_can_reach_it(up: Watched) -> None:
    ports = {f"{up.sandbox.ports[name]:04X}" for name in MONITORS}
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
    mine = [place for place in listening if place.split(":")[1] in ports]
    assert len(mine) == 3 and all(place.startswith("0100007F:") for place in mine)
    listening6 = [line.split()[1] for line in Path("/proc/net/tcp6").read_text().splitlines()[1:] if " 0A " in line]
    assert not [place for place in listening6 if place.split(":")[1] in ports]
