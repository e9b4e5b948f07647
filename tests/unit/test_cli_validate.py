"""All problems of all files at once, by each file's own kind."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.test_cli_app import ROOT, call

BROKEN = """\
kind: Experiment
version: 1
name: broken
title: Broken
failure: engine-crsh
allowed-on: [development]
steady-state: [gateway-healthy]
fault:
  kill: {service: engine, signl: KILL}
expct: {}
"""


def test_the_shipped_files_are_valid() -> None:
    answer = call("validate")
    assert answer.returncode == 0, answer.stdout
    assert answer.stdout.endswith("nothing wrong\n")


def test_all_problems_of_all_files_at_once(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN.replace("expct: {}\n", ""))
    (tmp_path / "worse.yaml").write_text("kind: Experimnt\n")
    answer = call("validate", str(tmp_path / "broken.yaml"), str(tmp_path / "worse.yaml"))
    assert answer.returncode == 2
    lines = answer.stdout.splitlines()
    assert any("broken.yaml:5:10: " in line and "did you mean `engine-crash`?" in line for line in lines)
    assert any("broken.yaml:9:" in line and "did you mean `signal`?" in line for line in lines)
    assert any("worse.yaml:1:7: " in line and "did you mean `Experiment`?" in line for line in lines)
    assert lines[-1] == "2 files checked, 3 problems"


def test_json_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    answer = call("validate", "--json", str(tmp_path / "broken.yaml"))
    found = json.loads(answer.stdout)
    assert answer.returncode == found["exit_code"] == 2
    assert any(problem["line"] == 10 for problem in found["problems"])


def test_against_an_environment_its_names_are_checked(tmp_path: Path) -> None:
    text = (ROOT / "experiments/engine-crash.yaml").read_text().replace("service: engine", "service: engin")
    (tmp_path / "e.yaml").write_text(text)
    answer = call("validate", str(tmp_path / "e.yaml"), "-e", "sandbox")
    assert answer.returncode == 2
    assert "environment `sandbox` has no service `engin`; did you mean `engine`?" in answer.stdout


def test_an_environments_probes_and_bindings_are_checked(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(
        "kind: Environment\nversion: 1\nname: e\ntier: development\n"
        "services: {engine: {process: {pidfle: x}}, other: {proces: {pidfile: x}},\n"
        "  pods: {kubernetes: {namespace: own, pod: p, helpers: h}}}\n"
        "probes: {a: {htp: {get: 'http://x'}}, b: {http: {get: 'http://x'}, ok: 'status =='}}\n"
    )
    answer = call("validate", str(tmp_path / "e.yaml"))
    assert answer.returncode == 2
    meant = [f"did you mean `{name}`?" for name in ("pidfile", "process", "http")]
    for part in (*meant, "not permitted", "not a condition"):
        assert part in answer.stdout
