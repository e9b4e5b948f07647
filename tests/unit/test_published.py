"""What a job keeps of its runs, also of those that never became any."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.engine.system import running
from tests.unit.test_cli_app import ROOT, call
from veloz_chaos.cli import run

PRODUCTION = "kind: Environment\nversion: 1\nname: live\ntier: production\n"


@pytest.fixture
def live(tmp_path: Path) -> Path:
    (tmp_path / "live.yaml").write_text(PRODUCTION)
    return tmp_path


def test_a_refusal_is_an_error_in_every_format(live: Path) -> None:
    words = ("--junit", str(live / "a" / "junit.xml"), "--markdown", str(live / "b.md"), "--results", str(live / "out"))
    answer = call("run", "pod-kill", "engine-crash", "-e", str(live / "live.yaml"), *words)
    assert answer.returncode == 4
    root = ElementTree.parse(live / "a" / "junit.xml").getroot()
    assert [suite.get("name") for suite in root] == ["pod-kill on live", "engine-crash on live"]
    assert {error.get("type") for error in root.iter("error")} == {"refused"}
    assert "live is production" in (live / "b.md").read_text()
    assert sorted(path.name for path in (live / "out").iterdir()) == ["junit.xml", "results.json", "summary.md"]
    assert [run["verdict"] for run in json.loads((live / "out" / "results.json").read_text())["runs"]] == [
        "refused"
    ] * 2


def test_where_nothing_can_be_written_nothing_is_run(live: Path) -> None:
    (live / "file").write_text("")
    for option in ("--junit", "--markdown"):
        answer = call("run", "pod-kill", "-e", str(live / "live.yaml"), option, str(live / "file" / "x"))
        assert answer.returncode == 2
        assert f"{live / 'file'}" in answer.stderr
        assert "can't be written" in answer.stderr
    assert call("schedule", "run", "--results", str(live / "file")).returncode == 2


def test_github_s_summary_is_added_to(live: Path) -> None:
    summary = live / "summary.md"
    summary.write_text("before\n")
    subprocess.run(
        [sys.executable, "-m", "veloz_chaos", "run", "pod-kill", "-e", str(live / "live.yaml")],
        cwd=ROOT, capture_output=True, check=False, env={"GITHUB_STEP_SUMMARY": str(summary)},
    )  # fmt: skip
    text = summary.read_text()
    assert text.startswith("before\n## Chaos experiments\n")
    assert "| pod-kill | live | ⚠️ refused |" in text


def test_a_run_is_kept_with_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path) as system:
        code = run.command(
            [str(system.experiment())], environment=str(system.environment()), runs=tmp_path / "runs", quiet=True,
            junit=tmp_path / "junit.xml", results=tmp_path / "out", as_json=True,
        )  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    assert (code, json.loads((tmp_path / "out" / "results.json").read_text())) == (0, said)
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    ours = Path(said["runs"][0]["folder"])
    assert (folder / "journal.jsonl").read_bytes() == (ours / "journal.jsonl").read_bytes()
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().get("failures") == "0"
