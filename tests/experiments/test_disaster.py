"""The full DR test on the sandbox with a real PostgreSQL: it passes, each flaw fails it by its own expectation, and
however it breaks off the site is whole again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.experiments.documents import DISASTERS, EVERY, ROOT, having, judged, require_caught, told
from tests.infra.require import absent
from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.core.judge import judge
from veloz_chaos.engine import journal
from veloz_chaos.sandbox import control, database
from veloz_chaos.sandbox.flaws import FLAWS

pytestmark = [pytest.mark.sandbox, pytest.mark.postgres, pytest.mark.timeout(300)]
PRODUCT = [sys.executable, "-m", "veloz_chaos"]
CAUGHT = [(name, flaw) for flaw, row in FLAWS.items() for name in row.caught_by if name in DISASTERS]


@pytest.fixture(autouse=True)
def installed(request: pytest.FixtureRequest) -> None:
    if database.kind() != database.POSTGRESQL and "refused" not in request.node.name:
        absent("postgresql", "no PostgreSQL that can be started here; apt-get install postgresql")


def run(runs: Path, *options: str) -> dict[str, Any]:
    command = [*PRODUCT, "run", "full-dr-test", "--runs", str(runs), "--json", "-q", *options]
    return judged(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False))


def measured(result: dict[str, Any], name: str) -> dict[str, float]:
    return dict(next(f["measured_seconds"] for f in result["findings"] if f["expectation"] == name))


def test_the_site_is_lost_and_comes_back(tmp_path: Path) -> None:
    result = run(tmp_path, "--set", "trading=4s")
    assert result["verdict"] == "passed", told(result)
    steps = ["backups", "markers", "loss", "noticed", "restore", "back"]
    also = ["rto", "rpo", "keeps open-orders", "keeps balances"]
    assert having(result, "passed") == [*(f"step {name}" for name in steps), *also]
    assert measured(result, "rto")["at_most"] < 60
    assert measured(result, "rpo")["at_most"] < 8
    lost = next(f["reason"] for f in result["findings"] if f["expectation"] == "rpo")
    assert "acknowledged orders lost" in lost


@pytest.mark.parametrize(("experiment", "flaw"), CAUGHT)
def test_a_flaw_fails_its_expectation_and_no_other(experiment: str, flaw: str, tmp_path: Path) -> None:
    assert experiment == "full-dr-test"
    result = run(tmp_path, "--flaw", flaw)
    require_caught(flaw, experiment, result)
    (folder,) = tmp_path.iterdir()
    struck = any(isinstance(event, ev.InjectionBegan) for event in journal.read(folder))
    assert struck is (flaw != "backup-not-restorable"), "what can't be restored is not destroyed"


# --- broken off ----------------------------------------------------------------------------------------------------


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[control.Sandbox]:
    base = ROOT / "environments" / "sandbox.yaml"
    yield control.up(tmp_path / "sandbox", free_ports=True, base=base, backups=True)
    control.down(tmp_path / "sandbox")


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    data = yaml.safe_load((ROOT / "experiments" / "full-dr-test.yaml").read_text())
    data |= {"baseline": "1s", "steps": [step for step in data["steps"] if step["name"] not in ("backups", "markers")]}
    path = tmp_path / "drill.yaml"
    path.write_text(yaml.safe_dump(data))
    (tmp_path / "response-matrix.yaml").write_text((ROOT / "experiments" / "response-matrix.yaml").read_text())
    return path


def begin(stack: control.Sandbox, experiment: Path) -> subprocess.Popen[str]:
    runs = stack.directory.parent / "runs"
    command = [*PRODUCT, "run", str(experiment), "-e", str(stack.environment), "--runs", str(runs), "-q", "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def folder(stack: control.Sandbox) -> Path:
    (found,) = (stack.directory.parent / "runs").glob("*")
    return found


def happened(stack: control.Sandbox, name: str) -> bool:
    found = list((stack.directory.parent / "runs").glob(f"*/{journal.FILE}"))
    return any(f'"event":"{name}"' in path.read_text() for path in found)


def whole(stack: control.Sandbox) -> bool:
    """It trades, and knows the orders it began with."""
    try:
        with urllib.request.urlopen(f"{stack.url('gateway')}/api/orders", timeout=5) as answer:
            known = {order["client_order_id"] for order in json.load(answer)["orders"]}
    except OSError:
        return False
    seeds = {"seed-resting-buy", "seed-resting-sell", "seed-filled"}
    return control.trades(stack.ports["gateway"]) and seeds <= known


def test_an_abort_in_the_midst_of_the_restore_runs_it_to_its_end(stack: control.Sandbox, experiment: Path) -> None:
    going = begin(stack, experiment)
    until(lambda: happened(stack, "procedure-began"))
    going.send_signal(signal.SIGTERM)
    output, errors = going.communicate(timeout=120)
    assert going.returncode == 5, errors
    assert json.loads(output)["runs"][0]["reasons"] == ["SIGTERM received"]
    until(lambda: whole(stack))


@pytest.mark.parametrize("moment", ["injection-began", "procedure-began"] if EVERY else ["procedure-began"])
def test_a_runner_killed_in_the_midst_leaves_a_whole_site(
    stack: control.Sandbox, experiment: Path, moment: str
) -> None:
    """Its guardian ends the procedure that goes on, and runs the one that is owed."""
    going = begin(stack, experiment)
    until(lambda: happened(stack, moment))
    going.kill()
    going.communicate()
    until(lambda: journal.finished(folder(stack)))
    events = journal.read(folder(stack))
    mended = [event for event in events if isinstance(event, ev.ProcedureEnded) and not event.step]
    assert [(event.by, event.succeeded) for event in mended] == [("guardian", True)], mended
    assert judge(of(events)).exit_code == 5
    until(lambda: whole(stack))


# --- refused -------------------------------------------------------------------------------------------------------


def test_without_postgresql_it_is_refused_clearly(tmp_path: Path) -> None:
    """A PATH without its programs is a machine without them, unless they are where Debian puts them."""
    script = (
        "import sys; from veloz_chaos.sandbox import cluster; cluster.programs = lambda: None; "
        "from veloz_chaos.cli.app import start; sys.exit(start(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "run", "full-dr-test", "--runs", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "backups are of a real PostgreSQL, and none can be started here; apt-get install postgresql" in done.stderr


def test_a_sandbox_without_backups_offers_nothing_to_wipe_and_is_refused(tmp_path: Path) -> None:
    base = ROOT / "environments" / "sandbox.yaml"
    stack = control.up(tmp_path / "sandbox", free_ports=True, base=base)
    try:
        command = [*PRODUCT, "run", "full-dr-test", "-e", str(stack.environment), "--runs", str(tmp_path / "runs")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    finally:
        control.down(stack.directory)
    assert done.returncode == 2
    assert "it names no volume that may be wiped; write volumes:" in done.stderr
