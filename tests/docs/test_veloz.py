"""The environments for the real VeloZ, and for pods: every experiment is bound there, and every override is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from veloz_chaos.cli import validate

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / "environments"
FILES = ["veloz-compose", "veloz-kubernetes"]
PODS = ["kubernetes", "kubernetes-two", "kubernetes-child"]
EXPERIMENTS = sorted(
    path.stem for path in (ROOT / "experiments").glob("*.yaml") if path.stem not in ("response-matrix", "full-dr-test")
)


@pytest.mark.parametrize("file", [*FILES, *PODS])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_bound(name: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    environment = str(ENVIRONMENTS / f"{file}.yaml")
    code = validate.command([str(ROOT / "experiments" / f"{name}.yaml")], environment=environment)
    assert (code, capsys.readouterr().out) == (0, "1 file checked, nothing wrong\n")


@pytest.mark.parametrize("file", [*FILES, *PODS])
def test_a_disaster_is_refused_where_nothing_can_be_restored(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a site has to write first, all at once: docs/failure-modes/full-dr.md."""
    environment = str(ENVIRONMENTS / f"{file}.yaml")
    assert validate.command([str(ROOT / "experiments" / "full-dr-test.yaml")], environment=environment) == 2
    said = capsys.readouterr().out
    for missing in ("no procedure `restore`", "no probe `backup-fresh`", "no probe `backup-restores`"):
        assert missing in said


@pytest.mark.parametrize("file", ["veloz-gateway", *FILES])
def test_every_override_says_so_and_every_shared_probe_is_there(file: str) -> None:
    used = "veloz-probes" if file == "veloz-gateway" else "veloz-gateway"
    shared = set(yaml.safe_load((ENVIRONMENTS / f"{used}.yaml").read_text())["probes"])
    own = yaml.safe_load((ENVIRONMENTS / f"{file}.yaml").read_text())["probes"]
    assert {name for name, probe in own.items() if probe.get("replace")} == shared & set(own)
