"""Whole commands against the real sandbox, which each starts for itself and stops again."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.unit.test_cli_app import ROOT, call

pytestmark = pytest.mark.sandbox


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "veloz_chaos", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def sandboxes(folder: Path) -> list[str]:
    """Command lines of sandbox processes below a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(word.startswith("veloz_chaos.sandbox") for word in words) and any(str(folder) in word for word in words):
            found.append(" ".join(words))
    return found


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a run's own sandbox lives; nothing of it may be left there, and no process."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield tmp_path
    assert sandboxes(tmp_path) == []
    assert list(tmp_path.glob("veloz-chaos-sandbox-*")) == []


def test_a_run_prints_one_json_document_and_leaves_nothing(scratch: Path) -> None:
    answer = call("run", "engine-crash", "--json", "--runs", str(scratch / "runs"))
    found = json.loads(answer.stdout)
    (one,) = found["runs"]
    assert answer.returncode == found["exit_code"] == one["exit_code"] == 0, answer.stderr
    assert (one["verdict"], one["environment"], one["reasons"]) == ("passed", "sandbox", [])
    assert 0 < one["measurement"]["time_to_recover"]["at_most"] < 10
    assert "kill on engine: in place" in answer.stderr
    again = call("judge", one["run"], "--runs", str(scratch / "runs"), "--json")
    assert json.loads(again.stdout)["runs"][0]["findings"] == one["findings"]


def test_a_known_weakness_fails_and_the_next_experiment_still_runs(scratch: Path) -> None:
    runs = str(scratch / "runs")
    answer = call("run", "engine-crash", "engine-crash", "--flaw", "engine-slow-restart", "-q", "--runs", runs)
    assert answer.returncode == 1
    assert len(re.findall(r"^FAILED engine-crash on sandbox: recovery took at least", answer.stdout, re.MULTILINE)) == 2
    assert re.search(r"journal\.jsonl:\d+$", answer.stdout, re.MULTILINE)
    assert answer.stdout.rstrip().splitlines()[-1].strip() != ""
    assert answer.stderr == ""


def test_repeated_runs_tell_what_they_prove_together(scratch: Path) -> None:
    runs = scratch / "runs"
    answer = call("run", "engine-crash", "--repeat", "2", "--json", "-q", "--runs", str(runs))
    assert answer.returncode == 0, answer.stdout
    found = json.loads(answer.stdout)
    assert [run["verdict"] for run in found["runs"]] == ["passed", "passed"]
    assert [run["plan"]["seed"] for run in found["runs"]] == [0, 1]
    assert len(list(runs.glob("*/journal.jsonl"))) == 2
    (both,) = found["repeats"]
    longest = sorted(run["measurement"]["time_to_recover"]["at_most"] for run in found["runs"])
    assert both["recovery"]["seconds"] == longest
    assert (both["recovery"]["counted"], both["recovery"]["failures"], both["recovery"]["never"]) == (2, 0, 0)
    assert both["recovery"]["needed_for"] == {"share": 0.95, "runs": 59}


def test_a_repeated_failure_is_counted(scratch: Path) -> None:
    how = ("--flaw", "engine-slow-restart", "-q", "--runs", str(scratch / "runs"))
    answer = call("run", "engine-crash", "--repeat", "2", *how)
    assert answer.returncode == 1
    assert "engine-crash on sandbox, 2 runs: 2 failed" in answer.stdout
    assert "none of 2 runs recovered within 10 s" in answer.stdout


def test_a_wrong_file_is_not_tried_again(tmp_path: Path, own: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("kind: Experiment\n")
    answer = call("run", str(tmp_path / "wrong.yaml"), "--repeat", "3", "-q", "-e", str(own / "environment.yaml"))
    assert answer.returncode == 2
    assert answer.stderr.count(" problems\n") == 1
    assert "wrong on environment, 1 of 3 runs: 1 not run" in answer.stdout


def test_abort_reverts_and_the_run_says_aborted(scratch: Path) -> None:
    runs, held = scratch / "runs", scratch / "held.yaml"
    data = yaml.safe_load((ROOT / "experiments" / "network-latency.yaml").read_text())
    data["fault"]["latency"]["for"] = "60s"  # it does not end by itself while commands are started
    data |= {"baseline": "500ms", "steady-state": ["orders-served"]}  # and is not refused by a slow machine
    del data["expect"]["detection"]
    held.write_text(yaml.safe_dump(data))
    run = start("run", str(held), "-q", "--runs", str(runs))
    _await(runs, '"event":"injection-returned"')
    refused = call("revert", "--runs", str(runs))
    assert refused.returncode == 4
    asked = call("abort", "--runs", str(runs))
    assert asked.returncode == 0, asked.stderr
    assert "everything is taken out" in asked.stdout
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 5
    assert "ABORTED network-latency on sandbox: SIGTERM received" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_sandbox_starts_leaves_nothing(scratch: Path, number: signal.Signals) -> None:
    run = start("run", "engine-crash", "-q", "--runs", str(scratch / "runs"))
    deadline = time.monotonic() + 20
    while not sandboxes(scratch) and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(number)
    run.communicate(timeout=60)
    assert run.returncode == 5


def _await(runs: Path, word: str) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if any(word in path.read_text() for path in runs.glob("*/journal.jsonl")):
            return
        time.sleep(0.02)
    raise AssertionError(f"{word} never came")


def test_plan_touches_nothing_and_says_everything(scratch: Path) -> None:
    answer = call("plan", "network-latency", "--set", "delay=700ms")
    assert answer.returncode == 0, answer.stderr
    for part in ("latency on gateway->exchange", "700ms", "Toxiproxy", "no expiry", "variable", "gateway-healthy"):
        assert part in answer.stdout
    as_json = json.loads(call("plan", "network-latency", "--json").stdout)
    assert as_json["faults"][0]["kind"] == "latency"
    assert list(scratch.iterdir()) == []


@pytest.fixture
def own(scratch: Path) -> Iterator[Path]:
    """A sandbox that is up already."""
    assert call("sandbox", "up", "--free-ports", "--dir", str(scratch / "sandbox")).returncode == 0
    yield scratch / "sandbox"
    assert call("sandbox", "down", "--dir", str(scratch / "sandbox")).returncode == 0


@pytest.fixture
def here(scratch: Path) -> Iterator[Path]:
    """A folder with files of its own, where a sandbox is up on free ports."""
    assert call("init", cwd=scratch).returncode == 0
    assert call("sandbox", "up", "--free-ports", cwd=scratch).returncode == 0
    yield scratch
    assert call("sandbox", "down", cwd=scratch).returncode == 0


def test_the_sandbox_by_name_is_the_one_that_is_up_here(here: Path) -> None:
    values = yaml.safe_load((here / ".sandbox/environment.yaml").read_text())["values"]
    for name in ("sandbox", "environments/sandbox.yaml", ".sandbox/environment.yaml"):
        answer = call("plan", "engine-crash", "-e", name, "--json", cwd=here)
        assert answer.returncode == 0, answer.stderr
        assert values["gateway"] in answer.stdout
        assert ":18080" not in answer.stdout
    doctor = call("doctor", "-e", "sandbox", cwd=here)
    assert "BAD" not in doctor.stdout


def test_the_sandbox_by_name_is_its_file_where_none_is_up(scratch: Path) -> None:
    assert call("init", cwd=scratch).returncode == 0
    answer = call("plan", "engine-crash", "-e", "sandbox", cwd=scratch)
    assert answer.returncode != 0
    assert ".sandbox/engine.pid" in answer.stderr


def test_production_wants_its_name(own: Path) -> None:
    file = own.parent / "production.yaml"
    file.write_text((own / "environment.yaml").read_text() + "tier: production\n")
    unsaid = call("run", "engine-crash", "-e", str(file), "--runs", str(own.parent / "runs"))
    assert unsaid.returncode == 4
    assert "--confirm sandbox" in unsaid.stderr
    said = call("run", "engine-crash", "-e", str(file), "--confirm", "sandbox", "--runs", str(own.parent / "runs"))
    assert said.returncode == 4
    assert "engine-crash is allowed on development, staging; sandbox is production" in said.stderr


def test_doctor_tells_what_can_be_done(own: Path) -> None:
    answer = call("doctor", "-e", str(own / "environment.yaml"), "--runs", str(own.parent / "runs"))
    assert answer.returncode == 0, answer.stdout
    assert "outlived its killed runner" in answer.stdout
    assert re.search(r"^engine \(process\)\n(  .*\n)*?  kill +signal through a pidfd$", answer.stdout, re.MULTILINE)
    assert answer.stdout.endswith("all is well\n")


def test_doctor_names_what_is_missing(tmp_path: Path) -> None:
    text = (ROOT / "environments/sandbox.yaml").read_text().replace("directory: .sandbox", f"directory: {tmp_path}")
    (tmp_path / "veloz-probes.yaml").write_text((ROOT / "environments/veloz-probes.yaml").read_text())
    (tmp_path / "away.yaml").write_text(text.replace("127.0.0.1:18474", "127.0.0.1:9"))
    answer = call("doctor", "-e", str(tmp_path / "away.yaml"), "--runs", str(tmp_path))
    assert answer.returncode == 1
    assert "BAD   engine:" in answer.stdout
    assert "BAD   gateway->exchange:" in answer.stdout


def test_a_service_can_be_restarted(own: Path) -> None:
    before = json.loads(call("sandbox", "status", "--json", "--dir", str(own)).stdout)["services"]["engine"]
    assert call("sandbox", "restart", "engine", "--dir", str(own)).returncode == 0
    after = json.loads(call("sandbox", "status", "--json", "--dir", str(own)).stdout)["services"]["engine"]
    assert after["state"] == "healthy"
    assert after["pid"] != before["pid"]
