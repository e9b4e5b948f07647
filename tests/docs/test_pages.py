"""Undocumented is broken: every fault, event, exit code and proven row has its place in the pages."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from veloz_chaos import errors
from veloz_chaos.cli.app import COMMANDS
from veloz_chaos.core import event as ev
from veloz_chaos.core.experiment import Experiment
from veloz_chaos.engine import files
from veloz_chaos.registry import Registry

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def experiments() -> list[Experiment]:
    return [files.experiment(path)[0] for path in (ROOT / "experiments").glob("*.yaml") if path.stem != files.MATRIX]


def test_the_readme_names_every_fault() -> None:
    missing = [name for name in Registry().faults() if f"| {name} |" not in README]
    assert not missing


def test_the_readme_names_every_exit_code() -> None:
    codes = [errors.PASSED, errors.FAILED, errors.USAGE, errors.INCONCLUSIVE, errors.REFUSED, errors.ABORTED]
    assert all(f"| {code} |" in README for code in [*codes, errors.LEFT_BEHIND, errors.BUG])


def test_the_changelog_names_every_command() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert [name for name in COMMANDS if f"`{name}`" not in changes] == []


def test_the_journal_page_names_every_event() -> None:
    page = (ROOT / "docs" / "journal.md").read_text()
    union = get_args(get_args(ev.Event)[0])
    names = [kind.model_fields["event"].default for kind in union]
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in page] == []


@pytest.mark.parametrize("experiment", experiments(), ids=lambda e: e.name)
def test_every_experiment_s_row_has_a_page_that_names_its_probes(experiment: Experiment) -> None:
    page = (ROOT / "docs" / "failure-modes" / f"{experiment.failure}.md").read_text()
    assert f"experiments/{experiment.name}.yaml" in page
    expected = experiment.expect.detection.signals if experiment.expect.detection else []
    assert [name for name in expected if name not in page] == []
    assert f"docs/failure-modes/{experiment.failure}.md" in README
    assert "MEASURED" not in page


def test_every_decision_is_numbered_and_titled() -> None:
    for path in (ROOT / "docs" / "decisions").glob("*.md"):
        number = int(path.name[:4])
        assert path.read_text().startswith(f"# {number}. ")
