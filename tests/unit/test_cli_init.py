"""A copy of what ships, to be changed: whole, and nobody's file is lost."""

from __future__ import annotations

from pathlib import Path

from tests.unit.test_cli_app import call


def test_all_that_ships_is_there_and_valid(tmp_path: Path) -> None:
    made = call("init", str(tmp_path / "site"))
    assert made.returncode == 0, made.stderr
    again = call("init", str(tmp_path / "site"))
    assert "already" in again.stdout
    checked = call("validate", cwd=tmp_path / "site")
    assert checked.returncode == 0, checked.stdout
    for room in ("experiments", "environments", "schedules"):
        assert list((tmp_path / "site" / room).glob("*.yaml"))


def test_a_file_of_somebody_s_own_is_kept_and_nothing_is_half_done(tmp_path: Path) -> None:
    own = tmp_path / "experiments" / "pod-kill.yaml"
    own.parent.mkdir()
    own.write_text("mine")
    said = call("init", str(tmp_path))
    assert said.returncode == 2
    assert str(own) in said.stderr
    assert own.read_text() == "mine"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own]
