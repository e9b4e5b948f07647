"""Up, status, down: it comes up trading, says what is wrong with a request, and goes without a trace."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.sandbox.conftest import Start
from tests.sandbox.stack import Stack, call, processes_of, until
from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import control, ports
from veloz_chaos.sandbox.flaws import FLAWS
from veloz_chaos.sandbox.settings import PORTS, SERVICES

pytestmark = pytest.mark.sandbox


def test_comes_up_trading(stack: Stack) -> None:
    status = control.status(stack.directory)
    assert status and {name: service.state for name, service in status.services.items()} == dict.fromkeys(
        SERVICES, "healthy"
    )
    assert stack.healthy()
    states = stack.gateway("/api/orders_state").json["orders"]
    assert sorted(states.values()) == ["FILLED", "NEW", "NEW"]
    for name, service in status.services.items():
        assert service.pid == stack.pid(name)


def test_down_leaves_no_trace(start: Start, tmp_path: Path) -> None:
    stack = start(name="deep/within")
    control.down(stack.directory)
    assert list(tmp_path.iterdir()) == []
    assert not processes_of(tmp_path)
    control.down(stack.directory)
    assert control.find(stack.directory) is None and control.status(stack.directory) is None


def test_down_keeps_what_is_not_the_sandboxs(start: Start, tmp_path: Path) -> None:
    mine = tmp_path / "sandbox" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    control.down(start().directory)
    assert list(mine.parent.iterdir()) == [mine]


def test_two_side_by_side(start: Start) -> None:
    one, other = start(name="one"), start(name="other")
    assert one.order("only-in-one").json["ok"]
    assert other.gateway("/api/order_state?client_order_id=only-in-one").status == 404
    control.down(one.directory)
    assert other.healthy()


def test_everything_dies_with_the_supervisor(stack: Stack) -> None:
    stack.kill("engine", signal.SIGSTOP)
    stack.kill("supervisor", signal.SIGKILL)
    until(lambda: not processes_of(stack.directory))
    assert control.find(stack.directory) is None


def test_can_come_up_again_after_it_died(start: Start) -> None:
    first = start()
    os.kill(first.pid("supervisor"), signal.SIGKILL)
    until(lambda: not processes_of(first.directory))
    assert start().healthy()
    control.down(first.directory)
    assert not first.directory.exists()


def test_environment_file(start: Start, tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    stack = Stack(control.up(tmp_path / "sandbox", free_ports=True, base=base))
    start_finds_it = control.find(tmp_path / "sandbox")
    environment = yaml.safe_load(stack.sandbox.environment.read_text())
    control.down(tmp_path / "sandbox")
    assert start_finds_it == stack.sandbox
    assert environment["kind"] == "Environment" and environment["uses"] == [str(base)]
    values, numbers = environment["values"], stack.sandbox.ports
    assert values == {
        "directory": str(tmp_path / "sandbox"),
        "log-volume": values["log-volume"],
        "volumes": values["volumes"],
        "gateway": f"http://127.0.0.1:{numbers['gateway']}",
        "exchange": f"http://127.0.0.1:{numbers['exchange']}",
        "supervisor": f"http://127.0.0.1:{numbers['supervisor']}",
        "database": f"postgresql://veloz@127.0.0.1:{numbers['database']}/veloz",
        "vault": f"http://127.0.0.1:{numbers['vault']}",
        "vault-link": f"http://127.0.0.1:{numbers['vault-link']}",
        "vault-token-file": str(tmp_path / "sandbox" / "vault" / "token"),
        **{name: f"127.0.0.1:{numbers[name]}" for name in ("links", "faults", "dns", "dns-link")},
        "engine-port": str(numbers["engine"]),
        "gateway-port": str(numbers["gateway"]),
    }
    assert values["log-volume"].endswith(str(tmp_path / "sandbox" / "volume"))
    assert "uses" not in yaml.safe_load(start().sandbox.environment.read_text())


def test_refuses_what_is_already_up(stack: Stack) -> None:
    with pytest.raises(UsageError, match=r"already up in .*sandbox; .*down"):
        control.up(stack.directory, free_ports=True)
    assert stack.healthy()


def test_two_starts_at_once_in_one_directory(tmp_path: Path) -> None:
    """One comes up, the other is told; what is up is whole."""

    def attempt(_: int) -> bool:
        try:
            control.up(tmp_path / "sandbox", free_ports=True)
        except UsageError as refusal:
            assert "already up" in str(refusal) or "being started" in str(refusal)
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, range(4))) == [False, False, False, True]
    sandbox = control.find(tmp_path / "sandbox")
    assert sandbox and Stack(sandbox).healthy()
    control.down(tmp_path / "sandbox")
    assert list(tmp_path.iterdir()) == [] and not processes_of(tmp_path)


def test_suggests_the_nearest_flaw(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown flaw 'engine-slow'; did you mean 'engine-slow-restart'"):
        control.up(tmp_path / "sandbox", flaws=["engine-slow"])
    with pytest.raises(UsageError, match=r"the flaws are: alert-never-fires, .*, detection-flaps"):
        control.up(tmp_path / "sandbox", flaws=["!?"])
    assert not (tmp_path / "sandbox").exists()


def test_says_which_port_is_in_use(tmp_path: Path) -> None:
    """Taken by this test, or by a sandbox that happens to be up on this machine: the answer is the same."""
    with contextlib.ExitStack() as stack:
        if ports.free(PORTS["supervisor"]):
            stack.enter_context(socket.create_server(("127.0.0.1", PORTS["supervisor"])))
        with pytest.raises(
            UsageError, match=r"port \d+ \(sandbox [\w-]+\) is in use; stop what listens there.* --free-ports"
        ):
            control.up(tmp_path / "sandbox")
    assert not (tmp_path / "sandbox").exists()


def test_ports_are_claimed_for_as_long_as_the_sandbox_is_up(stack: Stack) -> None:
    """Also where nobody listens: not yet, or not at the moment."""

    def claimed() -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            try:
                other.bind(f"\0veloz-chaos-ports-{min(stack.sandbox.ports.values())}")
            except OSError:
                return True
        return False

    assert claimed()
    control.down(stack.directory)
    assert not claimed()


def test_no_two_get_the_same_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_ephemeral_start", lambda: ports.LOWEST + 4 * ports.BLOCK + 1)
    monkeypatch.setattr(ports, "LOWEST", ports.LOWEST + ports.BLOCK)
    monkeypatch.setattr(ports, "free", lambda _: True)
    with contextlib.ExitStack() as kept:
        taken = set[int]()
        with pytest.raises(UsageError, match="found no 15 adjacent free ports"):
            while True:
                numbers, claim = ports.unused()
                kept.enter_context(claim)
                assert not taken & set(numbers.values())
                taken |= set(numbers.values())


def test_a_failed_start_shows_the_log_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "aiohttp.py").write_text("raise ImportError('aiohttp is broken here')")
    with pytest.raises(UsageError, match=r"(?s)did not start.*aiohttp is broken here"):
        control.up(tmp_path / "sandbox", free_ports=True)
    assert not (tmp_path / "sandbox").exists() and not processes_of(tmp_path)


def test_every_flaw_names_its_experiments() -> None:
    assert all(flaw.title and flaw.caught_by for flaw in FLAWS.values())


def test_unknown_paths_of_the_supervisor(stack: Stack) -> None:
    assert call(stack.sandbox.url("supervisor") + "/nowhere").status == 404


def test_restart_brings_back_what_stays_dead(start: Start) -> None:
    stack = start("engine-never-restarts")
    dead = stack.kill("engine", signal.SIGKILL)
    until(lambda: stack.service("engine")["state"] == "down")
    control.restart(stack.directory, "engine")
    assert stack.pid("engine") != dead
    until(stack.healthy)
    with pytest.raises(UsageError, match="no service `cache`"):
        control.restart(stack.directory, "cache")
