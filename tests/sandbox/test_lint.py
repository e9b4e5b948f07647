"""`lint alerts` of the sandbox's own monitoring: nothing wrong as it ships; the flaws that need no fault are found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.infra import prometheus as real
from tests.sandbox import watched
from tests.unit.test_cli_app import call
from veloz_chaos.engine import files
from veloz_chaos.sandbox import control

pytestmark = [pytest.mark.sandbox, pytest.mark.prometheus]


def lint(*arguments: str) -> dict[str, Any]:
    answer = call("lint", "alerts", "--json", *arguments)
    assert answer.stderr == ""
    return dict(json.loads(answer.stdout))


def codes(findings: list[dict[str, Any]]) -> set[str]:
    return {one["code"] for one in findings}


@contextmanager
def started(directory: Path, *flaws: str) -> Iterator[Path]:
    """The environment of a sandbox whose targets have all been scraped."""
    real.require()
    base = files.find("environments", "sandbox")
    environment = watched.start(directory, *flaws, emulated=True, base=base).sandbox.environment
    try:
        real.until(lambda: "metrics-unread" not in codes(lint("-e", str(environment))["notes"]))
        yield environment
    finally:
        control.down(directory)


def test_the_files_that_ship_have_nothing_wrong() -> None:
    config, routing = (str(watched.TEMPLATES / f"{name}.yml") for name in ("prometheus", "alertmanager"))
    report = lint("--prometheus-config", config, "--alertmanager-config", routing)
    assert report["findings"] == []
    assert codes(report["notes"]) == {"metrics-unread", "detection-late"}  # at once is sooner than any scrape


def test_what_runs_has_nothing_wrong(tmp_path: Path) -> None:
    with started(tmp_path / "sandbox") as environment:
        report = lint("-e", str(environment))
    assert report["findings"] == []
    assert codes(report["notes"]) == {"secrets-unread", "detection-late"}
    assert all(row["rules"] for row in report["rows"])


@pytest.mark.parametrize(
    ("flaw", "found"),
    [
        ("alert-wrong-severity", {"row-wrong-severity"}),
        ("alert-wrong-channel", {"channel-missing", "channel-extra", "severity-unrouted"}),
        ("alert-never-fires", {"metric-absent"}),
        ("alert-never-resolves", {"resolves-late"}),
    ],
)
def test_flaws_are_found_without_a_fault(tmp_path: Path, flaw: str, found: set[str]) -> None:
    with started(tmp_path / "sandbox", flaw) as environment:
        assert codes(lint("-e", str(environment))["findings"]) == found
