"""environments/veloz-compose.yaml: every experiment is bound there, and every override is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from veloz_chaos.cli import validate

ROOT = Path(__file__).parents[2]
FILE = ROOT / "environments" / "veloz-compose.yaml"
EXPERIMENTS = sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml") if path.stem != "response-matrix")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_bound(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = validate.command([str(ROOT / "experiments" / f"{name}.yaml")], environment=str(FILE))
    assert (code, capsys.readouterr().out) == (0, "1 file checked, nothing wrong\n")


def test_every_override_says_so_and_every_shared_probe_is_there() -> None:
    shared = set(yaml.safe_load((ROOT / "environments" / "veloz-probes.yaml").read_text())["probes"])
    own = yaml.safe_load(FILE.read_text())["probes"]
    assert {name for name, probe in own.items() if probe.get("replace")} == shared & set(own)
